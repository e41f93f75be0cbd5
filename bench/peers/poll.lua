-- A poll by nginx: check the key, ask Redis for the count and the page in one pipeline, join the bytes.
-- It checks no parameter and no session, and gives neither ETags nor how fresh it is.
local redis = require "$client"

if ngx.var.http_x_api_key ~= "$api_key" then return ngx.exit(401) end

-- Days since 1970, by the civil calendar.
local function days(year, month, day)
  if month <= 2 then year = year - 1 end
  local era = math.floor(year / 400)
  local of_era = year - era * 400
  local of_year = math.floor((153 * (month + (month > 2 and -3 or 9)) + 2) / 5) + day - 1
  return era * 146097 + of_era * 365 + math.floor(of_era / 4) - math.floor(of_era / 100) + of_year - 719468
end

local function microseconds(instant)
  local y, mo, d, h, mi, s, digits = string.match(instant, "^(%d+)-(%d+)-(%d+)T(%d+):(%d+):(%d+)%.?(%d*)Z$$")
  if not y then return ngx.exit(400) end
  local seconds = ((days(tonumber(y), tonumber(mo), tonumber(d)) * 24 + h) * 60 + mi) * 60 + s
  return string.format("%.0f", seconds * 1000000 + tonumber(string.sub(digits .. "000000", 1, 6)))
end

local limit, page = tonumber(ngx.var.arg_limit or 100), tonumber(ngx.var.arg_page or 1)
local key, offset = "plain:" .. ngx.var.session, (page - 1) * limit

local connection = redis:new()
if not connection:connect("127.0.0.1", $redis_port, { pool = "bench" }) then return ngx.exit(503) end
if connection:get_reused_times() == 0 then
  connection:auth("$redis_password")
  connection:select($redis_database)
end
connection:init_pipeline(2)
if ngx.var.arg_since then
  local after = "(" .. microseconds(ngx.var.arg_since)
  connection:zcount(key, after, "+inf")
  connection:zrevrangebyscore(key, "+inf", after, "limit", offset, limit)
else
  connection:zcard(key)
  connection:zrevrange(key, offset, offset + limit - 1)
end
local replies = connection:commit_pipeline()
if not replies then return ngx.exit(503) end
connection:set_keepalive(60000, 256)

local total, members = replies[1], replies[2]
local pages = math.ceil(total / limit)
local body = string.format('{"items":[%s],"total":%d,"pagination":{"page":%d,"per_page":%d,"total":%d,"total_pages":%d,'
  .. '"has_next":%s,"has_prev":%s}}', table.concat(members, ","), total, page, limit, total, pages,
  tostring(page < pages), tostring(page > 1))
ngx.header["Content-Type"] = "application/json"
ngx.header["Content-Length"] = #body
ngx.print(body)
