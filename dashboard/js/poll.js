/**
 * Keeps one thing fresh.
 *
 * In: an asynchronous job and how often to run it. Promises: never two runs at once; no run while the tab is
 * hidden, one at once when it is shown again; after a failure a pause of 2 s that doubles up to 30 s, with
 * jitter so that many open pages do not come back in step.
 */

import { ApiError } from "./api.js";

const LONGEST_PAUSE_MS = 30_000;
const FIRST_RETRY_MS = 1000;

export class Poller {
  #job;
  #intervalMs;
  #onError;
  #timer = 0;
  #run = null;
  #failures = 0;
  #stopped = true;

  /**
   * @param {(signal: AbortSignal) => Promise<void>} job
   * @param {number} intervalMs
   * @param {(error: ApiError | null, retryInMs: number) => void} onError null when it works again
   */
  constructor(job, intervalMs, onError = () => {}) {
    this.#job = job;
    this.#intervalMs = intervalMs;
    this.#onError = onError;
    document.addEventListener("visibilitychange", () => {
      if (document.hidden) this.#cancel();
      else if (!this.#stopped) this.refresh();
    });
  }

  get failing() {
    return this.#failures > 0;
  }

  start() {
    this.#stopped = false;
    this.refresh();
  }

  stop() {
    this.#stopped = true;
    this.#cancel();
  }

  /** Drops what is under way and asks anew: what was asked for has changed. */
  refresh() {
    if (this.#stopped) return;
    this.#cancel();
    if (!document.hidden) this.#go();
  }

  #cancel() {
    clearTimeout(this.#timer);
    this.#run?.abort();
    this.#run = null;
  }

  async #go() {
    const run = new AbortController();
    this.#run = run;
    let pauseMs = this.#intervalMs;
    try {
      await this.#job(run.signal);
      if (run.signal.aborted) return;
      if (this.#failures) this.#onError(null, 0);
      this.#failures = 0;
    } catch (error) {
      if (run.signal.aborted) return;
      this.#failures += 1;
      pauseMs = pauseAfter(this.#failures, error.retryAfterMs ?? 0);
      if (error instanceof ApiError) this.#onError(error, pauseMs);
      else reportError(error);
    }
    this.#timer = setTimeout(() => this.#go(), pauseMs);
  }
}

function pauseAfter(failures, atLeastMs) {
  const doubled = Math.min(LONGEST_PAUSE_MS, FIRST_RETRY_MS * 2 ** Math.min(failures, 10));
  return Math.max(atLeastMs, doubled * (0.75 + Math.random() / 2));
}
