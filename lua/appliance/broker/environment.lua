--- What a service's environment says of AWS when the broker serves it. Pure.
local environment = {}

--- What of our own environment stays with us: keys, and whatever an SDK asks before a container's endpoint, so that all of them ask the
--- broker. Region, endpoints and the like stay: they are no credentials.
local OURS = {
  "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_SECURITY_TOKEN", "AWS_CREDENTIAL_EXPIRATION",
  "AWS_ACCESS_KEY", "AWS_SECRET_KEY",
  "AWS_WEB_IDENTITY_TOKEN_FILE", "AWS_ROLE_ARN", "AWS_ROLE_SESSION_NAME",
  "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI", "AWS_CONTAINER_CREDENTIALS_FULL_URI",
  "AWS_CONTAINER_AUTHORIZATION_TOKEN", "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE",
}
local PROFILE = { "AWS_PROFILE", "AWS_DEFAULT_PROFILE" }
local ENDPOINTS = { "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI", "AWS_CONTAINER_CREDENTIALS_FULL_URI" }

--- Profiles are asked before a container's endpoint, too. Where our own credentials come from them, theirs may as well; where they don't,
--- or a role was meant, a [default] in ~/.aws/credentials would be another identity than the one that was asked for.
local function hides_profiles(own, grant)
  return grant.role ~= nil or (own.AWS_ACCESS_KEY_ID or ""):find "%S" ~= nil
end

--- environment.changes(given, own, grant) -> { NAME = text, or false for what is taken away }
--- given: what the service would get; own: this program's environment; grant: { uri =, token_file = or token =, role = or nil }.
--- What was given to the service alone (its value is not ours) is its author's will and stays; an endpoint of its own keeps us out.
function environment.changes(given, own, grant)
  local function is_its_own(name) return given[name] ~= nil and given[name] ~= own[name] end
  for _, name in ipairs(ENDPOINTS) do
    if is_its_own(name) then return {} end
  end
  local changes = {}
  local function take(names)
    for _, name in ipairs(names) do
      if given[name] ~= nil and not is_its_own(name) then changes[name] = false end
    end
  end
  take(OURS)
  if hides_profiles(own, grant) then
    take(PROFILE)
    if not is_its_own "AWS_SHARED_CREDENTIALS_FILE" then changes.AWS_SHARED_CREDENTIALS_FILE = "/dev/null" end
  end
  changes.AWS_CONTAINER_CREDENTIALS_FULL_URI = grant.uri
  changes.AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE = grant.token_file or changes.AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE
  changes.AWS_CONTAINER_AUTHORIZATION_TOKEN = grant.token or changes.AWS_CONTAINER_AUTHORIZATION_TOKEN
  return changes
end

--- The environment in which executors on any node find a role at their own broker, by the grant's name and its token: where all nodes have
--- the same port and directory. Without a secret in it, so it may stand in a plan and on a command line.
function environment.by_name(port, state_dir, id)
  return {
    AWS_CONTAINER_CREDENTIALS_FULL_URI = ("http://127.0.0.1:%d/credentials/%s"):format(port, id),
    AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE = ("%s/credentials/%s"):format(state_dir, id),
    AWS_SHARED_CREDENTIALS_FILE = "/dev/null",
  }
end

--- Spark 3.5's SDK (version 1 of Java's) can't send a token, without which nobody is served by name.
function environment.can_go_by_name(spark_version) return (tonumber(spark_version:match "^%d+") or 0) >= 4 end

--- Such an environment as words for spark-submit, but for the keys of `given`.
function environment.executor_words(executors, given)
  local names, words = {}, {}
  for name in pairs(executors) do names[#names + 1] = name end
  table.sort(names)
  for _, name in ipairs(names) do
    local key = "spark.executorEnv." .. name
    if given[key] == nil then table.move({ "--conf", key .. "=" .. executors[name] }, 1, 2, #words + 1, words) end
  end
  return words
end

--- For a service of Spark's that has executors: its role's environment for them, by settings alone -> table | nil
function environment.of_executors(service, env, spark_version)
  if not env.ROLE_MAPPING or (env.BROKER_PORT or 0) == 0 or env.CREDENTIALS_BROKER == "false" then return nil end
  local map = require("appliance.broker.roles").parse(env.ROLE_MAPPING)
  if not map or not map.service[service] or not environment.can_go_by_name(spark_version) then return nil end
  return environment.by_name(env.BROKER_PORT, env.STATE_DIR, "@service-" .. service)
end

--- Changes carried out: a new table, `given` stays as it is.
function environment.applied(given, changes)
  local made = {}
  for name, value in pairs(given) do made[name] = value end
  for name, value in pairs(changes) do made[name] = value or nil end
  return made
end

return environment
