--- The dates that S3 writes, as unix seconds and back. Pure: no time zone of this machine comes in but where it is asked for.
local dates = {}

local MONTHS <const> = { Jan = 1, Feb = 2, Mar = 3, Apr = 4, May = 5, Jun = 6, Jul = 7, Aug = 8, Sep = 9, Oct = 10, Nov = 11, Dec = 12 }

--- Days from 1970-01-01 in the Gregorian calendar (Howard Hinnant's days_from_civil).
local function days(year, month, day)
  if month <= 2 then year = year - 1 end
  local era = year // 400
  local of_era = year - era * 400
  local of_year = (153 * (month + (month > 2 and -3 or 9)) + 2) // 5 + day - 1
  return era * 146097 + of_era * 365 + of_era // 4 - of_era // 100 + of_year - 719468
end

local function seconds(year, month, day, hour, minute, second)
  return days(year, month, day) * 86400 + hour * 3600 + minute * 60 + second
end

--- "2026-01-31T23:59:59.000Z" -> seconds | nil
function dates.iso(text)
  local year, month, day, hour, minute, second = (text or ""):match "^(%d%d%d%d)-(%d%d)-(%d%d)T(%d%d):(%d%d):(%d%d)"
  if not year then return nil end
  return seconds(tonumber(year), tonumber(month), tonumber(day), tonumber(hour), tonumber(minute),
    tonumber(second))
end

--- "Sat, 31 Jan 2026 23:59:59 GMT" -> seconds | nil
function dates.http(text)
  local day, month, year, hour, minute, second = (text or ""):match "^%a+, (%d%d) (%a%a%a) (%d%d%d%d) (%d%d):(%d%d):(%d%d) GMT$"
  if not (day and MONTHS[month]) then return nil end
  return seconds(tonumber(year), MONTHS[month], tonumber(day), tonumber(hour), tonumber(minute),
    tonumber(second))
end

--- "2026-01-31 23:59:59" in this machine's time, as `ls` prints it
function dates.shown(at) return os.date("%Y-%m-%d %H:%M:%S", at) end

--- "2026-01-31T23:59:59Z"
function dates.written(at) return os.date("!%Y-%m-%dT%H:%M:%SZ", at) end

return dates
