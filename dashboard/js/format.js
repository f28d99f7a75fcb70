/**
 * Numbers and times as people read them. Pure: values in, text out.
 *
 * Digits follow the viewer's locale; words stay English like the rest of the page; times are the site's.
 */

// 12 or 24 hours is the viewer's habit, whatever English the words are in.
const { hourCycle: HOUR_CYCLE } = new Intl.DateTimeFormat(undefined, { hour: "numeric" }).resolvedOptions();
const WORDS = globalThis.navigator?.languages?.find((language) => language.startsWith("en")) ?? "en-GB";
const NONE = "–";

const plain = new Intl.NumberFormat();
const compact = new Intl.NumberFormat(undefined, { notation: "compact", maximumFractionDigits: 1 });
const tenth = new Intl.NumberFormat(undefined, { maximumFractionDigits: 1 });
const percent = new Intl.NumberFormat(undefined, { style: "percent", maximumFractionDigits: 0 });
const COMPACT_FROM = 100_000;

const isNumber = (value) => typeof value === "number" && Number.isFinite(value);

export function formatNumber(value) {
  return isNumber(value) ? plain.format(value) : NONE;
}

/** Full up to five digits, then 123.4K: cards and columns keep their width. */
export function formatShort(value) {
  if (!isNumber(value)) return NONE;
  return Math.abs(value) < COMPACT_FROM ? plain.format(value) : compact.format(value);
}

export function formatTenth(value) {
  return isNumber(value) ? tenth.format(value) : NONE;
}

export function formatPercent(ratio) {
  return isNumber(ratio) ? percent.format(ratio) : NONE;
}

/** 45s, 2m 13s, 1h 04m. */
export function formatDuration(ms) {
  if (!isNumber(ms)) return NONE;
  const seconds = Math.max(0, Math.round(ms / 1000));
  if (seconds < 60) return `${seconds}s`;
  const minutes = Math.floor(seconds / 60);
  if (minutes < 60) return `${minutes}m ${String(seconds % 60).padStart(2, "0")}s`;
  return `${plain.format(Math.floor(minutes / 60))}h ${String(minutes % 60).padStart(2, "0")}m`;
}

export function formatAgo(ms) {
  if (!isNumber(ms)) return NONE;
  const seconds = Math.floor(ms / 1000);
  if (seconds < 2) return "just now";
  if (seconds < 60) return `${seconds} s ago`;
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min ago`;
  if (seconds < 86_400) return `${Math.floor(seconds / 3600)} h ago`;
  return `${plain.format(Math.floor(seconds / 86_400))} d ago`;
}

/** 0.4 s, 12 s, 3 min. */
export function formatLag(ms) {
  if (ms < 9_950) return `${tenth.format(Math.max(0, ms) / 1000)} s`;
  if (ms < 120_000) return `${Math.round(ms / 1000)} s`;
  if (ms < 7_200_000) return `${Math.round(ms / 60_000)} min`;
  return `${plain.format(Math.round(ms / 3_600_000))} h`;
}

/** Revenue from minor units: 1250 EUR cents. The currency comes from a page and may be nonsense. */
export function formatMoney(minorUnits, currency) {
  try {
    const money = new Intl.NumberFormat(undefined, { style: "currency", currency });
    const digits = money.resolvedOptions().maximumFractionDigits ?? 2;
    return money.format(minorUnits / 10 ** digits);
  } catch (error) {
    if (!(error instanceof RangeError)) throw error;
    return `${plain.format(minorUnits / 100)} ${currency}`;
  }
}

const timeFormats = new Map();

function timeFormat(kind, timeZone, options) {
  const key = `${kind} ${timeZone}`;
  if (!timeFormats.has(key)) timeFormats.set(key, makeTimeFormat(timeZone, options));
  return timeFormats.get(key);
}

function makeTimeFormat(timeZone, options) {
  try {
    return new Intl.DateTimeFormat(WORDS, { ...options, timeZone });
  } catch (error) {
    // A zone this browser does not know yet: UTC is shown, and the chart's foot names the zone asked for.
    if (!(error instanceof RangeError)) throw error;
    return new Intl.DateTimeFormat(WORDS, { ...options, timeZone: "UTC" });
  }
}

const DAY = { day: "numeric", month: "short" };
const CLOCK = { hour: "numeric", minute: "2-digit", hourCycle: HOUR_CYCLE };
const HALF_DAYS = HOUR_CYCLE === "h12" || HOUR_CYCLE === "h11";

export const formatDay = (ms, zone) => timeFormat("day", zone, DAY).format(ms);
export const formatWeekday = (ms, zone) => timeFormat("weekday", zone, { weekday: "short", ...DAY }).format(ms);
export const formatClock = (ms, zone) => timeFormat("clock", zone, CLOCK).format(ms);
export const formatClockSeconds = (ms, zone) => timeFormat("seconds", zone, { ...CLOCK, second: "2-digit" }).format(ms);
export const formatMoment = (ms, zone) => timeFormat("moment", zone, { ...DAY, ...CLOCK }).format(ms);

/** Short enough for an axis: "14:00" or "2 PM". */
export function formatHour(ms, zone) {
  return HALF_DAYS
    ? timeFormat("half-day", zone, { hour: "numeric", hourCycle: HOUR_CYCLE }).format(ms)
    : formatClock(ms, zone);
}

/** Hour of the day, 0 to 23, on the site's clock. */
export function hourOf(ms, zone) {
  return Number(timeFormat("hour", zone, { hour: "numeric", hourCycle: "h23" }).format(ms));
}

/** The name of a bucket: "Sun 22 Nov, 14:00 – 15:00" or "Sun 22 Nov". */
export function formatBucket(startMs, interval, zone) {
  const day = formatWeekday(startMs, zone);
  if (interval === "day") return day;
  return `${day}, ${formatClock(startMs, zone)} – ${formatClock(startMs + 3_600_000, zone)}`;
}

const nameLists = new Map();

function displayName(type, code) {
  if (!nameLists.has(type)) nameLists.set(type, new Intl.DisplayNames([WORDS], { type, fallback: "none" }));
  try {
    return nameLists.get(type).of(code) ?? code;
  } catch (error) {
    if (!(error instanceof RangeError)) throw error;
    return code;
  }
}

export const countryName = (code) => (/^[A-Z]{2}$/.test(code) ? displayName("region", code) : code);
export const languageName = (code) =>
  /^[A-Za-z]{2,3}(-[A-Za-z0-9]{2,8})*$/.test(code) ? displayName("language", code) : code;

export const capitalised = (text) => text.charAt(0).toUpperCase() + text.slice(1);

const EVENT_NAMES = new Map([
  ["page_view", "Page view"],
  ["page_exit", "Page left"],
  ["click", "Click"],
  ["conversion", "Conversion"],
  ["heartbeat", "Heartbeat"],
  ["engagement", "Engagement"],
]);

/** Our own event types in words; a site's custom names as the site wrote them. */
export const eventName = (type) => EVENT_NAMES.get(type) ?? type;

const REASONS = new Map([
  ["bot", "Bots and crawlers"],
  ["duplicate", "Sent more than once"],
  ["origin_not_allowed", "From a page that is not allowed"],
  ["unknown_site", "For a site that is not known"],
  ["future_timestamp", "Dated in the future"],
  ["too_old", "Too old on arrival"],
  ["invalid_timestamp", "Not dated"],
  ["invalid_url", "Without a valid address"],
  ["invalid_revenue", "With revenue that is no amount"],
  ["unknown_currency", "In a currency that is not known"],
  ["reserved_name", "With a name that is reserved"],
  ["missing_field", "With a field missing"],
  ["wrong_type", "With a field of a wrong type"],
  ["too_long", "With a text that is too long"],
  ["out_of_range", "With a number out of range"],
  ["too_many_props", "With too many properties"],
  ["malformed_json", "Not readable as JSON"],
  ["too_deep", "JSON nested too deeply"],
  ["unsupported_media_type", "Not sent as JSON"],
  ["too_large", "In a request that is too large"],
  ["too_many_events", "Too many in one request"],
  ["no_events", "Requests without events"],
]);

/** Why events were not counted; a reason that has no words here in those of the API. */
export const reasonName = (reason) => REASONS.get(reason) ?? capitalised(reason.replaceAll("_", " "));

/** What tells pages of one site apart: path and query. Anything that is no URL stays as it is. */
export function pathOf(address) {
  if (!address) return NONE;
  if (!/^https?:\/\//i.test(address) || !URL.canParse(address)) return address;
  const url = new URL(address);
  const path = url.pathname + url.search;
  try {
    return decodeURI(path);
  } catch (error) {
    if (!(error instanceof URIError)) throw error;
    return path;
  }
}

export const plural = (count, one, many = `${one}s`) => `${formatNumber(count)} ${count === 1 ? one : many}`;
