/**
 * The ranked lists.
 *
 * In: PANELS, and the data of /breakdown for each panel's chosen tab. Out: a card per panel. Promises: a tab
 * never shows another tab's rows; one seen before is shown at once and then refreshed.
 */

import { get, sitePath } from "./api.js";
import { PANELS } from "./dimensions.js";
import { byId, el, foreign, markStale, reconcile, setAttribute, setText } from "./dom.js";
import { formatNumber, formatShort, plural } from "./format.js";
import { Poller } from "./poll.js";
import * as state from "./state.js";
import { createTabs } from "./tabs.js";

const REFRESH_MS = 5000;
const FEW = 10;
const MANY = 100;

export function createPanels() {
  const panels = PANELS.map((definition) => new Panel(definition));
  byId("panels").append(...panels.map((panel) => panel.card));
  return panels;
}

class Panel {
  #definition;
  #limit = FEW;
  #answers = new Map();
  #tabs;
  #head;
  #rows = el("ol", { class: "rows" });
  #empty = el("p", { class: "empty", hidden: "" });
  #scroll;
  #count = el("span", { class: "fine" });
  #more = el("button", { type: "button", class: "link", hidden: "" }, "Show more");

  constructor(definition) {
    this.#definition = definition;
    const panelId = `panel-${definition.id}`;
    state.declare(definition.id, definition.tabs[0].id);
    this.#tabs = createTabs({
      label: definition.title,
      tabs: definition.tabs,
      panelId,
      onSelect: (id) => state.set(definition.id, id),
    });
    this.#head = el("div", { class: "rows-head", "aria-hidden": "true" });
    this.#scroll = el(
      "div",
      { class: "rows-box", role: "tabpanel", id: panelId, tabindex: "0" },
      this.#rows,
      this.#empty,
    );
    this.card = el(
      "section",
      { class: "card panel", "data-testid": definition.id, "aria-labelledby": `${panelId}-title` },
      el("div", { class: "card-head" }, el("h2", { id: `${panelId}-title` }, definition.title), this.#tabs.list),
      this.#head,
      this.#scroll,
      el("p", { class: "fine foot" }, this.#count, el("span", { class: "stale", "data-stale": "" }), this.#more),
    );
    this.#more.addEventListener("click", () => {
      this.#limit = this.#limit === FEW ? MANY : FEW;
      this.#scroll.scrollTop = 0;
      this.poller.refresh();
    });
    this.poller = new Poller(
      (signal) => this.#load(signal),
      REFRESH_MS,
      (error) => markStale(this.card, error),
    );
    state.onChange(
      (changed) => changed.some((name) => [definition.id, "period", "site"].includes(name)) && this.#chosen(),
    );
    this.#render();
  }

  get #tab() {
    const chosen = state.get(this.#definition.id);
    return this.#definition.tabs.find((tab) => tab.id === chosen) ?? this.#definition.tabs[0];
  }

  /** Breakdowns count the site's local days, so "24 h" shows today and says so. */
  get #period() {
    return state.PERIODS[state.get("period")].days;
  }

  get #key() {
    return [state.get("site"), this.#period, this.#tab.id].join("\n");
  }

  #chosen() {
    this.#limit = FEW;
    this.#scroll.scrollTop = 0;
    this.#render();
    this.poller.refresh();
  }

  async #load(signal) {
    const key = this.#key;
    const answer = await get(
      sitePath(state.get("site"), "breakdown"),
      { dimension: this.#tab.id, period: this.#period, limit: this.#limit },
      signal,
    );
    if (signal.aborted) return;
    this.#answers.set(key, answer);
    this.#render();
  }

  #render() {
    const tab = this.#tab;
    const answer = this.#answers.get(this.#key);
    this.#tabs.select(tab.id);
    setAttribute(this.#scroll, "aria-labelledby", `panel-${this.#definition.id}-${tab.id}`);
    setAttribute(this.#scroll, "aria-busy", !answer);
    this.#renderHead(tab);
    const items = answer?.data ?? [];
    const most = Math.max(1, ...items.map((item) => item[tab.measure] ?? 0));
    reconcile(
      this.#rows,
      items,
      (item) => `${tab.id} ${item.value}`,
      () => newRow(tab),
      (row, item) => updateRow(row, item, tab, most),
    );
    this.#empty.hidden = !answer || items.length > 0;
    setText(this.#empty, tab.empty);
    this.#foot(answer, items.length);
  }

  #renderHead(tab) {
    const period = this.#period === "today" ? "Today" : state.PERIODS[state.get("period")].title;
    reconcile(
      this.#head,
      [{ column: period }, tab, ...tab.also],
      ({ column, wide }) => `${column} ${wide}`,
      ({ wide }) => el("span", { class: wide ? "wide" : null }),
      (cell, { column }) => setText(cell, column),
    );
  }

  #foot(answer, shown) {
    const total = Math.max(answer?.meta?.total_values ?? 0, shown);
    setText(
      this.#count,
      shown && total > shown ? `${formatNumber(shown)} of ${formatNumber(total)}` : shown ? plural(total, "value") : "",
    );
    this.#more.hidden = !(total > shown || this.#limit === MANY);
    setText(this.#more, this.#limit === MANY ? "Show fewer" : "Show more");
  }
}

function newRow(tab) {
  return el(
    "li",
    {},
    el("span", { class: "row-bar", "aria-hidden": "true" }),
    foreign(),
    newCell("row-number", tab.column),
    ...tab.also.map(({ column, wide }) => newCell(wide ? "row-second wide" : "row-second", column)),
  );
}

/** A number, and for those who hear the page what it counts. */
function newCell(kind, column) {
  return el("span", { class: kind }, el("span"), el("span", { class: "hush" }, ` ${column.toLowerCase()}, `));
}

function updateRow(row, item, tab, most) {
  const [bar, name, main, ...others] = row.children;
  const words = tab.name ? tab.name(item.value) : item.value;
  setText(name, words || "(none)");
  setAttribute(name, "title", words);
  bar.style.width = `${(100 * (item[tab.measure] ?? 0)) / most}%`;
  setText(main.firstElementChild, formatShort(item[tab.measure]));
  tab.also.forEach(({ field, format }, index) => setText(others[index].firstElementChild, format(item[field])));
}
