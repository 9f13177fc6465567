--- The protocol of a container's credentials endpoint, as ECS agents speak it and SDKs expect it. Pure: whom to answer, and what.
local json = require "appliance.json"

local protocol = {}

--- A refusal: status and body. SDKs show `code` and `message` to people.
function protocol.refusal(status, code, message)
  return status, json.encode { code = code, message = message, HTTPErrorCode = status }, "application/json"
end

--- In a time that tells nothing of where two texts differ.
local function is_same(one, other)
  local difference = #one ~ #other
  for i = 1, #one do difference = difference | one:byte(i) ~ (other:byte(i) or 0) end
  return difference == 0
end

--- A browser that was lured here by a name of its own (DNS rebinding) says that name.
local function is_own_host(host, port)
  for _, name in ipairs { "127.0.0.1", "localhost", "[::1]" } do
    if host:lower() == ("%s:%d"):format(name, port) then return true end
  end
  return false
end

--- All grants are compared, and each to its end. -> grant, whether it was found by its name, which is no secret | nil
local function grant_of(path, grants)
  local secret = path:match "^/credentials/([^/]+)$" or ""
  if secret:find "^@" and grants[secret] then return grants[secret], true end
  local found
  for _, grant in pairs(grants) do
    if is_same(secret, grant.path) then found = grant end
  end
  return found, false
end

--- SDKs that know the endpoint's variable and not that of the token file: all of Java's version 1.
function protocol.knows_no_token_file(agent) return agent ~= nil and agent:find "^aws%-sdk%-java/1%." ~= nil end

--- protocol.admit(request, port, grants, policy) -> grant | nil, status, code, sentence
--- request: { method =, path =, header = function(self, name) -> value | nil, count };
--- grants: { [name] = { path =, token =, ... } };
--- policy: "required", "optional" (the path alone is enough), "auto" (only for SDKs that can't send a token).
function protocol.admit(request, port, grants, policy)
  local host, hosts = request:header "host"
  if hosts ~= 1 or not is_own_host(host, port) then
    return nil, 403, "HostNotAllowed", ("the Host header must be 127.0.0.1:%d"):format(port)
  end
  if request.method ~= "GET" then return nil, 405, "MethodNotAllowed", "the method must be GET" end
  local grant, is_by_name = grant_of(request.path, grants)
  if not grant then return nil, 404, "InvalidPath", "there are no credentials at this path: it is in AWS_CONTAINER_CREDENTIALS_FULL_URI" end
  local token, tokens = request:header "authorization"
  if tokens == 1 and is_same(token, grant.token) then return grant end
  if tokens > 0 then
    return nil, 403, "InvalidToken", "the Authorization header is not the token of AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE"
  end
  local agent = request:header "user-agent"
  local may_lack = policy == "optional" or policy == "auto" and protocol.knows_no_token_file(agent)
  if may_lack and not is_by_name then return grant end
  return nil, 401, "MissingToken", "there is no Authorization header: send what the file AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE holds; "
    .. "clients that don't know this variable are let in by BROKER_TOKEN=optional"
end

--- Keys without an end: SDKs want one, and ask again then.
local STATIC_FOR <const> = 3600
--- Those past their end, while their source gives no newer ones: botocore refuses a past one, and S3 may still take the keys.
local EXTENDED_BY <const>, JITTER <const> = 600, 300

--- protocol.document(keys, options) -> the answer as JSON, whether its end was put off
--- keys: as appliance.credentials gives them; options: { now = unix seconds, chance = 0 to 1, role = ARN or nil, agent = User-Agent }.
function protocol.document(keys, options)
  local expires, is_extended = keys.expires, keys.extended == true
  if not expires then
    expires = options.now + STATIC_FOR
  elseif expires <= options.now then
    expires, is_extended = options.now + EXTENDED_BY + JITTER * options.chance, true
  end
  local token = keys.session_token
  -- Keys without a session: botocore must find the field, Java's version 1 takes a null for the text "null".
  if not token and not protocol.knows_no_token_file(options.agent) then token = json.null end
  return json.encode {
    AccessKeyId = keys.access_key_id, SecretAccessKey = keys.secret_access_key, Token = token,
    Expiration = os.date("!%Y-%m-%dT%H:%M:%SZ", math.floor(expires)), AccountId = keys.account_id, RoleArn = options.role,
  }, is_extended
end

--- What SDKs should try again is a 5xx; what no trying again can cure is not.
local LASTING = { denied = true, invalid = true, missing = true }

--- protocol.failure(err) -> status, code, sentence
function protocol.failure(err)
  local kind = type(err) == "table" and err.kind or type(err) == "userdata" and err.kind
  if LASTING[kind] then return 400, "CredentialsNotAvailable", tostring(err) end
  return 503, "CredentialsNotAvailableNow", tostring(err)
end

return protocol
