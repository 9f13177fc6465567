--- Which names hold secrets, and how a text looks with its secrets taken out.
--- Judged by name, as Spark does for its own UI (spark.redaction.regex), with S3A's keys added.
local secrets = {}

secrets.REDACTED = "(redacted)"

local WORDS = { "secret", "password", "passwd", "token", "access[._-]?key", "accesskey", "private[._-]?key", "credential" }
--- Names that speak about a secret and hold none: "fs.s3a.aws.credentials.provider" is a class, "...password.file" a path.
local ABOUT = {
  provider = true, providers = true, mapping = true, broker = true, enabled = true, class = true, file = true, path = true, regex = true,
  interval = true, timeout = true, lifetime = true, location = true, signature = true, algorithm = true,
}

--- secrets.is_secret("fs.s3a.secret.key") -> true. For keys of configuration files and names of environment variables.
function secrets.is_secret(name)
  local lower = name:lower()
  if ABOUT[lower:match "[._-](%a+)$" or ""] then return false end
  if lower:find "fs%.s3[an]?%..*key$" then return true end
  for _, word in ipairs(WORDS) do
    if lower:find(word) then return true end
  end
  return false
end

--- What makes a presigned URL one, in S3 and elsewhere.
local PRESIGNED = { ["x-amz-signature"] = true, ["x-amz-security-token"] = true, ["x-amz-credential"] = true, signature = true, sig = true,
                    token = true, access_token = true }

--- A value whose name is no secret may still carry one: user and password in a URL, a password or signature among its parameters.
function secrets.redact_value(value)
  value = value:gsub("(://[^/%s:@]*:)[^/%s@]+@", "%1" .. secrets.REDACTED .. "@")
  value = value:gsub("([?&;][%w._-]*[Pp][Aa][Ss][Ss][Ww][Oo][Rr][Dd]=)[^&;%s]+", "%1" .. secrets.REDACTED)
  return (value:gsub("([?&]([%w-]+)=)[^&#%s]+", function(start, name)
    return PRESIGNED[name:lower()] and start .. secrets.REDACTED or nil
  end))
end

function secrets.redact(name, value)
  if secrets.is_secret(name) then return secrets.REDACTED end
  return secrets.redact_value(value)
end

--- A command line without the secrets it should not have had: -Dkey=value, --conf key=value, --password value.
function secrets.redact_command(command)
  local shown = {}
  for i, argument in ipairs(command) do
    local name, value = argument:match "^%-?D?([%w._-]+)=(.*)$"
    local flag = i > 1 and command[i - 1]:match "^%-%-([%w._-]+)$"
    if name then
      shown[i] = argument:sub(1, #argument - #value) .. secrets.redact(name, value)
    elseif flag and argument:sub(1, 1) ~= "-" then
      shown[i] = secrets.redact(flag, argument)
    else
      shown[i] = secrets.redact_value(argument)
    end
  end
  return shown
end

function secrets.redact_env(env)
  local shown = {}
  for name, value in pairs(env) do shown[name] = secrets.redact(name, value) end
  return shown
end

return secrets
