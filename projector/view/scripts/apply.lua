-- Batch n of a term: all that ever changes the view, and the message about it, in one step.
-- KEYS: position, hot
-- ARGV: term, n, as-of µs or '', round trip µs or '', how far the database's log had come for this as-of or '', when it
--       was sent by this Redis' clock, µs, or '', sessions named; what is the same for all batches: channel, the command
--       that publishes, base of the keys, version, seconds a session's keys live untouched, events and bytes past which a
--       session is loaded anew (its window); then operations: verb, session, how many arguments, arguments
--   drop                                             forget the session
--   stamp   count hi lo cut                          equal to Postgres under this term, as the cut shows it
--   status  text                                     the session's row changed
--   touch   [polled ms ago]                          somebody polls it, or writes to it
--   put     staging ('' without events) held cut field value ...   replace the session by what was staged
--   add     cut (score member index-entry hash-hi hash-lo type transaction) ...   then the session is as the cut shows it
--   A cut is '' where it is not known. Session keys are built from the base: one hash slot holds them all.
-- A session whose keys are damaged (a wrong type, numbers that are none) is forgotten, and all others go on.
-- Gives {'ok', {found cold}, {forgotten, to be loaded}, {grown past the window}, now µs, {damaged, of those forgotten}}
--     | {'done'} | {'refused', term found, n found} | {'unstaged', session}
local position, hot = KEYS[1], KEYS[2]
local term, n, as_of, round_trip, wal, sent, named = unpack(ARGV, 1, 7)
local channel, publish, base, version, ttl = unpack(ARGV, 8, 12)
local most_events, most_bytes = tonumber(ARGV[13]), tonumber(ARGV[14])
local FIRST, PAST = 15, #ARGV + 1

local at = redis.call('HMGET', position, 'term', 'n', 'database', 'origin')
if at[1] ~= term then return {'refused', at[1] or '', at[2] or ''} end
if at[2] == n then return {'done'} end
if tonumber(at[2]) ~= tonumber(n) - 1 then return {'refused', at[1], at[2]} end

local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local activity = string.format('%.0f', math.floor(now / 1000))

-- Look before the first write: what fails midway would keep what it wrote.
local i = FIRST
while i < PAST do
  if ARGV[i] == 'put' and ARGV[i + 3] ~= '' then
    local stage, held = ARGV[i + 3], tonumber(ARGV[i + 4])
    local staged, indexed = redis.pcall('ZCARD', stage .. 'e'), redis.pcall('HGET', stage .. 'i', '#') or '0'
    if staged ~= held or type(indexed) ~= 'string' or tonumber(indexed) ~= held then
      return {'unstaged', ARGV[i + 1]}
    end
  end
  i = i + 3 + tonumber(ARGV[i + 2])
end
redis.call('HSET', position, 'writing', n) -- a Redis that is out of memory refuses here, before anything changed

local MOST_ARRIVALS, MOST_CHUNKS = 4000, 1000 -- of a session's arrival log: its oldest chunks go
local ARRIVAL = 8 + ENTRY
local origin = at[4] or ''

local cold, reload, grown, damaged = {}, {}, {}, {}
local active = {} -- sessions of which something was heard, noted by one command in the end: a thousand at most

local function forget(session)
  -- Unlinked, a large session is freed beside us: a batch may drop hundreds.
  redis.call('UNLINK', base .. 's:' .. session, base .. 'e:' .. session, base .. 'i:' .. session,
    base .. 'l:' .. session)
  redis.call('ZREM', hot, session)
  active[session] = nil
end

local function keep(session)
  for _, kind in ipairs({'s:', 'e:', 'i:', 'l:'}) do redis.call('EXPIRE', base .. kind .. session, ttl) end
  active[session] = true
end

local function found_cold(session)
  cold[#cold + 1] = session
  return false
end

local function is_hot(session)
  return redis.call('HGET', base .. 's:' .. session, 'term') == term or found_cold(session)
end

local function anew(session)
  forget(session)
  reload[#reload + 1] = session
end

local function spoiled(session)
  damaged[#damaged + 1] = session
  anew(session)
end

-- Other refusals, as of a right that is missing, concern every session: they end the batch.
local function is_damage(problem)
  local text = type(problem) == 'table' and problem.err or tostring(problem)
  return type(problem) == 'string' or string.find(text, 'WRONGTYPE') or string.find(text, 'not an integer')
    or string.find(text, 'would overflow')
end

-- Begin a session's arrival log: it is as the cut shows it.
local function log_from(session, cut)
  local log = base .. 'l:' .. session
  redis.call('UNLINK', log)
  if cut == '' or origin == '' then return end
  redis.call('RPUSH', log, origin .. ' ' .. cut .. '\n')
  redis.call('EXPIRE', log, ttl)
  redis.call('HSET', base .. 's:' .. session, 'arrivals', '0')
end

-- Note what arrived, in a chunk of its own. Where there is no log, or it may be another history's, one begins here.
local function note(session, cut, arrivals)
  local log, header = base .. 'l:' .. session, base .. 's:' .. session
  if cut == '' or redis.call('LLEN', log) == 0 then return log_from(session, cut) end
  local chunks = redis.call('RPUSH', log, origin .. ' ' .. cut .. '\n' .. table.concat(arrivals))
  local noted = redis.call('HINCRBY', header, 'arrivals', #arrivals)
  while chunks > 1 and (noted > MOST_ARRIVALS or chunks > MOST_CHUNKS) do
    local chunk = redis.call('LPOP', log)
    local line = string.find(chunk, '\n', 1, true) or #chunk
    noted, chunks = redis.call('HINCRBY', header, 'arrivals', -math.floor((#chunk - line) / ARRIVAL)), chunks - 1
  end
end

local verbs = {}

function verbs.drop(session) forget(session) end

function verbs.stamp(session, from)
  local header = base .. 's:' .. session
  local held = redis.call('HMGET', header, 'count', 'hi', 'lo', 'version')
  if held[1] == ARGV[from] and held[2] == ARGV[from + 1] and held[3] == ARGV[from + 2] and held[4] == version then
    redis.call('HSET', header, 'term', term)
    local last = redis.call('LRANGE', base .. 'l:' .. session, -1, -1)[1]
    if not last or string.sub(last, 1, #origin + 1) ~= origin .. ' ' then log_from(session, ARGV[from + 3]) end
  else
    found_cold(session)
  end
end

function verbs.status(session, from)
  if is_hot(session) then
    redis.call('HSET', base .. 's:' .. session, 'status', ARGV[from])
    active[session] = true
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
  local stage, polled = ARGV[from], redis.pcall('HGET', base .. 's:' .. session, 'polled')
  forget(session)
  if stage ~= '' then
    for _, kind in ipairs({'e', 'i'}) do
      redis.call('RENAME', stage .. kind, base .. kind .. ':' .. session)
    end
  end
  local header = base .. 's:' .. session
  redis.call('HSET', header, 'term', term, 'version', version, 'held', ARGV[from + 1], 'loaded', activity)
  for field = from + 3, from + arguments - 1, 2 do
    redis.call('HSET', header, ARGV[field], ARGV[field + 1])
  end
  if type(polled) == 'string' then redis.call('HSET', header, 'polled', polled) end
  log_from(session, ARGV[from + 2])
  keep(session)
end

local function chunk(index, kind, k) return redis.call('HGET', index, kind .. '/' .. k) or '' end

-- Where entries that are not all newer than the last chunk have to go: the first chunk that changes.
local function place_of(index, kind, new, last)
  local at = first_where(0, last, function(k)
    local first = entry_at(chunk(index, kind, k), 0)
    return not is_later(new, #first == ENTRY and first or string.rep('\0', ENTRY))
  end)
  return math.max(0, at - 1) -- the chunk before begins earlier, and so holds the place
end

-- Put new entries of one type among those that the index holds, from the first chunk on that changes: the last, mostly.
-- Gives false, and writes nothing, where one is there already or the index is damaged.
local function merge(index, kind, news)
  if news[2] then table.sort(news, function(one, other) return is_later(other, one) end) end
  local was = redis.call('HMGET', index, '#', kind)
  local all, count = tonumber(was[1] or '0'), tonumber(was[2] or '0')
  local last = math.max(0, math.ceil(count / CHUNK) - 1)
  local at, old = last, chunk(index, kind, last)
  if #old ~= (count - last * CHUNK) * ENTRY then return false end
  if last > 0 and not is_later(news[1], entry_at(old, 0)) then
    at = place_of(index, kind, news[1], last)
    local chunks = {}
    for k = at, last - 1 do chunks[#chunks + 1] = chunk(index, kind, k) end
    old = table.concat(chunks) .. old
  end

  local held, from, merged = count - at * CHUNK, 0, {}
  if #old ~= held * ENTRY then return false end
  for _, new in ipairs(news) do
    local place = held
    if from < held and not is_later(new, entry_at(old, held - 1)) then
      place = first_where(from, held, function(other) return not is_later(new, entry_at(old, other)) end)
      if entry_at(old, place) == new then return false end
    end
    merged[#merged + 1] = string.sub(old, from * ENTRY + 1, place * ENTRY)
    merged[#merged + 1] = new
    from = place
  end
  merged[#merged + 1] = string.sub(old, from * ENTRY + 1)
  merged = table.concat(merged)
  from = 1
  while #merged - from >= CHUNK * ENTRY do
    redis.call('HSET', index, kind .. '/' .. at, string.sub(merged, from, from + CHUNK * ENTRY - 1))
    at, from = at + 1, from + CHUNK * ENTRY
  end
  redis.call('HSET', index, kind .. '/' .. at, string.sub(merged, from), kind, count + #news, '#', all + #news)
  return true
end

function verbs.add(session, from, arguments)
  local header, events, index = base .. 's:' .. session, base .. 'e:' .. session, base .. 'i:' .. session
  local was = redis.call('HMGET', header, 'term', 'held', 'floor', 'newest', 'count', 'bytes')
  if was[1] ~= term then return found_cold(session) end
  -- What a reader would refuse must not grow: the numbers would be as wrong, and nobody be told.
  local numbers = (was[2] or 'x') .. '/' .. (was[3] or '') .. '/' .. (was[4] or '') .. '/' .. (was[5] or 'x')
  if string.find(numbers .. '/' .. (was[6] or 'x'), '[^%d/-]') then return spoiled(session) end
  local held, floor, newest = tonumber(was[2]), tonumber(was[3] or ''), tonumber(was[4] or '')
  local count, size = tonumber(was[5]), tonumber(was[6])
  if not (held and count and size) or (was[3] and not floor) or (held > 0 and not newest) then return spoiled(session) end
  if floor and count <= held or not floor and count ~= held then return spoiled(session) end
  local news, hi_sum, lo_sum, bytes, kinds, arrivals = 0, 0, 0, 0, {}, {}
  for e = from + 1, from + arguments - 1, 7 do
    local score, member, entry, hi, lo, kind, transaction = unpack(ARGV, e, e + 6)
    -- Below the window of a trimmed session nothing tells a new event from one already counted.
    local below = floor and tonumber(score) <= floor
    if below then return anew(session) end
    if redis.call('ZADD', events, score, member) == 1 then
      news, hi_sum, lo_sum, bytes = news + 1, hi_sum + hi, lo_sum + lo, bytes + #member
      kinds[kind] = kinds[kind] or {}
      table.insert(kinds[kind], entry)
      arrivals[news] = transaction .. entry
      newest = math.max(newest or tonumber(score), tonumber(score))
    end
  end
  for kind, entries in pairs(kinds) do
    -- The same event with other bytes: its row was changed, and the letter of that is on its way.
    if not merge(index, kind, entries) then return anew(session) end
    redis.call('HINCRBY', header, 't:' .. kind, #entries)
  end
  if news > 0 then
    held, size = held + news, size + bytes
    newest = string.format('%.0f', newest) -- every digit, however a server writes large numbers
    redis.call('HSET', header, 'newest', newest, 'held', held, 'bytes', size, 'count', count + news)
    redis.call('HINCRBY', header, 'hi', hi_sum) -- past what a double holds in a session of two million
    redis.call('HINCRBY', header, 'lo', lo_sum)
    if held > most_events or size > most_bytes then grown[#grown + 1] = session end
  end
  -- What is here already may have been added by a try that a refusal ended midway, before it was noted.
  if news < (arguments - 1) / 7 then log_from(session, ARGV[from]) elseif news > 0 then note(session, ARGV[from], arrivals) end
  if was[2] == '0' then keep(session) else active[session] = true end
end

i = FIRST
while i < PAST do
  local arguments = tonumber(ARGV[i + 2])
  local done, problem = pcall(verbs[ARGV[i]], ARGV[i + 1], i + 3, arguments)
  if not done then
    if not is_damage(problem) then error(problem, 0) end
    spoiled(ARGV[i + 1]) -- what was half done to this session goes with it
  end
  i = i + 3 + arguments
end

local noted = {}
for session in pairs(active) do
  noted[#noted + 1] = activity
  noted[#noted + 1] = session
end
if #noted > 0 then redis.call('ZADD', hot, unpack(noted)) end

redis.call('HSET', position, 'n', n)
now = string.format('%.0f', now)
if as_of ~= '' then
  -- What the command took to get here, a stalling network included, belongs to the beat's round trip.
  round_trip = string.format('%.0f', round_trip + (sent ~= '' and math.max(0, now - sent) or 0))
  redis.call('HSET', position, 'as_of', as_of, 'round_trip_us', round_trip, 'live', '1',
    'as_of_at', now, 'wal', wal)
end
redis.call(publish, channel, (at[3] or '') .. ' ' .. term .. ' ' .. n .. ' ' .. (as_of ~= '' and as_of or '-') .. ' '
  .. (round_trip ~= '' and round_trip or '-') .. ' ' .. now .. ' ' .. named
  .. (wal ~= '' and (named ~= '' and ' ' or '') .. '@' .. wal or ''))
return {'ok', cold, reload, grown, now, damaged}
