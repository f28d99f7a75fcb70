/**
 * The read API, seen from the page.
 *
 * In: a path below v1/ and its parameters. Out: the parsed answer, or an ApiError with a sentence to show.
 * Promises: no request outlives its signal or eight seconds; addresses are relative to the page, so the
 * dashboard works under any base path.
 */

const TIMEOUT_MS = 8000;
const CLOCK_TOLERANCE_MS = 2000;

export class ApiError extends Error {
  /** @param {{reason: string, message: string, status?: number, retryAfterMs?: number}} details */
  constructor({ reason, message, status = 0, retryAfterMs = 0 }) {
    super(message);
    this.name = "ApiError";
    this.reason = reason;
    this.status = status;
    this.retryAfterMs = retryAfterMs;
  }
}

let clockOffsetMs = 0;

/** The server's time in epoch ms: "12 s ago" must not depend on how well the viewer's clock is set. */
export function serverNow() {
  return Date.now() + clockOffsetMs;
}

export async function get(path, parameters = {}, signal = undefined) {
  const url = new URL(`v1/${path}`, document.baseURI);
  url.hash = "";
  for (const [name, value] of Object.entries(parameters)) url.searchParams.set(name, String(value));
  const timeout = AbortSignal.timeout(TIMEOUT_MS);
  const either = signal ? AbortSignal.any([signal, timeout]) : timeout;
  let response;
  let body;
  try {
    response = await fetch(url, { signal: either, headers: { Accept: "application/json" }, cache: "no-store" });
    body = await response.json();
  } catch (cause) {
    if (signal?.aborted) throw cause;
    throw unreadable(response, cause);
  }
  followClock(response);
  if (!response.ok) throw refused(response, body);
  return body;
}

export function sitePath(site, rest) {
  return `sites/${encodeURIComponent(site)}/${rest}`;
}

function unreadable(response, cause) {
  if (response) {
    return new ApiError({
      reason: "not_json",
      message: `The server answered ${response.status} without JSON`,
      status: response.status,
      retryAfterMs: retryAfterMs(response),
    });
  }
  const late = cause.name === "TimeoutError";
  return new ApiError({
    reason: late ? "timeout" : "unreachable",
    message: late ? `No answer within ${TIMEOUT_MS / 1000} s` : "The server does not answer",
  });
}

function refused(response, body) {
  return new ApiError({
    reason: String(body?.error?.reason ?? "refused"),
    message: String(body?.error?.message ?? `The server answered ${response.status}`),
    status: response.status,
    retryAfterMs: retryAfterMs(response),
  });
}

function retryAfterMs(response) {
  const seconds = Number(response.headers.get("Retry-After"));
  return Number.isFinite(seconds) ? seconds * 1000 : 0;
}

function followClock(response) {
  const date = Date.parse(response.headers.get("Date") ?? "");
  if (!Number.isFinite(date)) return;
  const offset = date - Date.now();
  clockOffsetMs = Math.abs(offset) > CLOCK_TOLERANCE_MS ? offset : 0;
}
