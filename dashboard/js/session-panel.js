/**
 * The side panel with one session's events, opened by `#session=<id>`.
 *
 * In: the address, and the data of /sessions/{id}/events. Out: facts and a timeline that grows while the
 * visitor goes on. Closing it, by button, Escape, Back or a click beside it, restores the address.
 */

import { get, serverNow, sitePath } from "./api.js";
import { describeEvents } from "./describe.js";
import { byId, el, foreign, reconcile, setAttribute, setText } from "./dom.js";
import {
  countryName,
  capitalised,
  formatAgo,
  formatClockSeconds,
  formatDuration,
  formatMoment,
  pathOf,
  plural,
} from "./format.js";
import { Poller } from "./poll.js";
import { findSession } from "./sessions.js";
import * as state from "./state.js";

const REFRESH_MS = 3000;
const NOT_FOUND = 404;

const dialog = byId("session");
const facts = byId("session-facts");
const note = byId("session-note");
const timeline = byId("session-events");
const poller = new Poller(load, REFRESH_MS, (error) => error && fail(error));

let id = null;
let known = null;

export function startSessionPanel() {
  byId("session-close").addEventListener("click", () => dialog.close());
  dialog.addEventListener("click", (event) => event.target === dialog && dialog.close());
  dialog.addEventListener("close", closed);
  addEventListener("hashchange", follow);
  follow();
}

function follow() {
  const wanted = state.openSession();
  if (wanted === id) return;
  id = wanted;
  if (id === null) {
    dialog.close();
    return;
  }
  known = findSession(id);
  reconcile(timeline, [], String, null, null);
  showNote("Loading…");
  renderFacts([]);
  setText(byId("session-sub"), id);
  if (!dialog.open) dialog.showModal();
  byId("session-body").scrollTop = 0;
  poller.start();
}

function closed() {
  poller.stop();
  id = null;
  if (state.openSession() !== null) state.leaveSession();
}

async function load(signal) {
  const answer = await get(sitePath(state.get("site"), `sessions/${encodeURIComponent(id)}/events`), {}, signal);
  if (signal.aborted) return;
  known = findSession(id) ?? known;
  const zone = answer.meta?.time_zone ?? "UTC";
  renderFacts(answer.data, zone);
  showNote(noteOn(answer));
  renderTimeline(describeEvents(answer.data), zone);
}

function noteOn({ data, meta }) {
  if (!data.length) return "This session has no events that are still kept.";
  return meta?.more ? `The first ${plural(data.length, "event")} of a longer session.` : "";
}

function fail(error) {
  const words =
    error.status === NOT_FOUND ? "This session is not known, or no longer kept." : `${error.message}. Trying again.`;
  showNote(words);
}

function showNote(words) {
  setText(note, words);
  note.hidden = !words;
}

function renderFacts(events, zone = "UTC") {
  const first = events[0]?.timestamp ?? known?.started_at;
  const last = Math.max(known?.last_activity ?? 0, events.at(-1)?.timestamp ?? 0);
  const rows = [
    ["Started", first ? formatMoment(first, zone) : ""],
    [known?.left ? "Left" : "Last seen", last ? formatAgo(Math.max(0, serverNow() - last)) : ""],
    ["Lasted", first && last ? formatDuration(last - first) : ""],
    ["Entry", known?.entry_page ? pathOf(known.entry_page) : ""],
    ["Source", known?.source ?? ""],
    ["Country", known?.country ? countryName(known.country) : ""],
    ["Device", [known?.device && capitalised(known.device), known?.browser, known?.os].filter(Boolean).join(", ")],
    ["Visitor", known?.user_id ?? ""],
  ];
  setText(byId("session-title"), events.length ? `Session, ${plural(events.length, "event")}` : "Session");
  reconcile(
    facts,
    rows.filter(([, value]) => value),
    ([name]) => name,
    newFact,
    (node, [, value]) => {
      setText(node.lastElementChild.firstElementChild, value);
      setAttribute(node.lastElementChild, "title", value);
    },
  );
}

const newFact = ([name]) => el("div", {}, el("dt", {}, name), el("dd", {}, foreign()));
const newProp = ([name]) => el("div", {}, el("dt", {}, foreign(name)), el("dd", {}, foreign()));

function renderTimeline(entries, zone) {
  reconcile(
    timeline,
    entries,
    (entry) => entry.key,
    newEntry,
    (node, entry) => {
      setAttribute(node, "class", `entry ${entry.kind}`);
      const [time, text, details, props] = node.children;
      setText(time, formatClockSeconds(entry.at, zone));
      setAttribute(time, "datetime", new Date(entry.at).toISOString());
      setText(text.firstElementChild, entry.verb);
      setText(text.lastElementChild, entry.main);
      setAttribute(text.lastElementChild, "title", entry.main);
      reconcile(details, entry.details, String, () => foreign(), setText);
      reconcile(
        props,
        entry.props,
        ([name]) => name,
        newProp,
        (pair, [, value]) => setText(pair.lastElementChild.firstElementChild, value),
      );
    },
  );
}

function newEntry() {
  return el(
    "li",
    {},
    el("time"),
    el("p", { class: "entry-text" }, el("span", { class: "verb" }), foreign()),
    el("p", { class: "entry-details" }),
    el("dl", { class: "props" }),
  );
}
