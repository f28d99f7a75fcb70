-- wrk's requests for `bench.ingest` and `bench.goatcounter`: page views as a tracker sends them, every event with an id
-- of its own. Arguments: events in a request, a word that makes this run's ids its own, whose tracker.
local threads = 0

function setup(thread)
  thread:set("number", threads)
  threads = threads + 1
end

function init(args)
  events, run, form, sent = tonumber(args[1]), args[2], args[3], 0
  wrk.method = form == "goatcounter" and "GET" or "POST"
  wrk.headers["Content-Type"] = form ~= "goatcounter" and "text/plain;charset=UTF-8" or nil
  wrk.headers["Origin"] = "https://shop.example.com"
  wrk.headers["Accept-Language"] = "en-GB,en;q=0.8"
  agents = {
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 Safari/537.36",
    "Mozilla/5.0 (iPhone; CPU iPhone OS 18_6 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.6 Mobile/15E148 Safari/604.1",
    "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0",
  }
end

-- Making requests is to take as little as possible from the server's cores.
local function event(visitor, now)
  sent = sent + 1
  return '{"event_type":"page_view","id":"' .. run .. "-" .. number .. "-" .. sent
    .. '","user_id":"u_' .. visitor .. '","session_id":"s_' .. visitor .. '","timestamp":' .. now
    .. ',"page_url":"https://shop.example.com/products/' .. sent % 200 .. '?utm_source=letter&color=' .. sent % 7
    .. '","referrer":"https://www.google.com/","title":"A thing to buy, number ' .. sent % 200
    .. '","language":"en-GB","screen_width":1920,"sent_at":' .. now .. "}"
end

-- GoatCounter knows visitors by address and browser, and allows each address a number of requests.
local function view_for_goatcounter(visitor)
  sent = sent + 1
  wrk.headers["X-Real-IP"] = "24." .. number .. "." .. math.floor(visitor / 250) % 250 .. "." .. visitor % 250
  return wrk.format(nil, "/count?p=%2Fproducts%2F" .. sent % 200 .. "&t=A%20thing%20to%20buy%2C%20number%20" .. sent % 200
    .. "&r=https%3A%2F%2Fwww.google.com%2F&s=1920%2C1080%2C1&rnd=" .. run .. sent)
end

function request()
  local visitor, now = number * 100000 + sent % 5000, os.time() * 1000
  wrk.headers["User-Agent"] = agents[sent % 3 + 1]
  if form == "goatcounter" then
    return view_for_goatcounter(visitor)
  end
  if events == 1 then
    return wrk.format(nil, nil, nil, event(visitor, now))
  end
  local parts = {}
  for index = 1, events do
    parts[index] = event(visitor + index, now)
  end
  return wrk.format(nil, nil, nil, "[" .. table.concat(parts, ",") .. "]")
end

function done(summary, latency)
  local e = summary.errors
  io.write(string.format('{"requests":%d,"seconds":%.4f,"bad_status":%d,"broken":%d,"p50":%.2f,"p99":%.2f,"most":%.2f}\n',
    summary.requests, summary.duration / 1e6, e.status, e.connect + e.read + e.write + e.timeout,
    latency:percentile(50) / 1000, latency:percentile(99) / 1000, latency.max / 1000))
end
