--- Names in the environment that look like ours but are not: a misspelt setting must not be dropped in silence.
--- A container has some thirty variables and a node some 120 names, and this runs at every start, so nearly all of them are
--- told apart by a table look-up or a plain `find`, and the distance of two names is worked out only for a handful.
local unknown = {}

local ordinary = {}
for name in ([[PATH HOME PWD OLDPWD HOSTNAME TERM LANG LANGUAGE SHELL USER LOGNAME SHLVL TZ MAIL EDITOR PAGER DISPLAY TMPDIR TMP TEMP
  DEBIAN_FRONTEND container LS_COLORS COLORTERM COLUMNS LINES NO_COLOR CLICOLOR LD_LIBRARY_PATH LD_PRELOAD MAKEFLAGS CI _
  http_proxy https_proxy no_proxy HTTP_PROXY HTTPS_PROXY NO_PROXY all_proxy ALL_PROXY NOTIFY_SOCKET LISTEN_FDS LISTEN_PID
  WATCHDOG_USEC WATCHDOG_PID INVOCATION_ID JOURNAL_STREAM APPLIANCE_SERVICE SPARK_VERSION SPARK_USER HADOOP_VERSION
  HADOOP_HOME SCALA_VERSION]]):gmatch "%S+" do
  ordinary[name] = true
end

--- First words of families that are never ours.
local families = {}
for word in ([[JAVA JDK JRE JVM LC XDG AWS GCP GOOGLE AZURE KUBERNETES DOCKER PYTHON PIP CONDA VIRTUAL NSS SSH SSL GPG SUDO SYSTEMD
  DBUS GIT GITHUB GITLAB LUA LESS HADOOP HDFS YARN ECS NODE NPM MESOS NOMAD CONSUL]]):gmatch "%S+" do
  families[word] = true
end

--- What Kubernetes and Docker links put in for every service around: SPARK_MASTER_PORT=tcp://10.0.0.1:7077, SPARK_MASTER_SERVICE_HOST, ...
--- A service called "spark-master" so collides with Spark's own names; such a value is no setting of anybody's.
function unknown.is_service_link(name, value)
  return name:find "_PORT" and (value:find "^tcp://" or value:find "^udp://" or value:find "^sctp://" or name:find "_PORT_%d+_%u+_%u+$")
    or name:find "_SERVICE_HOST$" or name:find "_SERVICE_PORT$" or name:find "_SERVICE_PORT_[%u%d_]+$"
end

function unknown.is_ordinary(name)
  return ordinary[name] or families[name:match "^%u+"] or false
end

--- Within `limit` slips (left out, added, changed, two neighbours swapped) -> their number, or nil. Follows the equal letters and branches
--- only at a slip, so two names that have little in common are told apart after a few letters, with no table made.
local function slips(one, i, other, j, limit)
  local a, b = one:byte(i), other:byte(j)
  while a == b do
    if not a then return 0 end
    i, j = i + 1, j + 1
    a, b = one:byte(i), other:byte(j)
  end
  if limit == 0 then return nil end
  local best = a and b and slips(one, i + 1, other, j + 1, limit - 1)
  local less = (best or limit) - 1
  local found = less >= 0 and a and slips(one, i + 1, other, j, less)
  if found then best, less = found, found - 1 end
  found = less >= 0 and b and slips(one, i, other, j + 1, less)
  if found then best, less = found, found - 1 end
  if less >= 0 and a and b and a == other:byte(j + 1) and b == one:byte(i + 1) then
    best = slips(one, i + 2, other, j + 2, less) or best
  end
  return best and best + 1
end

--- Words of a few letters differ by two without being slips of one another (HOST and PORT), so each word has its own allowance.
local function is_slip(name, known, reach)
  local distance = slips(name, 1, known, 1, reach)
  if not distance or distance < 2 then return distance end
  local words = known:gmatch "[^_]+"
  for word in name:gmatch "[^_]+" do
    local other = words()
    if not other or not slips(word, 1, other, 1, #word < 8 and 1 or 2) then return nil end
  end
  return not words() and distance or nil
end

--- unknown.finder(declared) -> find(name) -> the declared name that this is a slip of, or nil.
--- All declared names stand in one text, so that `find` (memchr and memcmp in C) looks through them at once: two slips leave one of
--- three pieces of a name whole, and at most two letters away from its place.
function unknown.finder(declared)
  local lines, known_at, at = {}, {}, 1
  for known in pairs(declared) do
    lines[#lines + 1], known_at[at] = known, known
    at = at + #known + 1
  end
  local text = table.concat(lines, "\n"):upper()

  return function(name)
    local upper = name:upper()
    local length = #upper
    if length < 5 then return nil end
    local reach = length < 8 and 1 or 2
    local best, best_distance
    local skip = upper:find "^SPARK_....." and 6 or 0       -- half of all names begin so: that says nothing about which one is meant
    local from = skip + 1
    for third = 1, 3 do
      local to = skip + (length - skip) * third // 3
      local piece = upper:sub(from, to)
      local found = text:find(piece, 1, true)
      while found do
        for start = found - from + 1 - reach, found - from + 1 + reach do
          local known = known_at[start]
          if known and #known - length <= reach and length - #known <= reach then
            local distance = is_slip(upper, text:sub(start, start + #known - 1), reach)
            if distance and (not best or distance < best_distance or distance == best_distance and known < best) then
              best, best_distance = known, distance
            end
          end
        end
        found = text:find(piece, found + 1, true)
      end
      from = to + 1
    end
    return best
  end
end

return unknown
