-- The type index of a session, a hash: `#` how many entries, `<type>` how many of that type, and `<type>/<k>` its chunk
-- k: 42 entries, oldest first; all but the last are full. An entry is an instant (microseconds + 2^53, 8 bytes, big
-- endian) and an id (16 bytes). 42 entries fill one of the allocator's sizes, and are cheap to write again.
local ENTRY, CHUNK = 24, 42

-- Lua's `<` follows the server's locale, in which bytes have another order: so compare them as numbers.
local function is_later(one, other)
  for from = 1, 19, 6 do
    local a, b, c, d, e, f = string.byte(one, from, from + 5)
    local g, h, i, j, k, l = string.byte(other, from, from + 5)
    local left = ((((a * 256 + b) * 256 + c) * 256 + d) * 256 + e) * 256 + f
    local right = ((((g * 256 + h) * 256 + i) * 256 + j) * 256 + k) * 256 + l
    if left ~= right then return left > right end
  end
  return false
end

local function entry_at(chunk, place) return string.sub(chunk, place * ENTRY + 1, place * ENTRY + ENTRY) end

-- The first of `from` .. `past` - 1 of which `holds` says yes, where every later one is a yes too; `past` if none is.
local function first_where(from, past, holds)
  while from < past do
    local middle = math.floor((from + past) / 2)
    if holds(middle) then past = middle else from = middle + 1 end
  end
  return from
end
