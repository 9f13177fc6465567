--- Parameters of a Query service as the body of its request. Pure.
local query = {}

--- Of a form: a blank is "+", as all of AWS's clients have it.
local function escape(text)
  return (text:gsub("[^%w%-_.~]", function(char) return char == " " and "+" or ("%%%02X"):format(char:byte()) end))
end

local function is_list(value)
  return value[1] ~= nil or next(value) == nil
end

local function scalar(name, value)
  local kind = math.type(value)
  if kind == "float" and value == math.floor(value) and math.abs(value) < 2 ^ 53 then return ("%d"):format(value) end
  if kind or type(value) == "string" or type(value) == "boolean" then return tostring(value) end
  error(("%s: a %s can't be a parameter"):format(name, type(value)), 0)
end

--- dialect: "ec2" has NAME.N where the others have NAME.member.N.
local function flatten(out, name, value, dialect)
  if type(value) ~= "table" then
    out[#out + 1] = { name, scalar(name, value) }
  elseif is_list(value) then
    if #value == 0 then out[#out + 1] = { name, "" } end
    for i, entry in ipairs(value) do
      flatten(out, ("%s%s.%d"):format(name, dialect == "ec2" and "" or ".member", i), entry, dialect)
    end
  else
    local fields = {}
    for field in pairs(value) do
      if type(field) ~= "string" then error(("%s: it has both names and numbers"):format(name), 0) end
      fields[#fields + 1] = field
    end
    table.sort(fields)
    for _, field in ipairs(fields) do flatten(out, name == "" and field or name .. "." .. field, value[field], dialect) end
  end
end

--- { { name, value }, ... }, sorted by the names of each table
function query.pairs(params, dialect)
  local out = {}
  if params and next(params) ~= nil then flatten(out, "", params, dialect) end
  return out
end

--- "Action=...&Version=...&..."
function query.form(action, version, params, dialect)
  local parts = { "Action=" .. escape(action), "Version=" .. escape(version) }
  for _, pair in ipairs(query.pairs(params, dialect)) do parts[#parts + 1] = escape(pair[1]) .. "=" .. escape(pair[2]) end
  return table.concat(parts, "&")
end

return query
