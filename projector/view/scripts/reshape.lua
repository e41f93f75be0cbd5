-- Note that rows of the view read as before, by another name: partitions came or went, and the view was not begun anew.
-- KEYS: position, hot
-- ARGV: term, shape
-- Gives {'ok'} | {'refused', term found}
local found = redis.call('HGET', KEYS[1], 'term') or ''
if found ~= ARGV[1] then return {'refused', found} end
redis.call('HSET', KEYS[1], 'shape', ARGV[2])
return {'ok'}
