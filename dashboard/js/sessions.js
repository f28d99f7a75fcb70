/**
 * The list of active sessions.
 *
 * In: the data of /sessions. Out: a link per session to its timeline. Promises: rows do not change places
 * under the pointer or the focus, so that a click hits what was aimed at.
 */

import { serverNow } from "./api.js";
import { byId, el, foreign, reconcile, setAttribute, setText } from "./dom.js";
import { capitalised, countryName, formatAgo, formatDuration, formatMoment, pathOf, plural } from "./format.js";
import { sessionLink } from "./state.js";

const FRESH_MS = 60_000;

const list = byId("sessions");
const empty = el(
  "li",
  { class: "empty" },
  "Nobody is here right now. Sessions appear within a few seconds of a visit.",
);
let shown = [];
let order = [];
let zone = "UTC";

const keyOf = (session) => `${session.session_id}\n${session.user_id}`;

export function renderSessions(sessions, timeZone, limit) {
  zone = timeZone;
  shown = list.matches(":hover, :focus-within") ? inPlace(sessions) : sessions;
  order = shown.map(keyOf);
  setText(
    byId("sessions-count"),
    sessions.length < limit ? (sessions.length ? plural(sessions.length, "session") : "") : `${limit} most recent`,
  );
  if (shown.length === 0) {
    reconcile(
      list,
      [null],
      () => "",
      () => empty,
      () => {},
    );
    return;
  }
  reconcile(list, shown, keyOf, newRow, updateRow);
}

export function clearSessions() {
  shown = [];
  order = [];
  setText(byId("sessions-count"), "");
  reconcile(list, [], keyOf, newRow, updateRow);
}

export const findSession = (id) => shown.find((session) => session.session_id === id) ?? null;

/** Called every second: "12 s ago" goes on between two answers. */
export function tickSessions() {
  if (shown.length) reconcile(list, shown, keyOf, newRow, updateRow);
}

function inPlace(sessions) {
  const rank = new Map(order.map((key, index) => [key, index]));
  const rankOf = (session) => rank.get(keyOf(session)) ?? Infinity;
  return [...sessions, ...focusedAndGone(sessions)].sort((one, other) =>
    rankOf(one) === rankOf(other) ? 0 : rankOf(one) - rankOf(other),
  );
}

/** The focused row stays even when its session has left the answer: focus must not fall off the page. */
function focusedAndGone(sessions) {
  const link = list.contains(document.activeElement) ? document.activeElement.getAttribute("href") : null;
  const focused = shown.find((session) => sessionLink(session.session_id) === link);
  return focused && !sessions.some((session) => keyOf(session) === keyOf(focused)) ? [focused] : [];
}

/** "Google · Mobile · Germany · Firefox on Android": what is known, the least needed last. */
export function describeClient({ source, device, browser, os, country }) {
  const client = [browser, os].filter(Boolean).join(" on ");
  const parts = [source, device ? capitalised(device) : "", country ? countryName(country) : "", client];
  return parts.filter((part) => part && part !== "(unknown)");
}

function newRow(session) {
  return el(
    "li",
    {},
    el(
      "a",
      { href: sessionLink(session.session_id) },
      el("span", { class: "session-dot", "aria-hidden": "true" }),
      foreign(),
      el("span", { class: "session-ago" }),
      el("span", { class: "session-client" }),
      el("span", { class: "session-for" }),
    ),
  );
}

function updateRow(row, session) {
  const now = serverNow();
  const [dot, page, ago, client, lasted] = row.firstElementChild.children;
  const idle = Math.max(0, now - session.last_activity);
  setAttribute(dot, "class", dotClass(session.left, idle));
  setText(page, pathOf(session.current_page));
  setAttribute(page, "title", session.current_page ?? "");
  setText(ago, session.left ? `left ${formatAgo(idle)}` : formatAgo(idle));
  reconcile(client, describeClient(session), String, () => foreign(), setText);
  const length = Math.max(0, session.last_activity - session.started_at);
  setText(lasted, `${plural(session.pageviews ?? 0, "view")} · ${formatDuration(length)}`);
  setAttribute(lasted, "title", `Since ${formatMoment(session.started_at, zone)}`);
}

function dotClass(left, idle) {
  if (left) return "session-dot left";
  return idle < FRESH_MS ? "session-dot fresh" : "session-dot";
}
