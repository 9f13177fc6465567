--- ROLE_MAPPING: which role of AWS a service, a user or the label of a job gets. Pure.
---   service:thriftserver=arn:aws:iam::123456789012:role/sql, user:alice=arn:..., label:etl=arn:...
--- or EMRFS's own JSON: { "RoleMappings": [ { "Role": "arn:...", "IdentifierType": "User", "Identifiers": [ "alice" ] } ] }, whose
--- types are User, and here Service and Label.
local roles = {}

local KINDS = { service = true, user = true, label = true }
local KINDS_TEXT <const> = "service, user or label"

--- What EMRFS has and a credentials endpoint can't have: it is asked for keys, and never told by whom or for which object.
local NEVER = {
  group = "groups are not known here: name the users",
  prefix = "one endpoint gives one role, whatever object it is for: give the bucket a provider of its own "
    .. "(fs.s3a.bucket.NAME.aws.credentials.provider)",
}

local ARN <const> = "^arn:aws[%w-]*:iam::%d%d%d%d%d%d%d%d%d%d%d%d:role/[%w+=,.@_/-]+$"

--- A mapping being made, with the faults found so far.
local making = {}
making.__index = making

function making:fault(text, ...) self.faults[#self.faults + 1] = text:format(...) end

function making:add(where, kind, name, arn)
  if NEVER[kind] then return self:fault("%s: %s", where, NEVER[kind]) end
  if not KINDS[kind] then
    return self:fault('%s: "%s" is neither %s%s', where, kind, KINDS_TEXT, require "appliance.near".hint(kind, pairs(KINDS)))
  end
  if name == "" then return self:fault("%s: no name stands behind %s:", where, kind) end
  if not arn:find(ARN) then
    return self:fault('%s: "%s" is not the ARN of a role, such as arn:aws:iam::123456789012:role/NAME', where, arn)
  end
  local known = self.map[kind][name]
  if known and known ~= arn then return self:fault("%s: %s:%s has two roles, %s and %s", where, kind, name, known, arn) end
  self.map[kind][name] = arn
end

function making:text(text)
  local number = 0
  for item in text:gmatch "[^,%s]+" do
    number = number + 1
    local where = "item " .. number
    local kind, name, arn = item:match "^(%w+):([^=]*)=(.*)$"
    if kind then
      self:add(where, kind:lower(), name, arn)
    else
      self:fault('%s: "%s" is not KIND:NAME=ROLE, such as label:etl=arn:aws:iam::123456789012:role/etl', where, item)
    end
  end
end

function making:json(text)
  local json = require "appliance.json"
  local value, problem = json.decode(text)
  if type(value) ~= "table" or type(value.RoleMappings) ~= "table" then
    return self:fault("the JSON has no list RoleMappings%s", problem and ": " .. problem or "")
  end
  for number, item in ipairs(value.RoleMappings) do
    local where = "RoleMappings item " .. number
    local its = type(item) == "table" and item or {}
    if type(its.Role) ~= "string" or type(its.IdentifierType) ~= "string" or type(its.Identifiers) ~= "table" then
      self:fault("%s: needs Role, IdentifierType and a list Identifiers", where)
    else
      for _, name in ipairs(its.Identifiers) do
        if type(name) == "string" then
          self:add(where, its.IdentifierType:lower(), name, its.Role)
        else
          self:fault("%s: Identifiers must be a list of names", where)
        end
      end
    end
  end
end

--- roles.parse(text) -> { service = { [name] = arn }, user =, label = } | nil, a list of sentences: all that is wrong. nil: no mapping.
function roles.parse(text)
  local self = setmetatable({ map = { service = {}, user = {}, label = {} }, faults = {} }, making)
  text = text or ""
  if text:find "^%s*[{%[]" then self:json(text) else self:text(text) end
  if #self.faults > 0 then return nil, self.faults end
  return self.map
end

--- Who a grant is for: { service =, user = } or { job = true, label =, user = } -> ARN | nil for the node's own | nil, sentence.
--- A label is somebody's wish for this very role: without one of that name there is none rather than another.
function roles.of(map, who)
  if who.label then
    local arn = map.label[who.label]
    if arn then return arn end
    local names = {}
    for name in pairs(map.label) do names[#names + 1] = name end
    table.sort(names)
    return nil, ('ROLE_MAPPING has no role for the label "%s"%s; %s'):format(who.label, require "appliance.near".hint(who.label, names),
      #names > 0 and "labels are " .. table.concat(names, ", ") or "it has no labels at all")
  end
  return who.service and map.service[who.service] or who.user and map.user[who.user] or nil
end

return roles
