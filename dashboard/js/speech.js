/** One polite live region for the whole page. Promises: nothing is said more often than its own pause allows. */

import { byId } from "./dom.js";

const lastSaid = new Map();

/** @param {string} sentence @param {string} topic @param {number} pauseMs least time between two of one topic */
export function say(sentence, topic = "", pauseMs = 0) {
  const now = performance.now();
  if (topic && now - (lastSaid.get(topic) ?? -Infinity) < pauseMs) return;
  lastSaid.set(topic, now);
  byId("spoken").textContent = sentence;
}
