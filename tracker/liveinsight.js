/*
 * LiveInsight tracker. In: what a visitor does on the page. Out: small batches of events to one collect
 * endpoint. It never throws into the page, stays silent unless `debug` is on, and calls nobody else.
 * Options, payload and what is stored: docs/tracker.md.
 */
(function () {
  'use strict';

  const tag = document.currentScript;
  if (window.LiveInsight) {
    // A page may carry the script twice; the first copy keeps the listeners.
    if (tag && 'site' in tag.dataset) window.LiveInsight.init(tagOptions());
    return;
  }

  const SESSION_GAP_MS = 30 * 60e3;
  const UNSENT_AGE_MS = 24 * 3600e3;
  const BATCH_DELAY_MS = 50;
  const REQUEST_TIMEOUT_MS = 30e3;
  const LONGEST_WAIT_MS = 5 * 60e3;
  const MAX_QUEUED = 200;
  const MAX_KEPT = 100;
  const MAX_KEPT_CHARS = 200e3; // the page needs its localStorage more than we do
  const MAX_PER_REQUEST = 50;
  const MAX_BYTES = 55e3; // browsers refuse more than 64 KiB of keepalive bodies under way
  const WORTH_REPORTING_MS = 3000;

  const USER = 'liveinsight_user';
  const SESSION = 'liveinsight_session';
  const UNSENT = 'liveinsight_unsent';

  const CLICKABLE = 'a,button,input[type=button],input[type=submit],[role=button]';

  // Payload fields and their longest text; 0 marks a number. All else a page sends goes into `props`.
  const FIELDS = {
    id: 100, user_id: 100, session_id: 100, timestamp: 0, page_url: 2000, referrer: 2000, user_agent: 500,
    title: 300, site: 100, language: 35, screen_width: 0, element_tag: 50, element_id: 200,
    element_class: 300, element_text: 100, conversion_type: 50, engaged_ms: 0, scroll_percent: 0
  };

  let options = null;
  let cookieless = false;
  let started = false;
  let early = []; // calls made before init, or while the page is only prerendered

  function log(message, detail) {
    if (options && options.debug) console.warn('[LiveInsight] ' + message, detail);
  }

  function guard(work) {
    return function (...args) {
      try {
        return work(...args);
      } catch (error) {
        try { log('internal error', error); } catch (noConsole) { /* the page replaced console */ }
      }
    };
  }

  // ---- storage and identity -------------------------------------------------------------------

  // Merely naming localStorage can throw (blocked cookies, sandboxed frames).
  function load(area, key) {
    try { return window[area].getItem(key); } catch (error) { return null; }
  }

  function save(area, key, value) {
    if (cookieless) return false;
    try { window[area].setItem(key, value); return true; } catch (error) { return false; }
  }

  function remove(area, key) {
    try { window[area].removeItem(key); } catch (error) { /* nothing was stored then */ }
  }

  function newId() {
    try { return crypto.randomUUID(); } catch (error) { /* needs https and a browser of 2022 */ }
    let bytes;
    try {
      bytes = crypto.getRandomValues(new Uint8Array(16));
    } catch (error) {
      bytes = new Uint8Array(16).map(() => Math.random() * 256);
    }
    return Array.from(bytes, (byte) => (byte + 256).toString(16).slice(1)).join('');
  }

  let user = '';
  function userId() {
    user = user || load('localStorage', USER);
    if (!user) save('localStorage', USER, (user = newId()));
    return user;
  }

  let lastSession = ''; // "<id> <time of last activity>", in memory for when storage fails
  function readSession() {
    const parts = ((!cookieless && load('sessionStorage', SESSION)) || lastSession).split(' ');
    return { id: parts[0], ended: !(Date.now() - parts[1] <= SESSION_GAP_MS) };
  }

  // Leaving a page is no activity: an exit after a long absence belongs to the session that saw the page.
  function sessionId(isActivity) {
    const current = readSession();
    if (!isActivity && current.id) return current.id;
    // It begins with the user's id: so the session is found by it without an index.
    const id = current.ended ? userId() + '.' + newId().slice(-12) : current.id;
    lastSession = id + ' ' + Date.now();
    save('sessionStorage', SESSION, lastSession);
    return id;
  }

  // ---- events ---------------------------------------------------------------------------------

  // Not half a surrogate pair at the cut.
  const clip = (text, length) => text.slice(0, length).replace(/[\ud800-\udbff]$/, '');

  // A form field named "title" shadows document.title, and pages send what they like: one value of the
  // wrong type would get the whole batch refused.
  function clean(fields) {
    const event = {};
    for (const name of Object.keys(FIELDS)) {
      const value = fields[name];
      const kind = typeof value;
      if (!FIELDS[name]) {
        if (kind === 'number' && isFinite(value)) event[name] = Math.round(value);
      } else if (value !== '' && (kind === 'string' || kind === 'number')) {
        event[name] = clip(String(value), FIELDS[name]);
      }
    }
    return event;
  }

  function cleanProps(data) {
    const props = {};
    for (const name of Object.keys(data).slice(0, 30)) {
      let value = data[name];
      if (value && typeof value === 'object') value = JSON.stringify(value);
      if (typeof value === 'string') value = clip(value, 2000);
      const kind = typeof value;
      if (kind === 'string' || kind === 'boolean' || (kind === 'number' && isFinite(value))) {
        props[clip(name, 300)] = value;
      }
    }
    return props;
  }

  // What a page passes to track(): known names are payload fields, the rest are properties.
  function describe(data) {
    const fields = {};
    const props = {};
    for (const name of Object.keys(data || {})) {
      const value = data[name];
      if (name === 'revenue' && value && isFinite(parseFloat(value.amount))) {
        fields.revenue = { amount: parseFloat(value.amount), currency: String(value.currency || '') };
      } else if (FIELDS.hasOwnProperty(name)) fields[name] = value;
      else if (name === 'props') Object.assign(props, value);
      else if (name !== 'event_type' && name !== 'sent_at') props[name] = value;
    }
    fields.props = cleanProps(props);
    return fields;
  }

  const emit = guard((type, fields) => {
    if (load('localStorage', 'liveinsight_ignore') === 'true') {
      return log('not sent: liveinsight_ignore is set', type);
    }
    const now = Date.now();
    const session = sessionId(type !== 'page_exit');
    const event = clean(Object.assign({
      id: newId(), user_id: cookieless ? '' : userId(), session_id: session, timestamp: now,
      page_url: location.href, referrer: view.referrer, user_agent: navigator.userAgent,
      title: document.title, site: options.site, language: navigator.language, screen_width: screen.width
    }, fields));
    event.event_type = clip(String(type), 50);
    if (cookieless) delete event.user_id, delete event.session_id;
    if (fields.revenue) event.revenue = fields.revenue;
    if (fields.props && Object.keys(fields.props).length) event.props = fields.props;
    // Strict JSON parsers refuse the escape of a lone surrogate.
    const json = JSON.stringify(event).replace(/\\ud[89a-f][0-9a-f]{2}/g, '\\ufffd');
    enqueue({ id: event.id, at: now, json: json });
  });

  // ---- queue and delivery ---------------------------------------------------------------------

  let queue = []; // {id, at, json, kept}; kept: a copy is in localStorage, because sending failed before
  let underWay = [];
  let bytesUnderWay = 0;
  let failures = 0;
  let blockedUntil = 0; // by performance.now(), which no clock change moves
  let serverAsked = false; // the wait was the server's wish, so being online again does not end it
  let timer = 0;
  let gone = false; // left; a page in the back/forward cache may return

  // Room for sent_at, which is added at each sending.
  const bytes = (entry) => new Blob([entry.json]).size + 30;

  function enqueue(entry) {
    if (bytes(entry) > MAX_BYTES) return log('dropped: event too large', entry.json.length);
    queue = queue.concat(entry).slice(-MAX_QUEUED);
    schedule(BATCH_DELAY_MS);
  }

  function schedule(delay) {
    if (!timer) timer = setTimeout(guard(() => flush(false)), Math.max(delay, blockedUntil - performance.now()));
  }

  function flush(leaving) {
    clearTimeout(timer);
    timer = 0;
    queue = queue.filter((entry) => Date.now() - entry.at < UNSENT_AGE_MS);
    const blocked = performance.now() < blockedUntil;
    if (leaving) {
      // When sending is not going to work now, the next page is a better chance than a last request.
      if (!((blocked || navigator.onLine === false) && keep())) {
        let before;
        do before = queue.length; while (before && send(true) && queue.length < before);
        keep();
      }
      if (queue.length) schedule(BATCH_DELAY_MS); // a hidden page may well live on
    } else if (gone || !queue.length || underWay.length) {
      return; // a page that was left kept its queue for the next one; the end of a request under way flushes again
    } else if (blocked) schedule(0);
    else send(false);
  }

  // Sends the front of the queue; false when it does not fit beside what is under way.
  function send(leaving) {
    let size = 0;
    let count = 0;
    for (const entry of queue.slice(0, MAX_PER_REQUEST)) {
      const more = bytes(entry);
      if (bytesUnderWay + size + more > MAX_BYTES) break;
      size += more;
      count++;
    }
    if (!count) return false;
    const batch = queue.splice(0, count);
    const now = Date.now();
    // Joined by hand: some old libraries give arrays a toJSON that breaks JSON.stringify.
    const events = batch.map((entry) => entry.json.slice(0, -1) + ',"sent_at":' + now + '}');
    const body = '{"events":[' + events.join() + ']}';
    underWay = underWay.concat(batch);
    bytesUnderWay += size;
    let settled = false;
    const settle = guard((status, retryAfter) => {
      if (settled) return;
      settled = true;
      clearTimeout(timeout);
      underWay = underWay.filter((entry) => !batch.includes(entry));
      bytesUnderWay -= size;
      finish(batch, status, retryAfter);
    });
    const aborter = window.AbortController ? new AbortController() : {};
    const timeout = setTimeout(guard(() => {
      settle(0);
      if (aborter.abort) aborter.abort();
    }), REQUEST_TIMEOUT_MS);
    transmit(body, leaving, aborter.signal, settle);
    return true;
  }

  // A plain string body is text/plain, which needs no CORS preflight.
  function transmit(body, leaving, signal, settle) {
    try {
      // Firefox before 133 has fetch without keepalive: it would cancel the request with the page.
      if (!leaving || 'keepalive' in Request.prototype) {
        // A page that was just left can hold on to the browser's keepalive quota, and then every such request
        // fails: retries do without. They can, for what failed before is in localStorage.
        const keepalive = leaving || !failures;
        fetch(options.apiUrl, { method: 'POST', body, keepalive, credentials: 'omit', signal })
          .then((answer) => settle(answer.status, answer.headers.get('Retry-After')), () => settle(0));
        return;
      }
    } catch (noFetch) { /* go on with what there is */ }
    try {
      if (leaving || !window.XMLHttpRequest) {
        const accepted = navigator.sendBeacon(options.apiUrl, new Blob([body], { type: 'text/plain' }));
        return settle(accepted ? 202 : 0);
      }
      const request = new XMLHttpRequest();
      request.open('POST', options.apiUrl);
      request.onloadend = () => settle(request.status, request.status && request.getResponseHeader('Retry-After'));
      request.send(body);
    } catch (error) {
      settle(0);
    }
  }

  function finish(batch, status, retryAfter) {
    if (!status || status === 408 || status === 429 || status >= 500) {
      // Half of the wait is random, so that an outage does not end in a stampede.
      const wait = Math.min(1000 * Math.pow(2, failures++), LONGEST_WAIT_MS) * (0.5 + Math.random() / 2);
      serverAsked = retryAfter > 0;
      const asked = Math.min(retryAfter * 1000, SESSION_GAP_MS);
      blockedUntil = performance.now() + (serverAsked ? asked + Math.random() * 1000 : wait);
      queue = batch.concat(queue).slice(-MAX_QUEUED);
      keep();
    } else {
      if (status < 300) failures = blockedUntil = 0;
      else log('dropped: refused with status', status);
      forget(batch);
    }
    if (queue.length) schedule(0);
  }

  function loadUnsent() {
    try {
      return JSON.parse(load('localStorage', UNSENT)).filter((entry) => typeof entry.json === 'string');
    } catch (error) {
      return [];
    }
  }

  const without = (entries, others) => {
    const ids = new Set(others.map((entry) => entry.id));
    return entries.filter((entry) => !ids.has(entry.id));
  };

  // Copies what is unsent for the next page. A request under way when the page goes has no known end: its
  // events are copied only if they failed before, or every page change would send its exit twice.
  function keep() {
    const mine = underWay.filter((entry) => entry.kept).concat(queue);
    if (!mine.length) return true;
    const entries = without(loadUnsent(), mine).concat(mine).slice(-MAX_KEPT);
    let chars = entries.reduce((sum, entry) => sum + entry.json.length, 0);
    while (chars > MAX_KEPT_CHARS) chars -= entries.shift().json.length;
    mine.forEach((entry) => { entry.kept = true; });
    return save('localStorage', UNSENT, JSON.stringify(entries));
  }

  function forget(batch) {
    if (!batch.some((entry) => entry.kept)) return;
    const rest = without(loadUnsent(), batch);
    if (!rest.length || !save('localStorage', UNSENT, JSON.stringify(rest))) remove('localStorage', UNSENT);
  }

  // Taken out at once, so that two tabs opened after an outage do not both send them.
  function takeUnsent() {
    queue = loadUnsent().concat(queue);
    remove('localStorage', UNSENT);
    if (queue.length) schedule(BATCH_DELAY_MS);
  }

  // ---- page views and engagement --------------------------------------------------------------

  let view = null;
  let engagedMs = 0;
  let engagedSince = 0; // 0 while the page is hidden or unfocused
  let deepest = 0;
  let heartbeat = 0;

  const route = () => location.pathname + (options.hash ? location.hash : '');
  const visible = () => document.visibilityState !== 'hidden';

  function measureEngagement() {
    const now = performance.now();
    // A laptop that slept shows up as one long step between two heartbeats.
    const longest = 2000 * options.heartbeatSeconds || SESSION_GAP_MS;
    if (engagedSince) engagedMs += Math.min(now - engagedSince, longest);
    engagedSince = visible() && document.hasFocus() ? now : 0;
  }

  function measureScroll() {
    const page = document.documentElement;
    const seen = (window.pageYOffset + window.innerHeight) / Math.max(page.scrollHeight, 1);
    deepest = Math.max(deepest, Math.min(Math.round(seen * 100), 100));
  }

  function takeReport() {
    measureEngagement();
    measureScroll();
    const report = { engaged_ms: engagedMs, scroll_percent: deepest };
    engagedMs = 0;
    return report;
  }

  // Only the first view of a page has the referrer the browser tells; repeating it would count its source again.
  function startView() {
    view = { url: location.href, route: route(), referrer: view ? view.url : document.referrer, at: Date.now() };
    measureEngagement();
    engagedMs = deepest = 0;
  }

  function announceView() {
    if (view.announced) return;
    view.announced = true;
    view.title = document.title;
    emit('page_view', { page_url: view.url, timestamp: view.at });
  }

  function endView() {
    if (view.ended) return;
    announceView();
    view.ended = true;
    emit('page_exit', Object.assign(takeReport(), { page_url: view.url, title: view.title }));
  }

  function renewView() {
    endView();
    startView();
    announceView();
  }

  // Called before each act of the visitor: one after a long absence opens a new session, and a session begins
  // with a page view.
  function beforeActivity() {
    if (readSession().ended) renewView();
    else announceView();
  }

  // Frameworks set the title after the route, and often redirect at once: wait a tick before announcing.
  const routeChanged = guard(() => {
    if (!started || route() === view.route) return;
    if (view.announced) {
      endView();
      startView();
      setTimeout(guard(announceView), BATCH_DELAY_MS);
    } else {
      view.url = location.href;
      view.route = route();
    }
  });

  function runHeartbeat() {
    clearInterval(heartbeat);
    if (!visible() || !(options.heartbeatSeconds > 0)) return;
    heartbeat = setInterval(guard(() => {
      beforeActivity();
      emit('heartbeat', takeReport());
    }), options.heartbeatSeconds * 1000);
  }

  // ---- what the visitor does ------------------------------------------------------------------

  function clicked(event) {
    if (event.type === 'auxclick' && event.button !== 1) return;
    // The path sees into shadow roots, where event.target stops at the host.
    const origin = event.composedPath ? event.composedPath()[0] : event.target;
    const element = (origin.closest && origin.closest(CLICKABLE)) || event.target.closest(CLICKABLE);
    if (!element) return;
    beforeActivity();
    const text = element.tagName === 'INPUT' ? element.value : element.textContent;
    const label = (text || '').replace(/\s+/g, ' ').trim() || element.getAttribute('aria-label');
    emit('click', {
      element_tag: element.tagName.toLowerCase(), element_id: element.getAttribute('id'),
      element_class: element.getAttribute('class'), element_text: label
    });
  }

  function visibilityChanged() {
    measureEngagement();
    runHeartbeat();
    if (visible()) return;
    announceView();
    // A phone may kill a hidden page without another word, so report now what would be worth missing.
    if (!view.ended && engagedMs >= WORTH_REPORTING_MS) emit('engagement', takeReport());
    flush(true);
  }

  function listen() {
    const on = (target, type, work, capture) => {
      target.addEventListener(type, guard(work), { passive: true, capture: !!capture });
    };
    // Capturing, so that a page's stopPropagation does not hide clicks.
    on(document, 'click', clicked, true);
    on(document, 'auxclick', clicked, true);
    on(document, 'visibilitychange', visibilityChanged);
    on(window, 'focus', measureEngagement);
    on(window, 'blur', measureEngagement);
    on(window, 'pagehide', () => {
      endView();
      flush(true);
      gone = true; // a closing page can live on for a moment, while the next one sends what was kept
    });
    on(window, 'pageshow', (event) => {
      if (!event.persisted) return; // back from the back/forward cache, which ran no script
      gone = false;
      queue = queue.filter((entry) => !entry.kept); // by now another page may have sent these
      takeUnsent();
      renewView();
      runHeartbeat();
    });
    on(window, 'online', () => {
      if (!serverAsked) blockedUntil = 0;
      flush(false);
    });
    on(window, 'popstate', routeChanged);
    let sampling = 0;
    on(window, 'scroll', () => {
      sampling = sampling || setTimeout(guard(() => { sampling = 0; measureScroll(); }), 200);
    });
    for (const name of ['pushState', 'replaceState']) {
      const original = history[name];
      history[name] = function () {
        const result = original.apply(this, arguments);
        routeChanged();
        return result;
      };
    }
  }

  // ---- public ---------------------------------------------------------------------------------

  const act = guard((type, fields) => {
    if (!started) {
      if (early.length < MAX_QUEUED) early.push([type, fields]);
      return;
    }
    beforeActivity();
    emit(type, fields);
  });

  const start = guard(() => {
    cookieless = !!options.cookieless || navigator.globalPrivacyControl === true ||
      navigator.doNotTrack === '1' || window.doNotTrack === '1';
    if (cookieless) {
      for (const key of [USER, UNSENT]) remove('localStorage', key);
      remove('sessionStorage', SESSION);
    }
    started = true;
    startView();
    announceView();
    takeUnsent();
    listen();
    runHeartbeat();
    early.splice(0).forEach((call) => act(...call));
  });

  function tagOptions() {
    const data = tag.dataset;
    return {
      apiUrl: data.api, site: data.site, heartbeatSeconds: data.heartbeat,
      cookieless: 'cookieless' in data, hash: 'hash' in data, debug: 'debug' in data
    };
  }

  const home = tag && tag.src ? new URL(tag.src).origin + '/collect' : '';

  window.LiveInsight = {
    init: guard((given) => {
      if (options) return;
      options = Object.assign({}, given);
      options.apiUrl = options.apiUrl || home;
      const seconds = parseFloat(options.heartbeatSeconds);
      options.heartbeatSeconds = seconds >= 0 ? seconds : 30;
      if (!options.apiUrl) {
        log('not started: no apiUrl');
        options = null;
        return;
      }
      // A prerendered page may never be seen.
      if (document.prerendering) document.addEventListener('prerenderingchange', start, { once: true });
      else start();
    }),
    track: guard((type, data) => { if (type) act(type, describe(data)); }),
    trackConversion: guard((type, data) => {
      act('conversion', Object.assign(describe(data), { conversion_type: type }));
    })
  };

  if (tag && 'site' in tag.dataset) window.LiveInsight.init(tagOptions());
})();
