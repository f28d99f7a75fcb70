/**
 * Where the people who are here now are: by page, source or country.
 *
 * In: the `by` of /live, once a second. Out: a tab list and up to ten rows. Promises: the place keeps its height;
 * a tab never shows another tab's rows.
 */

import { PRESENT } from "./dimensions.js";
import { byId, el, foreign, reconcile, setAttribute, setText } from "./dom.js";
import { formatShort } from "./format.js";
import * as state from "./state.js";
import { createTabs } from "./tabs.js";

const PANEL = "present-panel";

const rows = el("ol", { class: "rows" });
const empty = el("p", { class: "empty", hidden: "" }, "Nobody is here right now.");
const panel = el("div", { class: "rows-box", role: "tabpanel", id: PANEL, tabindex: "0" }, rows, empty);
const tabs = createTabs({
  label: "People here now by",
  tabs: PRESENT,
  panelId: PANEL,
  onSelect: (id) => state.set("now", id),
});
const answers = new Map();

export function startPresent() {
  state.declare("now", PRESENT[0].id);
  byId("present").append(tabs.list, panel);
  state.onChange((changed) => {
    if (changed.includes("site")) answers.clear();
    if (changed.includes("now")) panel.scrollTop = 0;
    if (changed.includes("site") || changed.includes("now")) render();
  });
  render();
}

/** The dimension to ask for. */
export const presentBy = () => chosen().id;

/** @param {string} dimension that was asked for @param {{value: string, visitors: number}[]} present */
export function renderPresent(dimension, present) {
  answers.set(dimension, present);
  render();
}

const chosen = () => PRESENT.find((tab) => tab.id === state.get("now")) ?? PRESENT[0];

function render() {
  const tab = chosen();
  const present = answers.get(tab.id);
  tabs.select(tab.id);
  setAttribute(panel, "aria-labelledby", `${PANEL}-${tab.id}`);
  setAttribute(panel, "aria-busy", !present);
  const most = Math.max(1, ...(present ?? []).map((item) => item.visitors));
  reconcile(
    rows,
    present ?? [],
    (item) => `${tab.id} ${item.value}`,
    newRow,
    (row, item) => updateRow(row, item, tab, most),
  );
  empty.hidden = !present || present.length > 0;
}

function newRow() {
  return el(
    "li",
    {},
    el("span", { class: "row-bar", "aria-hidden": "true" }),
    foreign(),
    el("span", { class: "row-number" }, el("span"), el("span", { class: "hush" }, " here now")),
  );
}

function updateRow(row, { value, visitors }, tab, most) {
  const [bar, name, number] = row.children;
  const words = tab.name ? tab.name(value) : value;
  setText(name, words);
  setAttribute(name, "title", words);
  bar.style.width = `${(100 * visitors) / most}%`;
  setText(number.firstElementChild, formatShort(visitors));
}
