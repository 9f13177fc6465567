--- Exhibitor's REST API: which servers a ZooKeeper ensemble has (soabase/exhibitor, ClusterResource: the *configured* ones, not the live).
---   exhibitor.parse(body) -> { "10.0.0.1:2181", ... sorted } | nil, why          pure
---   exhibitor.new { hosts =, port =, user =, password = }:ask() -> servers | nil, err   waits, bounded
--- One host answers for all, so a random one of those known is asked, the next one when it does not; the servers of the last answer are
--- known, too, and are asked before those of the settings, which may be gone by then.
local address = require "appliance.cluster.address"
local failure = require "appliance.failure"
local types = require "appliance.settings.types"

local exhibitor = {}
exhibitor.__index = exhibitor

local PATH <const> = "/exhibitor/v1/cluster/list"
local CEILING <const> = 64 * 1024
local CONNECT <const>, WHOLE <const> = 2, 3.1                  -- seconds, of one host
local TRIES <const> = 4                                        -- hosts asked before it is said that nobody answers
local MOST <const> = 100                                       -- servers: more is no ensemble, and the list becomes a part of every plan

--- { "a", ... }, port -> servers | nil, why
local function checked(names, port)
  port = math.tointeger(tonumber(port))
  if not port or port < 1 or port > 65535 then return nil, "it names no port of ZooKeeper" end
  if #names == 0 then return nil, "its list of servers is empty" end
  if #names > MOST then return nil, ("it lists %d servers"):format(#names) end
  local servers = {}
  for i, name in ipairs(names) do
    local host = type(name) == "string" and #name <= 255 and types.address(name, {})
    if not host then return nil, "its list holds something that is no host" end
    servers[i] = types.hosts_text { { host = host, port = port } }
  end
  return address.sorted(servers)
end

local function parse_json(body)
  local value = require("appliance.json").decode(body)
  if type(value) ~= "table" or type(value.servers) ~= "table" then return nil, "its answer is not Exhibitor's" end
  return checked(value.servers, value.port)
end

--- Curator's form: count=2&server0=10.0.0.1&server1=10.0.0.2&port=2181
local function parse_form(body)
  local fields = {}
  for name, value in body:gmatch "([^&=%s]+)=([^&%s]*)" do
    fields[name] = value:gsub("+", " "):gsub("%%(%x%x)", function(hex) return string.char(tonumber(hex, 16)) end)
  end
  local count = math.tointeger(tonumber(fields.count))
  if not count then return nil, "its answer is not Exhibitor's" end
  if count > MOST then return nil, ("it lists %d servers"):format(count) end
  local names = {}
  for i = 0, count - 1 do names[#names + 1] = fields["server" .. i] end
  if #names ~= math.max(count, 0) then return nil, "its list of servers is shorter than it says" end
  return checked(names, fields.port)
end

--- The body of an answer -> servers | nil, what is wrong with it
function exhibitor.parse(body)
  if body:find "^%s*{" then return parse_json(body) end
  return parse_form(body)
end

--- options: hosts (of the settings), port, user, password
function exhibitor.new(options)
  return setmetatable({ hosts = options.hosts, port = options.port, user = options.user, password = options.password, learned = {} },
    exhibitor)
end

local function shuffled(list)
  local copy = table.move(list, 1, #list, 1, {})
  for i = #copy, 2, -1 do
    local j = math.random(i)
    copy[i], copy[j] = copy[j], copy[i]
  end
  return copy
end

--- Whom to ask, in this order: at most TRIES, of which at least one is of the settings.
function exhibitor:candidates()
  local asked, seen = {}, {}
  local function add(hosts, most)
    for _, host in ipairs(shuffled(hosts)) do
      if #asked < most and not seen[host] then
        seen[host] = true
        asked[#asked + 1] = host
      end
    end
  end
  add(self.learned, TRIES - 1)
  add(self.hosts, TRIES)
  return asked
end

local function failed(host, port, why)
  return failure.new("protocol", "Exhibitor at %s:%d: %s", host, port, why)
end

function exhibitor:ask_one(host)
  local headers = { Accept = "application/json" }
  if self.user then headers.Authorization = "Basic " .. require("appliance.s3.base64").encode(self.user .. ":" .. self.password) end
  local answer, err = require("appliance.http").request {
    url = "http://" .. types.hosts_text { { host = host, port = self.port } } .. PATH, headers = headers, ceiling = CEILING,
    connect_timeout = CONNECT, timeout = WHOLE, no_proxy = true,
  }
  if not answer then return nil, failed(host, self.port, err.text:gsub("^http://%S+: ", "")) end
  if answer.status == 401 or answer.status == 403 then
    return nil, failed(host, self.port, ("it refuses us (%d): set EXHIBITOR_USER and EXHIBITOR_PASSWORD_FILE"):format(answer.status))
  end
  if answer.status ~= 200 then return nil, failed(host, self.port, ("it answers with %d"):format(answer.status)) end
  local servers, why = exhibitor.parse(answer.body)
  if not servers then return nil, failed(host, self.port, why) end
  return servers
end

--- Waits, some seconds at most. -> servers | nil, err (the last one's)
function exhibitor:ask()
  local problem
  for _, host in ipairs(self:candidates()) do
    local servers, err = self:ask_one(host)
    if servers then
      self:knows(servers)
      return servers
    end
    problem = err
  end
  return nil, problem
end

--- These servers have an Exhibitor each: the next questions go to them.
function exhibitor:knows(servers)
  self.learned = {}
  for i, server in ipairs(servers) do self.learned[i] = (address.split(server)) end
end

return exhibitor
