/**
 * "People here now" and the last 30 minutes.
 *
 * In: the data of /live. Out: the number, 30 bars, the page's title. The number is spoken at most twice a
 * minute, and only when it has changed.
 */

import { byId, setAttribute, setText, svg } from "./dom.js";
import { formatClock, formatNumber, formatShort, plural } from "./format.js";
import { say } from "./speech.js";

const SPEAK_EVERY_MS = 30_000;
const SLOT = 8;
const BAR = 5.5;
const HEIGHT = 56;
const LEAST = 2;

const number = byId("now");
const spark = byId("spark");
let spokenVisitors = null;

export function renderLive({ visitors, window_minutes: window, minutes }, zone) {
  setText(number, formatShort(visitors));
  number.title = `Visitors active in the last ${plural(window, "minute")}`;
  const title = `${formatShort(visitors)} now · LiveInsight`;
  if (document.title !== title) document.title = title;
  if (visitors !== spokenVisitors) {
    if (spokenVisitors !== null) say(`${plural(visitors, "person", "people")} here now`, "now", SPEAK_EVERY_MS);
    spokenVisitors = visitors;
  }
  renderMinutes(minutes, zone);
}

export function clearLive() {
  setText(number, "–");
  spokenVisitors = null;
  spark.replaceChildren();
}

function renderMinutes(minutes, zone) {
  while (spark.children.length > minutes.length) spark.lastElementChild.remove();
  while (spark.children.length < minutes.length) spark.append(newBar());
  setAttribute(spark, "viewBox", `0 0 ${Math.max(1, minutes.length) * SLOT} ${HEIGHT}`);
  const most = Math.max(1, ...minutes.map((minute) => minute.pageviews));
  minutes.forEach((minute, index) => {
    const [bar, area] = spark.children[index].children;
    const height = minute.pageviews ? Math.max(LEAST * 2, (minute.pageviews / most) * HEIGHT) : LEAST;
    setAttribute(bar, "x", index * SLOT + (SLOT - BAR) / 2);
    setAttribute(bar, "y", (HEIGHT - height).toFixed(2));
    setAttribute(bar, "height", height.toFixed(2));
    setAttribute(bar, "class", barClass(minute, index === minutes.length - 1));
    setAttribute(area, "x", index * SLOT);
    setText(
      area.firstElementChild,
      `${formatClock(minute.start_ms, zone)} · ${plural(minute.pageviews, "page view")}, ${plural(minute.visitors, "visitor")}`,
    );
  });
  const sum = minutes.reduce((total, minute) => total + minute.pageviews, 0);
  setAttribute(
    spark,
    "aria-label",
    `${plural(sum, "page view")} in the last ${minutes.length} minutes, at most ${formatNumber(most)} in one minute`,
  );
  setText(byId("spark-note"), `${plural(sum, "page view")} in ${minutes.length} min`);
}

function barClass(minute, current) {
  if (!minute.pageviews) return "bar none";
  return current ? "bar current" : "bar";
}

/** A bar, and over it a full-height area that shows its minute when hovered. */
function newBar() {
  const group = svg("g");
  const area = svg("rect", { class: "area", y: 0, width: SLOT, height: HEIGHT });
  area.append(svg("title"));
  group.append(svg("rect", { width: BAR, rx: 1.5 }), area);
  return group;
}
