-- From entries of the type index, which name events, to the events' JSON.
local STRIDE = 500

-- An entry's id as it stands in its member.
local function id_of(entry)
  return string.format('%02x%02x%02x%02x-%02x%02x-%02x%02x-%02x%02x-%02x%02x%02x%02x%02x%02x',
    string.byte(entry, 9, 24))
end

local function instant_of(entry)
  local a, b, c, d, e, f, g, h = string.byte(entry, 1, 8)
  local high = a * 16777216 + b * 65536 + c * 256 + d
  local low = e * 16777216 + f * 65536 + g * 256 + h
  return (high - 2097152) * 4294967296 + low -- less 2^53, exactly
end

-- Find the members of index entries that share one timestamp: one walk of that timestamp, however many are wanted.
local function collect(events, score, wanted, missing, members)
  local from = redis.call('ZCOUNT', events, '(' .. score, '+inf')
  local last = from + redis.call('ZCOUNT', events, score, score) - 1
  while missing > 0 and from <= last do
    for _, member in ipairs(redis.call('ZREVRANGE', events, from, math.min(from + STRIDE - 1, last))) do
      local slot = wanted[string.sub(member, 8, 43)]
      if slot then
        members[slot] = member
        missing = missing - 1
      end
    end
    from = from + STRIDE
  end
  return missing == 0
end

local function members_of(events, entries)
  local members, first = {}, 1
  while first <= #entries do
    local instant, last = string.sub(entries[first], 1, 8), first + 1
    while last <= #entries and string.sub(entries[last], 1, 8) == instant do last = last + 1 end
    local score = string.format('%.0f', instant_of(entries[first]))
    -- Most events have an instant of their own: the one that is found there is the one.
    local alone = last - first == 1 and redis.call('ZRANGEBYSCORE', events, score, score, 'LIMIT', 0, 2)
    if alone and #alone == 1 then
      members[first] = alone[1]
    else
      local wanted = {}
      for place = first, last - 1 do wanted[id_of(entries[place])] = place end
      if not collect(events, score, wanted, last - first, members) then return nil end
    end
    first = last
  end
  return members
end
