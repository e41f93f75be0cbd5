-- Batch n of a term: all that ever changes the view, and the message about it, in one step.
-- KEYS: position, hot
-- ARGV: term, n, as-of µs or '', round trip µs or '', when it was sent by this Redis' clock, µs, or '', channel,
--       sessions named, base of the keys, version, seconds a session's keys live untouched, events and bytes past
--       which a session is loaded anew (its window), then operations: verb, session, how many arguments, arguments
--   drop                                             forget the session
--   stamp   count hi lo                              equal to Postgres under this term
--   status  text                                     the session's row changed
--   touch                                            somebody polls it
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

function verbs.touch(session)
  if not is_hot(session) then return end
  redis.call('HSET', base .. 's:' .. session, 'polled', activity)
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
  redis.call('HSET', header, 'term', term, 'version', version, 'held', ARGV[from + 1])
  for field = from + 2, from + arguments - 1, 2 do
    redis.call('HSET', header, ARGV[field], ARGV[field + 1])
  end
  if polled then redis.call('HSET', header, 'polled', polled) end
  keep(session)
end

-- A session's type index in the course of an add: what was read or written of it, kept until `save`.
local function opened(index)
  local known, changed, self = {}, {}, {}
  local BLANK = string.rep('\0', ENTRY) -- in the place of what is damaged, which a read finds

  local function get(field)
    if known[field] == nil then known[field] = redis.call('HGET', index, field) end
    return known[field]
  end

  local function set(field, value) known[field], changed[field] = value, value end

  local function entry(kind, place)
    local found = entry_at(get(kind .. '/' .. math.floor(place / CHUNK)) or '', place % CHUNK)
    return #found == ENTRY and found or BLANK
  end

  -- Gives false where the entry is there already.
  function self.insert(kind, new)
    local count = tonumber(get(kind) or '0')
    local place = count
    if count > 0 and not is_later(new, entry(kind, count - 1)) then
      place = first_where(0, count, function(other) return not is_later(new, entry(kind, other)) end)
      if entry(kind, place) == new then return false end
    end
    local at, from = math.floor(place / CHUNK), place % CHUNK * ENTRY
    while new ~= '' do -- what no longer fits a chunk goes to the front of the next
      local field = kind .. '/' .. at
      local chunk = at * CHUNK < count and get(field) or ''
      chunk = string.sub(chunk, 1, from) .. new .. string.sub(chunk, from + 1)
      set(field, string.sub(chunk, 1, CHUNK * ENTRY))
      new, at, from = string.sub(chunk, CHUNK * ENTRY + 1), at + 1, 0
    end
    set(kind, count + 1)
    return true
  end

  function self.save()
    for field, value in pairs(changed) do redis.call('HSET', index, field, value) end
  end

  return self
end

function verbs.add(session, from, arguments)
  if not is_hot(session) then return end
  local header, events, index = base .. 's:' .. session, base .. 'e:' .. session, base .. 'i:' .. session
  local was = redis.call('HMGET', header, 'held', 'floor', 'newest')
  local floor, newest = tonumber(was[2] or ''), tonumber(was[3] or '')
  local news, hi_sum, lo_sum, bytes, kinds, entries = 0, 0, 0, 0, {}, opened(index)
  for e = from, from + arguments - 1, 6 do
    local score, member, entry, hi, lo, kind = unpack(ARGV, e, e + 5)
    -- Below the window of a trimmed session nothing tells a new event from one already counted.
    local below = floor and tonumber(score) <= floor
    local added = below or redis.call('ZADD', events, score, member)
    -- The same event with other bytes: its row was changed, and the notice of that is on its way.
    if below or added == 1 and not entries.insert(kind, entry) then
      forget(session)
      reload[#reload + 1] = session
      return
    end
    if added == 1 then
      news, hi_sum, lo_sum, bytes = news + 1, hi_sum + hi, lo_sum + lo, bytes + #member
      kinds[kind] = (kinds[kind] or 0) + 1
      if not newest or tonumber(score) > newest then newest = tonumber(score) end
    end
  end
  if news > 0 then
    entries.save()
    redis.call('HINCRBY', index, '#', news)
    redis.call('HINCRBY', header, 'count', news)
    redis.call('HINCRBY', header, 'hi', string.format('%.0f', hi_sum))
    redis.call('HINCRBY', header, 'lo', string.format('%.0f', lo_sum))
    for kind, more in pairs(kinds) do redis.call('HINCRBY', header, 't:' .. kind, more) end
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
