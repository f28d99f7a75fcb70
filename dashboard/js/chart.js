/**
 * The main chart, its readout and its equal table.
 *
 * In: the data of /timeseries. Out: the plot, or the table when the viewer asked for it or the chart library
 * is missing. Promises: both show the same buckets; a bucket that is still filling looks and reads different.
 */

import { byId, el, reconcile, setAttribute, setText } from "./dom.js";
import { formatBucket, formatNumber, plural } from "./format.js";
import { createPlot } from "./plot.js";
import * as state from "./state.js";

const COLUMNS = [
  ["pageviews", "Page views"],
  ["visitors", "Visitors"],
  ["visits", "Visits"],
  ["events", "Events"],
];

const host = byId("plot");
const tip = byId("tip");
const table = byId("chart-table");
const toggle = byId("chart-toggle");

let plot = null;
let libraryMissing = false;
let body = null;
let shown = { buckets: [], interval: "hour", zone: "UTC" };

export async function startChart() {
  toggle.addEventListener("click", () => state.set("chart", asTable() ? "plot" : "table"));
  state.onChange((changed) => changed.includes("chart") && showChosen());
  host.addEventListener("keydown", moveByKey);
  host.addEventListener("blur", () => plot?.point(null));
  plot = await createPlot(host, showTip);
  libraryMissing = plot === null;
  byId("chart-hint").hidden = !libraryMissing;
  toggle.hidden = libraryMissing;
  showChosen();
}

/** Buckets that have not begun yet (the rest of today) keep their place but hold nothing. */
export function renderChart(data, { interval, zone, now, title }) {
  const buckets = data.map((bucket) => ({ ...bucket, future: bucket.start_ms > now }));
  shown = { buckets, interval, zone };
  setText(byId("chart-title"), title);
  setText(byId("chart-zone"), `By ${interval}, times in ${zone.replaceAll("_", " ")}`);
  draw();
}

export function clearChart(title) {
  shown = { ...shown, buckets: [] };
  setText(byId("chart-title"), title);
  draw();
}

const asTable = () => libraryMissing || state.get("chart") === "table";

function showChosen() {
  host.hidden = asTable();
  table.hidden = !asTable();
  tip.hidden = true;
  setAttribute(toggle, "aria-pressed", asTable());
  setText(toggle, asTable() ? "Show as chart" : "Show as table");
  draw();
}

function draw() {
  const begun = shown.buckets.filter((bucket) => !bucket.future);
  setAttribute(host, "aria-valuemax", Math.max(0, begun.length - 1));
  const sum = begun.reduce((total, bucket) => total + bucket.pageviews, 0);
  if (plot?.pointed() === null)
    setAttribute(host, "aria-valuetext", `${plural(sum, "page view")} in ${plural(begun.length, shown.interval)}`);
  byId("chart-empty").hidden = asTable() || begun.length === 0 || sum > 0;
  if (asTable()) renderTable(begun);
  else plot?.draw(shown);
}

function renderTable(begun) {
  if (!body) {
    body = el("tbody");
    const head = el(
      "tr",
      {},
      el("th", { scope: "col" }, "From"),
      ...COLUMNS.map(([, label]) => el("th", { scope: "col" }, label)),
    );
    table.append(
      el("table", {}, el("caption", { class: "hush" }, "Traffic, newest first"), el("thead", {}, head), body),
    );
  }
  reconcile(
    body,
    [...begun].reverse(),
    (bucket) => bucket.start_ms,
    newRow,
    (row, bucket) => {
      const [name, ...cells] = row.children;
      setText(
        name,
        `${formatBucket(bucket.start_ms, shown.interval, shown.zone)}${bucket.complete ? "" : " (so far)"}`,
      );
      setAttribute(row, "class", bucket.complete ? "" : "part");
      COLUMNS.forEach(([field], index) => setText(cells[index], formatNumber(bucket[field])));
    },
  );
}

function newRow() {
  return el("tr", {}, el("th", { scope: "row" }), ...COLUMNS.map(() => el("td")));
}

/** @param {number | null} index of the bucket under the pointer @param {number} left its middle, in pixels */
function showTip(index, left) {
  const bucket = shown.buckets[index];
  tip.hidden = !bucket || bucket.future;
  if (tip.hidden) return;
  const name = formatBucket(bucket.start_ms, shown.interval, shown.zone);
  const lines = [
    ["tip-name", bucket.complete ? name : `${name} (so far)`],
    ["key key-views", plural(bucket.pageviews, "page view")],
    ["key key-visitors", plural(bucket.visitors, "visitor")],
    ["tip-more", plural(bucket.visits, "visit")],
  ];
  reconcile(
    tip,
    lines,
    ([kind]) => kind,
    ([kind]) => el("span", { class: kind }),
    (node, [, words]) => setText(node, words),
  );
  const room = host.clientWidth - tip.offsetWidth - 4;
  const wanted = left > host.clientWidth / 2 ? left - tip.offsetWidth - 14 : left + 14;
  tip.style.transform = `translate(${Math.max(4, Math.min(room, wanted))}px, 8px)`;
  setAttribute(host, "aria-valuenow", index);
  setAttribute(host, "aria-valuetext", lines.map(([, words]) => words).join(", "));
}

function moveByKey(event) {
  const last = shown.buckets.findLastIndex((bucket) => !bucket.future);
  if (!plot || last < 0) return;
  const at = plot.pointed();
  const next = { ArrowLeft: (at ?? last + 1) - 1, ArrowRight: (at ?? last - 1) + 1, Home: 0, End: last, Escape: null }[
    event.key
  ];
  if (next === undefined) return;
  event.preventDefault();
  plot.point(next === null ? null : Math.max(0, Math.min(last, next)));
}
