-- One poll: a page, its total, and how fresh they are, or why this Redis cannot tell.
-- KEYS: position, header, events, index
-- ARGV: version, database that the view must be of ('' for any), since µs or '', bytes an answer may have, bytes that
--       this reply may have, page, limit, 1 if pages may be shortened, 1 if the oldest come first, how many steps, these,
--       then the types asked for
-- Gives {'cold', reason}
--     | {'foreign', database found}
--     | {'large', how many events of the page fit}
--     | {'ok', {event, …}, total, status, as-of µs, round trip µs, µs since as-of arrived here, term or '', n, newest score or '',
--        {newest event, its score, …} where since was asked and found a few, 1 if that is all of them,
--        what pages were shortened to or 0}
-- An empty term says: right at its as-of, under the previous term, not to be kept.
-- The reason 'damaged' is said of no session that is as the projector left it, whatever is wrong with its keys.
local position, header, events, index = unpack(KEYS)
local version, database, since, bound = ARGV[1], ARGV[2], ARGV[3], tonumber(ARGV[4])
local encoding = string.match(version, '^[^/]*') -- the view's version names its slices too, a session's does not
local reply_bound, page, limit = tonumber(ARGV[5]), tonumber(ARGV[6]), tonumber(ARGV[7])
local may_shorten, oldest_first = ARGV[8] == '1', ARGV[9] == '1'
local STEPS = 11
local TYPES = STEPS + tonumber(ARGV[10])
local DEEPEST = 10000
local MOST_WALKED, MOST_WALKED_BYTES = 2000, 1048576
local NEWEST, NEWEST_BYTES = 16, 16384

local at = redis.call('HMGET', position, 'term', 'n', 'as_of', 'round_trip_us', 'as_of_at', 'version',
  'previous', 'previous_as_of', 'previous_round_trip_us', 'previous_at', 'database')
if not at[1] or at[6] ~= version then return {'cold', 'no view'} end
if database ~= '' and at[11] ~= database then return {'foreign', at[11] or ''} end

-- Numbers come joined by '/': one look for what is in no whole number costs less than one for each.
local NO_NUMBER = '[^%d/-]'

-- The first `most` of two lists of entries, both newest first.
local function merged(one, other, most)
  local result, i, j = {}, 1, 1
  for place = 1, math.min(most, #one + #other) do
    if not other[j] or (one[i] and is_later(one[i], other[j])) then
      result[place], i = one[i], i + 1
    else
      result[place], j = other[j], j + 1
    end
  end
  return result
end

-- What the index holds of one type: how many entries, and chunk k of them; `false` where that cannot be.
local damaged = false

local function listed(kind)
  local list = {count = tonumber(redis.call('HGET', index, kind) or '0'), kind = kind, chunks = {}}
  function list.chunk(k)
    if not list.chunks[k] then
      local length = math.min(CHUNK, list.count - k * CHUNK) * ENTRY
      local chunk = redis.call('HGET', index, kind .. '/' .. k)
      if not chunk or #chunk ~= length then
        damaged, chunk = true, string.rep('\0', length)
      end
      list.chunks[k] = chunk
    end
    return list.chunks[k]
  end
  function list.entry(place) return entry_at(list.chunk(math.floor(place / CHUNK)), place % CHUNK) end
  return list
end

-- How many entries are later than `since`. Most polls ask for the newest few: so look there first.
local function later(list)
  local instant = tonumber(since)
  local function is_after(place) return instant_of(list.entry(place)) > instant end
  local from, step = list.count - 1, 8
  while from >= 0 and is_after(from) do
    from, step = from - step, step * 2
  end
  return list.count - first_where(math.max(0, from + 1), list.count, is_after)
end

-- The entries `skip` .. `skip` + `most` - 1 of a list, newest first.
local function newest(list, skip, most)
  local entries = {}
  for place = list.count - 1 - skip, math.max(0, list.count - skip - most), -1 do
    entries[#entries + 1] = list.entry(place)
  end
  return entries
end

local function reversed(list)
  local other = {}
  for place = #list, 1, -1 do other[#other + 1] = list[place] end
  return other
end

-- How many fit into an answer, and their bytes.
local function fitting_of(members)
  local length = 0
  for place, member in ipairs(members) do
    if length + #member + 1 > bound then return place - 1, length end
    length = length + #member + 1
  end
  return #members, length
end

-- The matches where steps are asked for: no index knows them, so all that is late enough is looked at, if that is little.
local function of_steps(held, bytes)
  local steps, types, found = {}, {}, {}
  for s = STEPS, TYPES - 1 do steps[ARGV[s]] = true end
  for t = TYPES, #ARGV do types[ARGV[t]] = true end
  local walked = since == '' and held or redis.call('ZCOUNT', events, '(' .. since, '+inf')
  if walked > MOST_WALKED or (bytes or 0) / math.max(1, held) * walked > MOST_WALKED_BYTES then
    return nil, 'steps among many events'
  end
  local members = walked > 0 and redis.call('ZREVRANGE', events, 0, walked - 1) or {}
  if #members ~= walked then return nil, 'damaged' end
  for _, member in ipairs(members) do
    -- {"id":"…","session_id":"…","step_id":"…","event_type":"…"
    if steps[string.sub(member, 109, 144)]
      and (TYPES > #ARGV or types[string.match(member, '^"event_type":"([a-z_]+)"', 147) or '']) then
      found[#found + 1] = member
    end
  end
  return {total = #found, newest = function(skip, most) return {unpack(found, skip + 1, skip + most)} end}
end

-- The matches of any type: since is a bound from below, so they are the newest.
local function of_any_type(count, held, floor)
  local total = since == '' and count or redis.call('ZCOUNT', events, '(' .. since, '+inf')
  return {total = total, newest = function(skip, most)
    if most == 0 then return {} end
    if skip + most > held then return nil, floor and 'older than the window' or 'damaged' end
    local members = redis.call('ZREVRANGE', events, skip, skip + most - 1)
    if #members ~= most then return nil, 'damaged' end
    return members
  end}
end

local function of_types(floor)
  local total, found, lists = 0, 0, {}
  for t = TYPES, #ARGV do
    local list = listed(ARGV[t])
    local here = since == '' and list.count or later(list)
    local counted = tonumber(redis.call('HGET', header, 't:' .. ARGV[t]) or '0')
    if not floor and counted ~= list.count then return nil, 'damaged' end
    found = found + here
    total = total + (since == '' and counted or here)
    lists[#lists + 1] = list
  end
  return {total = total, newest = function(skip, most)
    if most == 0 then return {} end
    local last = skip + most
    if last > found then return nil, floor and 'older than the window' or 'damaged' end
    local entries
    if #lists == 1 then
      entries = newest(lists[1], skip, most)
    else
      if last > DEEPEST then return nil, 'a deep page of several types' end
      local parts, first = {}, 1
      for t = 1, #lists do parts[t] = newest(lists[t], 0, last) end
      while first < #parts do -- two by two, so that many types cost little more than few
        parts[#parts + 1] = merged(parts[first], parts[first + 1], last)
        first = first + 2
      end
      entries = {unpack(parts[#parts], skip + 1, last)}
    end
    local members = members_of(events, entries)
    if not members or #members ~= most then return nil, 'damaged' end
    return members
  end}
end

-- What the poll asks for, whichever page of it: how many there are, and a part of them, newest first; or nil, why not.
local function matches_of(count, held, floor, bytes)
  if STEPS < TYPES then
    if floor and since == '' then return nil, 'older than the window' end
    return of_steps(held, bytes)
  end
  if TYPES > #ARGV then return of_any_type(count, held, floor) end
  return of_types(floor)
end

local function answer()
  local has = redis.call('HMGET', header, 'term', 'version', 'count', 'held', 'floor', 'status', 'newest', 'bytes')
  if not has[1] or has[2] ~= encoding then return {'cold', 'not hot'} end

  local term, n, as_of, round_trip, as_of_at = at[1], at[2], at[3], at[4], at[5]
  if has[1] ~= term then
    if has[1] ~= at[7] then return {'cold', 'not compared under this term'} end
    term, n, as_of, round_trip, as_of_at = '', '0', at[8], at[9], at[10]
  end
  if not (as_of and as_of_at and round_trip) then return {'cold', 'no as-of yet'} end
  if string.find(as_of .. '/' .. as_of_at .. '/' .. round_trip .. '/' .. n, NO_NUMBER) then
    return {'cold', 'no as-of yet'}
  end

  local numbers = (has[3] or 'x') .. '/' .. (has[4] or 'x') .. '/' .. (has[5] or '') .. '/' .. (has[7] or '')
  if string.find(numbers, NO_NUMBER) then return {'cold', 'damaged'} end
  local count, held, floor, status = tonumber(has[3]), tonumber(has[4]), has[5] and tonumber(has[5]), has[6]
  if not count or not held or not status or floor == nil then return {'cold', 'damaged'} end
  if floor and count <= held or not floor and count ~= held then return {'cold', 'damaged'} end
  if redis.call('ZCARD', events) ~= held or tonumber(redis.call('HGET', index, '#') or '0') ~= held then
    return {'cold', 'damaged'}
  end
  -- Later polls are answered from this instant alone, without a read: no event may be later.
  if count > 0 and (not tonumber(has[7] or '') or redis.call('ZCOUNT', events, '(' .. has[7], '+inf') > 0) then
    return {'cold', 'damaged'}
  end
  if floor and since ~= '' then
    if tonumber(since) < floor then return {'cold', 'older than the window'} end
    if redis.call('ZCOUNT', events, '-inf', floor) == 0 then return {'cold', 'damaged'} end -- it is the oldest's
  end

  local matches, why = matches_of(count, held, floor, tonumber(has[8] or ''))
  if not matches then return {'cold', why} end
  local total = matches.total

  -- The events of a page, in the order that is asked for.
  local function page_from(offset)
    local most = math.max(0, math.min(limit, total - offset))
    if not oldest_first then return matches.newest(offset, most) end
    local members, reason = matches.newest(total - offset - most, most)
    return members and reversed(members), reason
  end

  -- The walk is seldom needed: most sessions are smaller than an answer may be. Of one that is held in part, what is
  -- older may be as long as it likes, and a part of the first page.
  local bytes, shortened = tonumber(has[8] or ''), 0
  local may_be_long = not bytes or floor and may_shorten or bytes + held > math.min(bound, reply_bound)
  if may_be_long and reply_bound < bound then
    -- By the mean it is longer than this reply may be: then it is not even read. Nor is the first page, where that one
    -- tells how long the others are.
    local most = math.max(0, math.min(limit, total - (may_shorten and 0 or (page - 1) * limit)))
    if not bytes or bytes / math.max(1, held) * most > reply_bound then return {'cold', 'a long page'} end
  end
  local members
  members, why = page_from(may_be_long and may_shorten and 0 or (page - 1) * limit)
  if members and may_be_long then
    local fitting, length = fitting_of(members)
    if may_shorten then
      if fitting < #members then
        if fitting == 0 then return {'large', 0} end
        limit, shortened = fitting, fitting
      end
      if page == 1 then
        for place = #members, fitting + 1, -1 do members[place] = nil end
      else
        members, why = page_from((page - 1) * limit)
        fitting, length = fitting_of(members or {})
      end
    end
    if members and fitting < #members then return {'large', fitting} end
    if length > reply_bound then return {'cold', 'a long page'} end
  end
  if damaged or not members then return {'cold', damaged and 'damaged' or why} end

  -- Who asks for what is later than an instant asks again, and so do others, with other instants: give them the
  -- newest events, which answer all that comes until the session changes. Not where nothing was found, which the
  -- newest instant answers as well for as long; nor where they are long, or fewer than were found. No more of them than
  -- fit into an answer: no page of them is then too long.
  local newest_events = {}
  if since ~= '' and total > 0 and total < NEWEST and held > 0 and (bytes or 0) / held * NEWEST <= 4 * NEWEST_BYTES then
    newest_events = redis.call('ZREVRANGE', events, 0, NEWEST - 1, 'WITHSCORES')
    local size, last_that_fits, most = 0, 0, math.min(NEWEST_BYTES, bound)
    while newest_events[last_that_fits + 1] and size + #newest_events[last_that_fits + 1] + 1 <= most do
      size, last_that_fits = size + #newest_events[last_that_fits + 1] + 1, last_that_fits + 2
    end
    for place = #newest_events, last_that_fits + 1, -1 do newest_events[place] = nil end
  end

  local time = redis.call('TIME')
  local age = math.max(0, time[1] * 1000000 + time[2] - as_of_at)
  return {'ok', members, total, -- whoever asks joins them: three times as fast as `table.concat`
    status, as_of, round_trip, string.format('%.0f', age), term, n,
    has[7] or '', newest_events, #newest_events == 2 * count and 1 or 0, shortened}
end

local ok, reply = pcall(answer)
if ok then return reply end
-- A key of a wrong type, or numbers that are none. What Redis refuses for other reasons is no damage.
if type(reply) == 'string' or string.find(type(reply) == 'table' and reply.err or tostring(reply), 'WRONGTYPE') then
  return {'cold', 'damaged'}
end
error(reply, 0)
