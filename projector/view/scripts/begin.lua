-- Start a term: all that is known of the view is in doubt until it is compared with Postgres.
-- KEYS: position, hot
-- ARGV: term, term expected ('' for none), the view's version, database identity, still-moving µs, shape, channel, the
--       command that publishes, origin of its offsets
-- Gives {'ok', '1' if the view is continued} | {'refused', term found} | {'foreign', database found}
--     | {'slices', version found} | {'data', key, type found}
local position, hot = KEYS[1], KEYS[2]
local term, expected, version, database, moving, shape, channel, publish, origin = unpack(ARGV)

for key, wanted in pairs({[position] = 'hash', [hot] = 'zset'}) do
  local found = redis.call('TYPE', key).ok
  if found ~= 'none' and found ~= wanted then return {'data', key, found} end
end

local was = redis.call('HMGET', position, 'term', 'database', 'version', 'live', 'as_of', 'as_of_at', 'round_trip_us',
  'shape', 'continued')
if (was[1] or '') ~= expected then return {'refused', was[1] or ''} end
if was[1] and not was[2] then return {'data', position, 'hash of others'} end

local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
-- A term that did not continue the view drops what is left of it before it is live. One that came no further left some.
local clean = was[4] == '1' or was[9] == '1'
local same_view = was[2] == database and was[3] == version and was[8] == shape and clean
if was[2] and was[6] and now - was[6] < tonumber(moving) then
  local function slices_of(text) return string.match(text or '', '/.*') or '' end
  if was[2] ~= database then return {'foreign', was[2]} end
  if slices_of(was[3]) ~= slices_of(version) then return {'slices', was[3]} end
end

if not same_view then
  -- Another database's view, or one written in another way, or of rows that read as something else now: no answer of it
  -- is right here.
  redis.call('DEL', position)
elseif was[4] == '1' then
  redis.call('HSET', position, 'previous', was[1], 'previous_as_of', was[5], 'previous_at', was[6],
    'previous_round_trip_us', was[7])
end
redis.call('HSET', position, 'term', term, 'n', '0', 'live', '0', 'version', version, 'database', database,
  'shape', shape, 'origin', origin, 'continued', same_view and '1' or '0')
redis.call(publish, channel, database .. ' ' .. term .. ' 0 - - ' .. string.format('%.0f', now) .. ' ')
return {'ok', same_view and '1' or '0'}
