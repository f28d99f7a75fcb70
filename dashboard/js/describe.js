/**
 * A session's events as a story. Pure: the data of /sessions/{id}/events in, timeline entries out.
 *
 * Signs of life (heartbeat, engagement) that follow each other become one entry; every other event is one.
 */

import { formatDuration, formatMoney, pathOf } from "./format.js";

const QUIET = new Set(["heartbeat", "engagement"]);

/** @typedef {{key: string, kind: string, verb: string, main: string, details: string[], props: [string, string][], at: number}} Entry */

/** @returns {Entry[]} */
export function describeEvents(events) {
  const runs = [];
  for (const event of events) {
    const run = runs.at(-1);
    if (run && QUIET.has(event.event_type) && QUIET.has(run[0].event_type)) run.push(event);
    else runs.push([event]);
  }
  return runs.map((run, index) => ({
    key: `${index} ${run[0].event_type}`,
    at: run[0].timestamp,
    props: propsOf(run[0]),
    ...describe(run),
  }));
}

function describe(run) {
  const [event] = run;
  const page = pathOf(event.page_url);
  switch (event.event_type) {
    case "page_view":
      return { kind: "view", verb: "Viewed", main: page, details: [event.title, cameFrom(event)].filter(Boolean) };
    case "click":
      return { kind: "click", verb: "Clicked", main: clicked(event), details: [`on ${page}`] };
    case "conversion":
      return {
        kind: "conversion",
        verb: "Converted",
        main: event.conversion_type || "conversion",
        details: [money(event.revenue), `on ${page}`].filter(Boolean),
      };
    case "page_exit":
      return { kind: "exit", verb: "Left", main: page, details: attention(event) };
    case "heartbeat":
    case "engagement":
      return stayed(run, page);
    default:
      return { kind: "custom", verb: "Event", main: event.event_type || "(no type)", details: [`on ${page}`] };
  }
}

function cameFrom(event) {
  if (!event.referrer || !URL.canParse(event.referrer)) return "";
  const from = new URL(event.referrer).host;
  const here = event.page_url && URL.canParse(event.page_url) ? new URL(event.page_url).host : "";
  return from && from !== here ? `from ${from}` : "";
}

function clicked(event) {
  const tag = event.element_tag ? event.element_tag.toLowerCase() : "element";
  if (event.element_text) return `“${event.element_text}”`;
  return event.element_id ? `${tag}#${event.element_id}` : `<${tag}>`;
}

function stayed(run, page) {
  const engaged = run.reduce((sum, event) => sum + (event.engaged_ms ?? 0), 0);
  const span = run.at(-1).timestamp - run[0].timestamp;
  const time = formatDuration(engaged || span);
  return {
    kind: "stay",
    verb: "Stayed",
    main: engaged || span ? `for ${time}` : "on the page",
    details: [`on ${page}`],
  };
}

function attention(event) {
  const details = [];
  if (event.engaged_ms) details.push(`read for ${formatDuration(event.engaged_ms)}`);
  if (event.scroll_percent) details.push(`scrolled to ${event.scroll_percent} %`);
  return details;
}

/** Revenue as the page sent it: an amount in whole units. */
function money(revenue) {
  if (!revenue || typeof revenue.amount !== "number") return "";
  const currency = String(revenue.currency ?? "");
  const digits = fractionDigits(currency);
  return formatMoney(Math.round(revenue.amount * 10 ** digits), currency);
}

function fractionDigits(currency) {
  try {
    return new Intl.NumberFormat("en", { style: "currency", currency }).resolvedOptions().maximumFractionDigits ?? 2;
  } catch (error) {
    if (!(error instanceof RangeError)) throw error;
    return 2;
  }
}

function propsOf(event) {
  return Object.entries(event.props ?? {}).map(([name, value]) => [
    name,
    typeof value === "object" ? JSON.stringify(value) : String(value),
  ]);
}
