/**
 * The cards with the period's totals and their change.
 *
 * In: the data of /totals with compare=previous. Out: one card per entry of CARDS. A new card is one entry.
 */

import { byId, el, reconcile, setAttribute, setText } from "./dom.js";
import { formatDuration, formatMoney, formatNumber, formatPercent, formatShort, formatTenth } from "./format.js";

/**
 * `better` says which direction is good news (0: neither). `points` compares shares by difference, not ratio.
 * `optional` hides the card while there is nothing to count. `explain` is the card's tooltip.
 */
const CARDS = [
  {
    id: "visitors",
    label: "Visitors",
    field: "visitors",
    format: formatShort,
    better: 1,
    explain: "Different visitors in this period",
  },
  {
    id: "visits",
    label: "Visits",
    field: "visits",
    format: formatShort,
    better: 1,
    explain: "A visit ends after a pause without activity",
  },
  {
    id: "pageviews",
    label: "Page views",
    field: "pageviews",
    format: formatShort,
    better: 1,
    explain: "Pages opened, reloads included",
    note: (totals) => (totals.views_per_visit ? `${formatTenth(totals.views_per_visit)} per visit` : ""),
  },
  {
    id: "bounce-rate",
    label: "Bounce rate",
    field: "bounce_rate",
    format: formatPercent,
    better: -1,
    points: true,
    explain: "Visits with a single page view and no interaction",
  },
  {
    id: "duration",
    label: "Visit duration",
    field: "visit_duration_ms",
    format: formatDuration,
    better: 1,
    explain: "Mean time from a visit's first to its last event",
  },
  {
    id: "conversions",
    label: "Conversions",
    field: "conversions",
    format: formatShort,
    better: 1,
    optional: true,
    explain: "Conversion events",
    note: (totals) =>
      Object.entries(totals.revenue ?? {})
        .slice(0, 2)
        .map(([currency, minor]) => formatMoney(minor, currency))
        .join(" + "),
  },
];

export function renderTotals(totals, previous, before) {
  const cards = CARDS.filter((card) => !card.optional || totals?.[card.field] || previous?.[card.field]);
  reconcile(
    byId("totals"),
    cards,
    (card) => card.id,
    newCard,
    (node, card) => {
      const [, value, foot] = node.children;
      setText(value, totals ? card.format(totals[card.field]) : "–");
      setAttribute(
        value,
        "title",
        totals && !card.points && card.format === formatShort ? formatNumber(totals[card.field]) : "",
      );
      renderChange(foot.firstElementChild, change(card, totals, previous), before);
      setText(foot.lastElementChild, totals && card.note ? card.note(totals) : "");
    },
  );
}

function newCard(card) {
  return el(
    "div",
    { class: "total", title: card.explain },
    el("h2", { id: `total-${card.id}` }, card.label),
    el("p", { class: "total-value", "data-testid": `totals-${card.id}`, "aria-labelledby": `total-${card.id}` }),
    el("p", { class: "total-foot" }, el("span", { class: "change" }), el("span", { class: "fine" })),
  );
}

/** @returns {{text: string, tone: string, spoken: string} | null} */
export function change(card, totals, previous) {
  const now = totals?.[card.field];
  const then = previous?.[card.field];
  if (typeof now !== "number" || typeof then !== "number") return null;
  if (!card.points && then === 0) return null;
  const difference = card.points ? now - then : (now - then) / then;
  const rounded = Math.round(difference * 100);
  const amount = card.points ? `${formatNumber(Math.abs(rounded))} pp` : formatPercent(Math.abs(rounded) / 100);
  if (rounded === 0) return { text: "= same", tone: "same", spoken: "no change" };
  const up = rounded > 0;
  return {
    text: `${up ? "↑" : "↓"} ${amount}`,
    tone: up === card.better > 0 ? "good" : "bad",
    spoken: `${up ? "up" : "down"} ${amount}`,
  };
}

function renderChange(node, result, before) {
  setText(node, result?.text ?? "");
  setAttribute(node, "class", result ? `change ${result.tone}` : "change");
  if (result) {
    setAttribute(node, "role", "img");
    setAttribute(node, "aria-label", `${result.spoken} against ${before}`);
    setAttribute(node, "title", `${result.spoken} against ${before}`);
  } else {
    for (const name of ["role", "aria-label", "title"]) node.removeAttribute(name);
  }
}
