/**
 * How far behind the numbers are, and whether anyone answers.
 *
 * In: each live answer's meta, or its failure. Out: the chip, the banner, and one spoken sentence per change.
 * Green: complete and at most 10 s behind. Amber: behind. Red: no answer; the last numbers stay on the page.
 */

import { byId, setAttribute, setText } from "./dom.js";
import { formatClockSeconds, formatLag } from "./format.js";
import { say } from "./speech.js";

const BEHIND_MS = 10_000;

const chip = byId("lag");
const text = byId("lag-text");
const banner = byId("banner");

let failure = null;
let retryAt = 0;
let lastMeta = null;

export function answered(meta) {
  failure = null;
  lastMeta = meta;
  banner.hidden = true;
  const lagMs = meta.lag_ms ?? 0;
  if (meta.as_of === null) show("behind", "no data yet", "");
  else if (lagMs > BEHIND_MS) show("behind", `${formatLag(lagMs)} behind`, "The numbers are behind and catching up.");
  else if (meta.complete === false) show("behind", "catching up", "The numbers are behind and catching up.");
  else show("live", `live, ${formatLag(lagMs)} behind`, "The numbers are live.");
}

export function failed(error, retryInMs) {
  failure = error;
  retryAt = performance.now() + retryInMs;
  const since = lastMeta?.as_of
    ? ` These are the numbers of ${formatClockSeconds(lastMeta.as_of, lastMeta.time_zone)}.`
    : "";
  setText(banner, `${error.message}.${since} Trying again by itself.`);
  banner.hidden = false;
  tick();
}

/** Called every second: counts down to the next try. */
export function tick() {
  if (!failure) return;
  const seconds = Math.max(0, Math.ceil((retryAt - performance.now()) / 1000));
  show("down", seconds ? `down, retry in ${seconds} s` : "down, trying", "");
}

function show(state, words, spoken) {
  const changed = chip.dataset.state !== state;
  const first = chip.dataset.state === "waiting";
  setAttribute(chip, "data-state", state);
  setAttribute(document.documentElement, "data-api", state);
  setText(text, words);
  if (changed && spoken && !first) say(spoken);
}
