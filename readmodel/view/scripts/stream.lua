-- What arrived in one session behind a cut, chunk by chunk of its arrival log, or why this Redis cannot tell.
-- KEYS: position, header, events, log
-- ARGV: version, database that the view must be of ('' for any), most events, most bytes, origin, then the cut: xmax ('' for
--       the tail: no events; 0 for the start), open ids
-- Gives {'cold', reason} | {'foreign', database found} | {'gone', origin now}
--     | {'ok', {event, …}, status, as-of µs, round trip µs, µs since as-of arrived here, term, n,
--        line of the last chunk that is given, 1 if no other came after it}
local position, header, events, log = unpack(KEYS)
local version, database, most, bound, origin, xmax = unpack(ARGV, 1, 6)
local encoding = string.match(version, '^[^/]*')
most, bound = tonumber(most), tonumber(bound)
local TXID = 8
local NO_NUMBER = '[^%d/-]'

local at = redis.call('HMGET', position, 'term', 'n', 'as_of', 'round_trip_us', 'as_of_at', 'version', 'database', 'origin')
if not at[1] or at[6] ~= version then return {'cold', 'no view'} end
if database ~= '' and at[7] ~= database then return {'foreign', at[7] or ''} end
if not at[8] or at[8] == '' then return {'cold', 'no origin'} end

local open = {}
for k = 7, #ARGV do open[tonumber(ARGV[k])] = true end

local function line_of(chunk) return string.match(chunk, '^([^\n]*)\n') end

-- Whether our cut shows all that a chunk's cut shows.
local function covers(line)
  local words = string.gmatch(line, '%S+')
  if words() ~= at[8] then return false end
  local theirs, running = tonumber(words()), {}
  if theirs > xmax then return false end
  for id in words do running[tonumber(id)] = true end
  for id in pairs(open) do
    if id < theirs and not running[id] then return false end
  end
  return true
end

local function is_new(txid)
  local a, b, c, d, e, f, g, h = string.byte(txid, 1, 8)
  local id = (a * 16777216 + b * 65536 + c * 256 + d) * 4294967296 + e * 16777216 + f * 65536 + g * 256 + h
  return id >= xmax or open[id]
end

-- The chunks behind our cut, the newest first, and the line of the one that it covers, if there is one. Most ask for the
-- last chunk.
local function behind()
  local found, past, step = {}, redis.call('LLEN', log), 2
  while past > 0 do
    local from = math.max(0, past - step)
    local chunks = redis.call('LRANGE', log, from, past - 1)
    for place = #chunks, 1, -1 do
      local line = line_of(chunks[place])
      if not line then return nil end
      if covers(line) then return found, line end
      found[#found + 1] = {line = line, arrivals = string.sub(chunks[place], #line + 2)}
    end
    past, step = from, step * 4
  end
  return nil
end

local function entries_in(arrivals)
  local entries = {}
  for from = 1, #arrivals, TXID + ENTRY do
    if is_new(string.sub(arrivals, from, from + TXID - 1)) then
      entries[#entries + 1] = string.sub(arrivals, from + TXID, from + TXID + ENTRY - 1)
    end
  end
  table.sort(entries, function(one, other) return is_later(other, one) end)
  return entries
end

-- The whole session, where that is one answer.
local function from_the_start(held, floor)
  if floor then return nil, 'older than the window' end
  if held > most then return nil, 'a long stream' end
  local found, size = redis.call('ZRANGEBYSCORE', events, '-inf', '+inf'), 0
  for _, member in ipairs(found) do size = size + #member end
  if size > bound then return nil, 'a long stream' end
  local last = redis.call('LRANGE', log, -1, -1)[1]
  local line = last and line_of(last)
  if not line or string.sub(line, 1, #at[8] + 1) ~= at[8] .. ' ' then return nil, 'no arrival log' end
  return found, line, true
end

local function from_a_cut()
  local chunks, line = behind()
  if not chunks then return nil, 'not in the arrival log' end
  local found, size = {}, 0
  for place = #chunks, 1, -1 do
    local chunk = chunks[place]
    local entries = entries_in(chunk.arrivals)
    local members = members_of(events, entries)
    if not members then return nil, 'damaged' end
    local more = 0
    for _, member in ipairs(members) do more = more + #member end
    if #found + #members > most or size + more > bound then
      if #found == 0 then return nil, 'a long stream' end
      return found, line, false
    end
    for _, member in ipairs(members) do found[#found + 1] = member end
    size, line = size + more, chunk.line
  end
  return found, line, true
end

local function tail()
  local last = redis.call('LRANGE', log, -1, -1)[1]
  local line = last and line_of(last)
  if not line or string.sub(line, 1, #at[8] + 1) ~= at[8] .. ' ' then return nil, 'no arrival log' end
  return {}, line, true
end

local function answer()
  local has = redis.call('HMGET', header, 'term', 'version', 'count', 'held', 'floor', 'status')
  if not has[1] or has[2] ~= encoding then return {'cold', 'not hot'} end
  if has[1] ~= at[1] then return {'cold', 'not compared under this term'} end
  if not (at[3] and at[4] and at[5]) or string.find(at[2] .. '/' .. at[3] .. '/' .. at[4] .. '/' .. at[5], NO_NUMBER) then
    return {'cold', 'no as-of yet'}
  end
  local count, held, status = tonumber(has[3] or ''), tonumber(has[4] or ''), has[6]
  if not count or not held or not status or redis.call('ZCARD', events) ~= held then return {'cold', 'damaged'} end
  local found, line, is_all
  if xmax == '' then
    found, line, is_all = tail()
  else
    xmax = tonumber(xmax)
    if xmax == 0 then
      found, line, is_all = from_the_start(held, has[5])
    elseif origin ~= at[8] then
      return {'gone', at[8]}
    else
      found, line, is_all = from_a_cut()
    end
  end
  if not found then return {'cold', line} end
  local time = redis.call('TIME')
  local age = math.max(0, time[1] * 1000000 + time[2] - at[5])
  return {'ok', found, status, at[3], at[4], string.format('%.0f', age), at[1], at[2], line, is_all and 1 or 0}
end

local ok, reply = pcall(answer)
if ok then return reply end
-- A key of a wrong type, or numbers that are none. What Redis refuses for other reasons is no damage.
if type(reply) == 'string' or string.find(type(reply) == 'table' and reply.err or tostring(reply), 'WRONGTYPE') then
  return {'cold', 'damaged'}
end
error(reply, 0)
