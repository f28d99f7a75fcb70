/**
 * uPlot behind two verbs: draw these buckets, point at that one.
 *
 * In: buckets with page views and visitors. Out: a canvas. The x axis counts buckets instead of seconds, so a
 * day of 23 or 25 hours needs no special case, and labels are written in the site's time zone.
 */

import { formatDay, formatHour, formatShort, hourOf } from "./format.js";

const FONT = '12px system-ui, -apple-system, "Segoe UI", Roboto, sans-serif';
const LABEL_WIDTH = 64;
const BAR_SHARE = 0.68;
const BAR_MOST = 64;
const CORNER = 5;
const HOUR_STEPS = [1, 2, 3, 4, 6, 12, 24];
const WHOLE_STEPS = [1, 2, 5]
  .flatMap((digit) => Array.from({ length: 10 }, (_, power) => digit * 10 ** power))
  .sort((a, b) => a - b);

/**
 * @param {HTMLElement} host
 * @param {(index: number | null, left: number) => void} onPoint
 * @returns {Promise<{draw: Function, point: Function, pointed: Function} | null>} null when uPlot is not installed
 */
export async function createPlot(host, onPoint) {
  let uPlot;
  try {
    ({ default: uPlot } = await import("../vendor/uPlot.esm.js"));
  } catch (error) {
    // A failed import is a TypeError with the browser's own words; the page then shows its table.
    if (!(error instanceof TypeError)) throw error;
    return null;
  }
  let shown = { buckets: [], interval: "hour", zone: "UTC" };
  let chart = null;
  const current = () => shown;
  const rebuild = () => {
    chart?.destroy();
    chart = new uPlot(options(uPlot, host, current, onPoint), columns(shown.buckets), host);
  };
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => chart && rebuild());
  new ResizeObserver(() => chart && host.clientWidth && chart.setSize(sizeOf(host))).observe(host);
  return {
    draw(next) {
      shown = next;
      if (!host.clientWidth) return;
      if (chart) chart.setData(columns(shown.buckets));
      else rebuild();
    },
    point(index) {
      if (!chart) return;
      if (index === null) chart.setCursor({ left: -10, top: -10 });
      else chart.setCursor({ left: chart.valToPos(index, "x"), top: 10 });
    },
    pointed: () => chart?.cursor.idx ?? null,
  };
}

/** One array per series: whole buckets and those still filling are drawn by separate series. */
function columns(buckets) {
  const has = (bucket) => bucket !== undefined && !bucket.future;
  const whole = (bucket) => has(bucket) && bucket.complete;
  const partial = (bucket) => has(bucket) && !bucket.complete;
  const visitors = (include) => buckets.map((bucket, index) => (include(bucket, index) ? bucket.visitors : null));
  const wholeVisitors = visitors(whole);
  return [
    buckets.map((_, index) => index),
    buckets.map((bucket) => (whole(bucket) ? bucket.pageviews : null)),
    buckets.map((bucket) => (partial(bucket) ? bucket.pageviews : null)),
    wholeVisitors,
    wholeVisitors,
    visitors((bucket, index) => partial(bucket) || (whole(bucket) && partial(buckets[index + 1]))),
  ];
}

const sizeOf = (host) => ({ width: host.clientWidth, height: host.clientHeight });

function options(uPlot, host, current, onPoint) {
  const style = getComputedStyle(document.documentElement);
  const colour = (name) => style.getPropertyValue(name).trim();
  const hatch = hatched(colour("--views"), colour("--surface"));
  const bars = uPlot.paths.bars({ size: [BAR_SHARE, BAR_MOST], radius: corner });
  const line = uPlot.paths.linear();
  const noPoints = { show: false };
  const axis = { stroke: colour("--muted"), font: FONT, ticks: { show: false } };
  return {
    ...sizeOf(host),
    padding: [12, 16, 0, 0],
    legend: { show: false },
    cursor: { y: false, drag: { x: false, y: false }, points: { show: false } },
    scales: {
      x: { time: false, range: () => [-0.5, Math.max(1, current().buckets.length) - 0.5] },
      y: { range: (_, least, most) => [0, Math.max(4, most * 1.08)] },
    },
    axes: [
      {
        ...axis,
        grid: { show: false },
        size: 30,
        gap: 8,
        splits: (chart) => xSplits(chart, current()),
        values: (_, splits) => xLabels(splits, current()),
      },
      {
        ...axis,
        grid: { stroke: colour("--grid"), width: 1 },
        size: 48,
        gap: 8,
        incrs: WHOLE_STEPS,
        space: 44,
        values: (_, splits) => splits.map(formatShort),
      },
    ],
    series: [
      {},
      { paths: bars, fill: colour("--views"), width: 0, points: noPoints },
      { paths: bars, fill: () => hatch, stroke: colour("--views"), width: 1.5, points: noPoints },
      { paths: line, stroke: colour("--surface"), width: 4.5, points: noPoints },
      {
        paths: line,
        stroke: colour("--visitors"),
        width: 2.5,
        points: { show: true, size: 6, width: 2, fill: colour("--surface"), filter: lonely },
      },
      {
        paths: line,
        stroke: colour("--visitors"),
        width: 2.5,
        dash: [5, 4],
        points: { show: true, size: 7, width: 2, fill: colour("--surface"), filter: lastOnly },
      },
    ],
    hooks: {
      setCursor: [(chart) => onPoint(chart.cursor.idx ?? null, pointLeft(chart))],
    },
  };
}

/** uPlot wants the corner as a share of the bar's width. */
function corner(chart) {
  const width = (BAR_SHARE * chart.bbox.width) / devicePixelRatio / Math.max(1, chart.data[0].length);
  return [Math.min(0.3, CORNER / Math.min(BAR_MOST, width)), 0];
}

const pointLeft = (chart) => chart.over.offsetLeft + chart.valToPos(chart.cursor.idx ?? 0, "x");

/** A line needs two values: a single one between gaps is shown as a point. */
function lonely(chart, seriesIndex) {
  const data = chart.data[seriesIndex];
  return data.flatMap((value, index) =>
    value !== null && (data[index - 1] ?? null) === null && (data[index + 1] ?? null) === null ? [index] : [],
  );
}

function lastOnly(chart, seriesIndex) {
  const last = chart.data[seriesIndex].findLastIndex((value) => value !== null);
  return last < 0 ? [] : [last];
}

/** Buckets that get a label: round hours, or every n-th day counted back from the newest. */
function xSplits(chart, { buckets, interval, zone }) {
  const room = Math.max(1, Math.floor(chart.bbox.width / devicePixelRatio / LABEL_WIDTH));
  const step = Math.ceil(buckets.length / room);
  if (interval === "hour") {
    const hours = HOUR_STEPS.find((candidate) => candidate >= step) ?? 24;
    return buckets.flatMap((bucket, index) => (hourOf(bucket.start_ms, zone) % hours === 0 ? [index] : []));
  }
  return buckets.flatMap((_, index) => ((buckets.length - 1 - index) % step === 0 ? [index] : []));
}

function xLabels(splits, { buckets, interval, zone }) {
  return splits.map((index) => {
    const start = buckets[index]?.start_ms;
    if (start === undefined) return "";
    return interval === "day" || hourOf(start, zone) === 0 ? formatDay(start, zone) : formatHour(start, zone);
  });
}

/** Diagonal stripes: "not finished", without relying on colour. */
function hatched(colour, back) {
  const size = 8 * devicePixelRatio;
  const canvas = document.createElement("canvas");
  canvas.width = size;
  canvas.height = size;
  const context = canvas.getContext("2d");
  context.fillStyle = back;
  context.fillRect(0, 0, size, size);
  context.strokeStyle = colour;
  context.lineWidth = size / 4;
  context.beginPath();
  for (const shift of [-size, 0, size]) {
    context.moveTo(shift - 1, size + 1);
    context.lineTo(shift + size + 1, -1);
  }
  context.stroke();
  return context.createPattern(canvas, "repeat");
}
