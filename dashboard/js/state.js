/**
 * What the viewer has chosen, kept in the address so that a link shows the same page.
 *
 * In: the query string. Out: one value per choice, always a valid one. What is at its default is left out of
 * the address. `#session=<id>` is kept apart: opening a session is a step that Back undoes.
 */

export const PERIODS = {
  today: { interval: "hour", title: "Today", days: "today", before: "yesterday" },
  "24h": { interval: "hour", title: "Last 24 hours", days: "today", before: "the 24 hours before" },
  "7d": { interval: "day", title: "Last 7 days", days: "7d", before: "the 7 days before" },
  "30d": { interval: "day", title: "Last 30 days", days: "30d", before: "the 30 days before" },
};

const defaults = { period: "24h", site: "", chart: "plot" };
const listeners = new Set();
const values = new Map();

/** A choice that a panel brings along, or a default that only the server knows. */
export function declare(name, fallback) {
  const before = get(name);
  defaults[name] = fallback;
  if (before !== undefined && before !== get(name)) announce([name]);
}

export function get(name) {
  return values.get(name) ?? defaults[name];
}

export function set(name, value) {
  if (get(name) === value) return;
  values.set(name, value);
  write();
  announce([name]);
}

/** @param {(changed: string[]) => void} listener */
export function onChange(listener) {
  listeners.add(listener);
}

export function read() {
  const query = new URLSearchParams(location.search);
  const changed = [];
  for (const name of Object.keys(defaults)) {
    const before = get(name);
    const value = query.get(name);
    if (value === null || (name === "period" && !Object.hasOwn(PERIODS, value))) values.delete(name);
    else values.set(name, value);
    if (get(name) !== before) changed.push(name);
  }
  if (changed.length) announce(changed);
}

function announce(changed) {
  for (const listener of listeners) listener(changed);
}

function write() {
  const url = new URL(location.href);
  for (const name of Object.keys(defaults)) {
    if (get(name) === defaults[name]) url.searchParams.delete(name);
    else url.searchParams.set(name, get(name));
  }
  history.replaceState(null, "", url);
}

const SESSION = /^#session=(.+)$/;

export function openSession() {
  const match = SESSION.exec(location.hash);
  if (!match) return null;
  try {
    return decodeURIComponent(match[1]);
  } catch (error) {
    if (!(error instanceof URIError)) throw error;
    return null;
  }
}

export const sessionLink = (id) => `#session=${encodeURIComponent(id)}`;

export function leaveSession() {
  history.replaceState(null, "", location.pathname + location.search);
}
