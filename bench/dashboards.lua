-- Dashboards for wrk: each polls its session every PERIOD ms with the newest timestamp that it saw a poll ago.
-- Arguments: file with a session id a line, dashboards, first `since`, period ms. The last lines printed are the result.
local SETTLE = 2000 -- ms
local sessions, seen, since, dashboards, period = {}, {}, {}, 0, 0
local turn, started = 0, 0
memory, redis, postgres = 0, 0, 0 -- of the thread's own state, so global: `done` runs in another
local threads = {}

function setup(thread) threads[#threads + 1] = thread end

function init(args)
  for line in io.lines(args[1]) do sessions[#sessions + 1] = line end
  dashboards, period = tonumber(args[2]), tonumber(args[4])
  for _, session in ipairs(sessions) do seen[session] = args[3] end
  for dashboard = 1, dashboards do since[dashboard] = args[3] end
  math.randomseed(1)
end

-- All connect at once, as no dashboards do: the first polls wait until that is over. Then each connection's first
-- comes at some instant of a period, so that they do not poll together.
function delay()
  started = started + 1
  if started <= dashboards then return math.random(SETTLE, SETTLE + period) end
  return period
end

-- All wait alike, so the dashboards' turns come round in the order in which they began.
function request()
  local dashboard = turn % dashboards + 1
  local session = sessions[dashboard % #sessions + 1]
  turn = turn + 1
  local path = "/api/v2/sessions/" .. session .. "/events?since=" .. since[dashboard]
  since[dashboard] = seen[session]
  return wrk.format("GET", path)
end

function response(status, headers, body)
  local source = headers["readside-source"]
  if source == "memory" then memory = memory + 1
  elseif source == "redis" then redis = redis + 1
  elseif source == "postgres" then postgres = postgres + 1 end
  local session, newest = string.match(body, '"session_id":"([^"]+)".-"timestamp":"([^"]+)"') -- newest first
  if session and newest > seen[session] then seen[session] = newest end
end

function done(summary, latency, requests)
  local thread, errors = threads[1], summary.errors
  for _, share in ipairs({ 50, 75, 90, 95, 99, 99.9 }) do
    io.write(string.format("latency %g %.3f\n", share, latency:percentile(share) / 1000))
  end
  io.write(string.format("latency 100 %.3f\n", latency.max / 1000))
  io.write(string.format("errors %d\n", errors.connect + errors.read + errors.write + errors.status + errors.timeout))
  io.write(string.format("seconds %.3f\n", summary.duration / 1000000 - SETTLE / 1000))
  io.write(string.format("polls %d\n", summary.requests))
  for _, source in ipairs({ "memory", "redis", "postgres" }) do
    io.write(string.format("%s %d\n", source, thread:get(source) or 0))
  end
end
