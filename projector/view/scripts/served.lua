-- A part of one session as polls would be served, in one instant: members by rank, oldest first, and chunks of the type
-- index, the types in order. What contradicts itself is damaged, whatever Postgres holds.
-- KEYS: header, events, index
-- ARGV: term, version, first member, how many, their bytes (by the session's mean), first chunk, how many
-- Gives {'cold'} | {'damaged'}
--     | {'ok', {member, score, …}, {type, chunk's number, chunk, last entry of the chunk before or '', …}, members, chunks}
local header, events, index = unpack(KEYS)
local term, version = ARGV[1], ARGV[2]
local first, most, most_bytes = tonumber(ARGV[3]), tonumber(ARGV[4]), tonumber(ARGV[5])
local first_chunk, most_chunks = tonumber(ARGV[6]), tonumber(ARGV[7])

local function whole_number(text) return text and string.find(text, '^%-?%d+$') and tonumber(text) end

local has, types = {}, {}

local function fits(count, held, floor, newest)
  if not (count and held and whole_number(has.bytes)) or (has.floor and not floor) then return false end
  if floor and count <= held or not floor and count ~= held then return false end
  if redis.call('ZCARD', events) ~= held or whole_number(redis.call('HGET', index, '#') or '0') ~= held then return false end
  if floor and (redis.call('ZCOUNT', events, '-inf', '(' .. has.floor) > 0
    or redis.call('ZCOUNT', events, has.floor, has.floor) == 0) then return false end
  return held == 0 or newest and redis.call('ZCOUNT', events, '(' .. has.newest, '+inf') == 0
    and redis.call('ZCOUNT', events, has.newest, has.newest) > 0
end

-- Collects the chunks of one type that are wanted; gives how many there are, or nothing where one is not as it must be.
local function take(kind, here, past, wanted)
  local chunks = math.ceil(here / CHUNK)
  for k = math.max(0, first_chunk - past), math.min(chunks, first_chunk + most_chunks - past) - 1 do
    local chunk = redis.call('HGET', index, kind .. '/' .. k)
    local before = k > 0 and redis.call('HGET', index, kind .. '/' .. k - 1) or ''
    if not chunk or #chunk ~= math.min(CHUNK, here - k * CHUNK) * ENTRY then return nil end
    wanted[#wanted + 1] = kind
    wanted[#wanted + 1] = k
    wanted[#wanted + 1] = chunk
    wanted[#wanted + 1] = string.sub(before, -ENTRY)
  end
  return chunks
end

local function part()
  local fields = redis.call('HGETALL', header)
  for f = 1, #fields, 2 do
    has[fields[f]] = fields[f + 1]
    if string.sub(fields[f], 1, 2) == 't:' then types[#types + 1] = string.sub(fields[f], 3) end
  end
  if has.term ~= term or has.version ~= version then return {'cold'} end
  local count, held = whole_number(has.count), whole_number(has.held)
  local floor, newest = whole_number(has.floor), whole_number(has.newest)
  if not has.status or not fits(count, held, floor, newest) then return {'damaged'} end

  table.sort(types)
  local counted, indexed, listed, chunks, wanted = 0, 0, 0, 0, {}
  for _, kind in ipairs(types) do
    local all, here = whole_number(has['t:' .. kind]), whole_number(redis.call('HGET', index, kind) or '0')
    if not (all and here) or here > all or (not floor and here ~= all) then return {'damaged'} end
    local taken = take(kind, here, chunks, wanted)
    if not taken then return {'damaged'} end
    counted, indexed, chunks = counted + all, indexed + here, chunks + taken
    if here > 0 then listed = listed + 1 end
  end
  if counted ~= count or indexed ~= held then return {'damaged'} end
  if redis.call('HLEN', index) ~= (held > 0 and 1 + listed + chunks or 0) then return {'damaged'} end

  local fitting = math.max(1, math.floor(most_bytes * held / math.max(1, whole_number(has.bytes))))
  local members = redis.call('ZRANGE', events, first, first + math.min(most, fitting) - 1, 'WITHSCORES')
  return {'ok', members, wanted, held, chunks}
end

local ok, reply = pcall(part)
if ok then return reply end
if type(reply) == 'string' or string.find(type(reply) == 'table' and reply.err or tostring(reply), 'WRONGTYPE') then
  return {'damaged'}
end
error(reply, 0)
