/**
 * Wires the page: which answer feeds which part, and how often.
 *
 * Live numbers every second, totals and sessions every 3 s, chart and panels every 5 s. Everything else is in
 * the modules named by the imports.
 */

import { get, serverNow, sitePath } from "./api.js";
import { clearChart, renderChart, startChart } from "./chart.js";
import { byId, el, markStale, reconcile, setText } from "./dom.js";
import { clearLive, renderLive } from "./live.js";
import { createPanels } from "./panels.js";
import { Poller } from "./poll.js";
import { presentBy, renderPresent, startPresent } from "./present.js";
import { startSessionPanel } from "./session-panel.js";
import { clearSessions, renderSessions, tickSessions } from "./sessions.js";
import * as state from "./state.js";
import * as status from "./status.js";
import { renderTotals } from "./totals.js";
import { showWelcome, startWelcome } from "./welcome.js";

const LIVE_MS = 1000;
const TOTALS_MS = 3000;
const CHART_MS = 5000;
const SITES_MS = 60_000;
const SESSIONS_SHOWN = 20;
const NOW_MINUTES = 5;

const card = (id) => byId(id).closest(".card");
const here = (rest) => sitePath(state.get("site"), rest);
const period = () => state.PERIODS[state.get("period")];

let started = false;
let anythingArrived = false;

async function loadSites(signal) {
  const { data } = await get("sites", {}, signal);
  const names = data.map((entry) => entry.site);
  const picker = byId("site");
  reconcile(
    picker,
    names,
    String,
    (name) => el("option", { value: name }, name),
    () => {},
  );
  byId("site-picker").hidden = names.length < 2;
  if (names.length) state.declare("site", names[0]);
  if (names.length && !names.includes(state.get("site"))) state.set("site", names[0]);
  picker.value = state.get("site");
  if (!started && names.length) start();
}

async function loadLive(signal) {
  const by = presentBy();
  const { data, meta } = await get(here("live"), { minutes: NOW_MINUTES, by }, signal);
  if (signal.aborted) return;
  const wasFailing = live.failing;
  renderLive(data, meta.time_zone);
  renderPresent(by, data.by ?? []);
  status.answered(meta);
  if (data.visitors > 0) arrived();
  if (wasFailing) for (const poller of followers) if (poller.failing) poller.refresh();
}

async function loadTotals(signal) {
  const { data, previous } = await get(here("totals"), { period: state.get("period"), compare: "previous" }, signal);
  const quiet = !data.events && !data.pageviews;
  const ever = quiet && !anythingArrived ? (await get(here("totals"), { period: "30d" }, signal)).data : data;
  if (signal.aborted) return;
  renderTotals(data, data.previous ?? previous, period().before);
  if (ever.events || ever.pageviews) arrived();
  else if (!anythingArrived) showWelcome(true);
}

async function loadChart(signal) {
  const { interval, title } = period();
  const { data, meta } = await get(here("timeseries"), { period: state.get("period"), interval }, signal);
  if (signal.aborted) return;
  renderChart(data, { interval, title, zone: meta.time_zone, now: serverNow() });
}

async function loadSessions(signal) {
  const { data, meta } = await get(here("sessions"), { limit: SESSIONS_SHOWN }, signal);
  if (signal.aborted) return;
  renderSessions(data, meta.time_zone, SESSIONS_SHOWN);
}

function arrived() {
  anythingArrived = true;
  showWelcome(false);
}

const panels = createPanels();
const sites = new Poller(
  loadSites,
  SITES_MS,
  (error, retryInMs) => error && !started && status.failed(error, retryInMs),
);
const live = new Poller(loadLive, LIVE_MS, (error, retryInMs) => error && status.failed(error, retryInMs));
const totals = new Poller(loadTotals, TOTALS_MS);
const chart = new Poller(loadChart, CHART_MS, (error) => markStale(card("plot"), error));
const sessions = new Poller(loadSessions, TOTALS_MS, (error) => markStale(card("sessions"), error));
const followers = [totals, chart, sessions, sites, ...panels.map((panel) => panel.poller)];

function start() {
  started = true;
  for (const poller of [live, totals, chart, sessions, ...panels.map((panel) => panel.poller)]) poller.start();
  startSessionPanel();
}

function changed(names) {
  if (names.includes("site")) {
    anythingArrived = false;
    clearLive();
    clearSessions();
    sessions.refresh();
  }
  if (names.includes("site") || names.includes("now")) live.refresh();
  if (names.includes("site") || names.includes("period")) {
    showPeriod();
    renderTotals(null, null, "");
    clearChart(period().title);
    totals.refresh();
    chart.refresh();
  }
}

function showPeriod() {
  for (const choice of document.querySelectorAll("[name=period]"))
    choice.checked = choice.value === state.get("period");
  setText(byId("chart-title"), period().title);
}

byId("period").addEventListener("change", (event) => state.set("period", event.target.value));
byId("site").addEventListener("change", (event) => state.set("site", event.target.value));
addEventListener("popstate", () => state.read());
startPresent();
state.onChange(changed);
state.read();
showPeriod();
renderTotals(null, null, "");
startWelcome();
setInterval(() => {
  if (document.hidden) return;
  status.tick();
  tickSessions();
}, 1000);
startChart();
sites.start();
