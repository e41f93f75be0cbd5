-- Batch n of a term: all that ever changes the view, and the message about it, in one step.
-- KEYS: position, hot
-- ARGV: term, n, as-of µs or '', round trip µs or '', when it was sent by this Redis' clock, µs, or '', channel,
--       sessions named, base of the keys, version, seconds a session's keys live untouched, events and bytes past
--       which a session is loaded anew (its window), then operations: verb, session, how many arguments, arguments
--   drop                                             forget the session
--   stamp   count hi lo                              equal to Postgres under this term
--   status  text                                     the session's row changed
--   touch   [polled ms ago]                          somebody polls it, or writes to it
--   put     staging ('' without events) held field value ...   replace the session by what was staged
--   add     (score member index-entry hash-hi hash-lo type) ...
-- Session keys are built from the base: one hash slot holds them all.
-- Gives {'ok', {found cold}, {forgotten, to be loaded}, {grown past the window}, now µs}
--     | {'done'} | {'refused', term found, n found} | {'unstaged', session}
local position, hot = KEYS[1], KEYS[2]
local term, n, as_of, round_trip, sent, channel, named, base, version, ttl = unpack(ARGV, 1, 10)
local most_events, most_bytes = tonumber(ARGV[11]), tonumber(ARGV[12])
local FIRST = 13

local at = redis.call('HMGET', position, 'term', 'n', 'database')
if at[1] ~= term then return {'refused', at[1] or '', at[2] or ''} end
if at[2] == n then return {'done'} end
if tonumber(at[2]) ~= tonumber(n) - 1 then return {'refused', at[1], at[2]} end

local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local activity = string.format('%.0f', math.floor(now / 1000))

-- Look before the first write: what fails midway would keep what it wrote.
local i = FIRST
while i <= #ARGV do
  if ARGV[i] == 'put' and ARGV[i + 3] ~= '' then
    local stage, held = ARGV[i + 3], tonumber(ARGV[i + 4])
    if redis.call('ZCARD', stage .. 'e') ~= held or tonumber(redis.call('HGET', stage .. 'i', '#') or '0') ~= held then
      return {'unstaged', ARGV[i + 1]}
    end
  end
  i = i + 3 + tonumber(ARGV[i + 2])
end
redis.call('HSET', position, 'writing', n) -- a Redis that is out of memory refuses here, before anything changed

local cold, reload, grown = {}, {}, {}

local function forget(session)
  -- Unlinked, a large session is freed beside us: a batch may drop hundreds.
  redis.call('UNLINK', base .. 's:' .. session, base .. 'e:' .. session, base .. 'i:' .. session)
  redis.call('ZREM', hot, session)
end

local function keep(session)
  for _, kind in ipairs({'s:', 'e:', 'i:'}) do redis.call('EXPIRE', base .. kind .. session, ttl) end
  redis.call('ZADD', hot, activity, session)
end

local function is_hot(session)
  if redis.call('HGET', base .. 's:' .. session, 'term') == term then return true end
  cold[#cold + 1] = session
  return false
end

local function anew(session)
  forget(session)
  reload[#reload + 1] = session
end

local verbs = {}

function verbs.drop(session) forget(session) end

function verbs.stamp(session, from)
  local header = base .. 's:' .. session
  local held = redis.call('HMGET', header, 'count', 'hi', 'lo', 'version')
  if held[1] == ARGV[from] and held[2] == ARGV[from + 1] and held[3] == ARGV[from + 2] and held[4] == version then
    redis.call('HSET', header, 'term', term)
  else
    cold[#cold + 1] = session
  end
end

function verbs.status(session, from)
  if is_hot(session) then
    redis.call('HSET', base .. 's:' .. session, 'status', ARGV[from])
    redis.call('ZADD', hot, activity, session)
  end
end

function verbs.touch(session, from, arguments)
  if not is_hot(session) then return end
  if arguments > 0 then
    redis.call('HSET', base .. 's:' .. session, 'polled', string.format('%.0f', activity - ARGV[from]))
  end
  keep(session)
end

function verbs.put(session, from, arguments)
  local stage, polled = ARGV[from], redis.call('HGET', base .. 's:' .. session, 'polled')
  forget(session)
  if stage ~= '' then
    for _, kind in ipairs({'e', 'i'}) do
      redis.call('RENAME', stage .. kind, base .. kind .. ':' .. session)
    end
  end
  local header = base .. 's:' .. session
  redis.call('HSET', header, 'term', term, 'version', version, 'held', ARGV[from + 1], 'loaded', activity)
  for field = from + 2, from + arguments - 1, 2 do
    redis.call('HSET', header, ARGV[field], ARGV[field + 1])
  end
  if polled then redis.call('HSET', header, 'polled', polled) end
  keep(session)
end

-- Put new entries of one type among those that the index holds, from the first chunk on that changes.
-- Gives false, and writes nothing, where one is there already or the index is damaged.
local function merge(index, kind, news)
  table.sort(news, function(one, other) return is_later(other, one) end)
  local function chunk(k) return redis.call('HGET', index, kind .. '/' .. k) or '' end
  local function first(k)
    local entry = entry_at(chunk(k), 0)
    return #entry == ENTRY and entry or string.rep('\0', ENTRY)
  end
  local count = tonumber(redis.call('HGET', index, kind) or '0')
  local chunks = math.ceil(count / CHUNK)
  local at = first_where(0, chunks, function(k) return not is_later(news[1], first(k)) end)
  at = math.max(0, math.min(at, chunks) - 1) -- the chunk before begins earlier, and so holds the place

  local old = {}
  for k = at, chunks - 1 do old[#old + 1] = chunk(k) end
  old = table.concat(old)
  local held, from, merged = count - at * CHUNK, 0, {}
  if #old ~= held * ENTRY then return false end
  for _, new in ipairs(news) do
    local place = first_where(from, held, function(other) return not is_later(new, entry_at(old, other)) end)
    if place < held and entry_at(old, place) == new then return false end
    merged[#merged + 1] = string.sub(old, from * ENTRY + 1, place * ENTRY)
    merged[#merged + 1] = new
    from = place
  end
  merged[#merged + 1] = string.sub(old, from * ENTRY + 1)
  merged = table.concat(merged)
  for from = 1, #merged, CHUNK * ENTRY do
    redis.call('HSET', index, kind .. '/' .. at, string.sub(merged, from, from + CHUNK * ENTRY - 1))
    at = at + 1
  end
  redis.call('HSET', index, kind, count + #news)
  return true
end

function verbs.add(session, from, arguments)
  if not is_hot(session) then return end
  local header, events, index = base .. 's:' .. session, base .. 'e:' .. session, base .. 'i:' .. session
  local was = redis.call('HMGET', header, 'held', 'floor', 'newest')
  local floor, newest = tonumber(was[2] or ''), tonumber(was[3] or '')
  local news, hi_sum, lo_sum, bytes, kinds = 0, 0, 0, 0, {}
  for e = from, from + arguments - 1, 6 do
    local score, member, entry, hi, lo, kind = unpack(ARGV, e, e + 5)
    -- Below the window of a trimmed session nothing tells a new event from one already counted.
    local below = floor and tonumber(score) <= floor
    if below then return anew(session) end
    if redis.call('ZADD', events, score, member) == 1 then
      news, hi_sum, lo_sum, bytes = news + 1, hi_sum + hi, lo_sum + lo, bytes + #member
      kinds[kind] = kinds[kind] or {}
      table.insert(kinds[kind], entry)
      if not newest or tonumber(score) > newest then newest = tonumber(score) end
    end
  end
  for kind, entries in pairs(kinds) do
    -- The same event with other bytes: its row was changed, and the notice of that is on its way.
    if not merge(index, kind, entries) then return anew(session) end
    redis.call('HINCRBY', header, 't:' .. kind, #entries)
  end
  if news > 0 then
    redis.call('HINCRBY', index, '#', news)
    redis.call('HINCRBY', header, 'count', news)
    redis.call('HINCRBY', header, 'hi', string.format('%.0f', hi_sum))
    redis.call('HINCRBY', header, 'lo', string.format('%.0f', lo_sum))
    redis.call('HSET', header, 'newest', string.format('%.0f', newest))
    local held, size = redis.call('HINCRBY', header, 'held', news), redis.call('HINCRBY', header, 'bytes', bytes)
    if held > most_events or size > most_bytes then grown[#grown + 1] = session end
  end
  if was[1] == '0' then keep(session) else redis.call('ZADD', hot, activity, session) end
end

i = FIRST
while i <= #ARGV do
  local arguments = tonumber(ARGV[i + 2])
  verbs[ARGV[i]](ARGV[i + 1], i + 3, arguments)
  i = i + 3 + arguments
end

redis.call('HSET', position, 'n', n)
now = string.format('%.0f', now)
if as_of ~= '' then
  -- What the command took to get here, a stalling network included, belongs to the beat's round trip.
  round_trip = string.format('%.0f', round_trip + (sent ~= '' and math.max(0, now - sent) or 0))
  redis.call('HSET', position, 'as_of', as_of, 'round_trip_us', round_trip, 'live', '1',
    'as_of_at', now)
end
redis.call('PUBLISH', channel, (at[3] or '') .. ' ' .. term .. ' ' .. n .. ' ' .. (as_of ~= '' and as_of or '-') .. ' '
  .. (round_trip ~= '' and round_trip or '-') .. ' ' .. now .. ' ' .. named)
return {'ok', cold, reload, grown, now}
