--- Is there anything on this node from which credentials of AWS could come? Told from the environment and a few small files, without the
--- AWS module: a node that has nothing to do with AWS does not load libcurl to learn that.
local signs = {}

local function is_set(environ, ...)
  for _, name in ipairs { ... } do
    if not (environ[name] or ""):find "%S" then return false end
  end
  return true
end

--- signs.found(environ, file) -> "environment", "web identity", "container", "imds"; "profile": there are profile files, which may hold
--- credentials or not; nil: nothing. `file` is appliance.core.file. is_ec2: what to ask whether this is an instance, when not this machine.
function signs.found(environ, file, is_ec2)
  is_ec2 = is_ec2 or require("appliance.core.host").is_ec2
  if is_set(environ, "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY") then return "environment" end
  if is_set(environ, "AWS_WEB_IDENTITY_TOKEN_FILE", "AWS_ROLE_ARN") then return "web identity" end
  if is_set(environ, "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI") or is_set(environ, "AWS_CONTAINER_CREDENTIALS_FULL_URI") then
    return "container"
  end
  local is_off = (environ.AWS_EC2_METADATA_DISABLED or ""):lower() == "true"
  if not is_off and (is_set(environ, "AWS_EC2_METADATA_SERVICE_ENDPOINT") or is_ec2()) then return "imds" end
  for _, name in ipairs { "AWS_PROFILE", "AWS_DEFAULT_PROFILE", "AWS_SHARED_CREDENTIALS_FILE", "AWS_CONFIG_FILE" } do
    if is_set(environ, name) then return "profile" end
  end
  local home = environ.HOME
  if home and (file.stat(home .. "/.aws/credentials") or file.stat(home .. "/.aws/config")) then return "profile" end
  return nil
end

--- Is a broker wanted? For CREDENTIALS_BROKER=auto: where this node has a source of credentials.
function signs.call_for_broker(env, environ, file)
  local choice = env.CREDENTIALS_BROKER or "auto"
  if choice ~= "auto" then return choice == "true" end
  local sign = signs.found(environ, file)
  if sign ~= "profile" then return sign ~= nil end
  return (require("appliance.credentials").configured()) ~= nil   -- only they can tell what is in those files
end

return signs
