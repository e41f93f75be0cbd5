-- Batch n of a term: all that ever changes the view, and the message about it, in one step.
-- KEYS: position, hot
-- ARGV: term, n, as-of µs or '', round trip µs or '', channel, sessions named, base of the keys, version,
--       seconds a session's keys live untouched, then operations: verb, session, how many arguments, arguments
--   drop                                             forget the session
--   stamp   count hi lo                              equal to Postgres under this term
--   status  text                                     the session's row changed
--   touch                                            somebody polls it
--   put     staging ('' without events) held field value ...   replace the session by what was staged
--   add     (score member index-entry hash-hi hash-lo type) ...
-- Session keys are built from the base: one hash slot holds them all.
-- Gives {'ok', {found cold}, {must be loaded again}} | {'done'} | {'refused', term found, n found} | {'unstaged', session}
local position, hot = KEYS[1], KEYS[2]
local term, n, as_of, round_trip, channel, named, base, version, ttl = unpack(ARGV, 1, 9)
local FIRST = 10

local at = redis.call('HMGET', position, 'term', 'n')
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
    if redis.call('ZCARD', stage .. 'e') ~= held or redis.call('ZCARD', stage .. 'i') ~= held then
      return {'unstaged', ARGV[i + 1]}
    end
  end
  i = i + 3 + tonumber(ARGV[i + 2])
end
redis.call('HSET', position, 'writing', n) -- a Redis that is out of memory refuses here, before anything changed

local cold, reload = {}, {}

local function forget(session)
  redis.call('DEL', base .. 's:' .. session, base .. 'e:' .. session, base .. 'i:' .. session)
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
  if is_hot(session) then keep(session) end
end

function verbs.put(session, from, arguments)
  local stage = ARGV[from]
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
  keep(session)
end

function verbs.add(session, from, arguments)
  if not is_hot(session) then return end
  local header, events, index = base .. 's:' .. session, base .. 'e:' .. session, base .. 'i:' .. session
  local was = redis.call('HMGET', header, 'count', 'held', 'floor', 'newest')
  local newest = tonumber(was[4])
  for e = from, from + arguments - 1, 6 do
    local score, member, entry, hi, lo, kind = unpack(ARGV, e, e + 5)
    if was[3] and tonumber(score) <= tonumber(was[3]) then
      -- Below the window of a trimmed session nothing tells a new event from one already counted.
      forget(session)
      reload[#reload + 1] = session
      return
    end
    local added = redis.call('ZADD', events, score, member)
    if added ~= redis.call('ZADD', index, 0, entry) then
      -- The same event with other bytes: its row was changed; the notice of that change is on its way.
      forget(session)
      reload[#reload + 1] = session
      return
    end
    if added == 1 then
      redis.call('HINCRBY', header, 'count', 1)
      redis.call('HINCRBY', header, 'held', 1)
      redis.call('HINCRBY', header, 'hi', hi)
      redis.call('HINCRBY', header, 'lo', lo)
      redis.call('HINCRBY', header, 'bytes', #member)
      redis.call('HINCRBY', header, 't:' .. kind, 1)
      if not newest or tonumber(score) > newest then
        newest = tonumber(score)
        redis.call('HSET', header, 'newest', score)
      end
    end
  end
  if was[2] == '0' then keep(session) else redis.call('ZADD', hot, activity, session) end
end

i = FIRST
while i <= #ARGV do
  local arguments = tonumber(ARGV[i + 2])
  verbs[ARGV[i]](ARGV[i + 1], i + 3, arguments)
  i = i + 3 + arguments
end

redis.call('HSET', position, 'n', n)
if as_of ~= '' then
  redis.call('HSET', position, 'as_of', as_of, 'round_trip_us', round_trip, 'live', '1',
    'as_of_at', string.format('%.0f', now))
end
redis.call('PUBLISH', channel, term .. ' ' .. n .. ' ' .. (as_of ~= '' and as_of or '-') .. ' '
  .. (round_trip ~= '' and round_trip or '-') .. ' ' .. named)
return {'ok', cold, reload}
