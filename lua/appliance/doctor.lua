--- Whether this node can talk to AWS and S3, and why not: a walk through all that has to be right, each step one line with its cure.
--- What `spark-appliance doctor` prints. Asks the world; says no secret (of an access key its last four letters).
---   doctor.examine({ environ =, bucket = "s3://..." or nil }, tell) -> true when nothing failed
---   tell { check = "clock", state = "ok" | "warn" | "fail" | "skip", text = sentence }
local task = require "appliance.task"

local doctor = {}

local PATIENCE <const> = 20                                    -- seconds for each look at the world
local SKEW_TOLD <const>, SKEW_REFUSED <const> = 60, 900        -- seconds; S3 refuses what is 15 minutes off

--- f's answer, in time -> value | nil, sentence, kind of failure
local function ask(f, ...)
  local limit = task.now() + PATIENCE
  local value, err = task.within(PATIENCE, f, ...)
  if value ~= nil then return value end
  if task.now() >= limit then return nil, ("no answer within %g s"):format(PATIENCE), "timeout" end
  return nil, err and tostring(err) or nil, type(err) == "table" and err.kind or nil
end

local function age(seconds)
  return require("appliance.cli.terminal").duration(math.max(0, seconds))
end

local function now() return require("appliance.core.host").wall_ms() / 1000 end

--- "AKIDEXAMPLE" -> "...MPLE"
local function shortened(key) return "..." .. (key or ""):sub(-4) end

-- ---------------------------------------------------------------- credentials

local STATES <const> = { unset = "skip", ready = "ok", broken = "fail" }

local function chain(self)
  local steps, chosen = require("appliance.credentials").steps()
  for _, step in ipairs(steps) do
    local taken = step.source == chosen and "; this one is used" or step.answer == "ready" and chosen and "; not asked" or ""
    -- A source behind the one that is used hurts nobody.
    local state = STATES[step.answer] or "warn"
    self.tell { check = "source: " .. step.source, state = state, text = step.text .. taken }
  end
  self.source = chosen
end

local function keys(self)
  local held, why = ask(require("appliance.credentials").get, {})
  if not held then
    return self.tell { check = "credentials", state = "fail", text = why or "none" }
  end
  self.has_keys = true
  local left = held.expires and held.expires - now()
  local text = ("key %s from %s, %s"):format(shortened(held.access_key_id), held.source or "?",
    not left and "without an end" or left > 0 and ("good for another %s"):format(age(left)) or ("expired %s ago"):format(age(-left)))
  local state = "ok"
  if held.extended or left and left <= 0 then
    state = "warn"
    text = text .. "; their source gives no newer ones, and the service decides whether they still do"
  elseif not left and held.session_token == nil then
    text = text .. " (keys of a user: a role's would renew themselves)"
  end
  self.tell { check = "credentials", state = state, text = text }
end

local function identity(self)
  if not self.has_keys then return end
  local answer, why, kind = ask(require("appliance.aws").request, {
    service = "sts", method = "POST", path = "/", headers = { ["Content-Type"] = "application/x-www-form-urlencoded; charset=utf-8" },
    body = "Action=GetCallerIdentity&Version=2011-06-15", subject = "sts GetCallerIdentity", timeout = PATIENCE,
  })
  if not answer then
    if kind == "denied" then return self.tell { check = "identity", state = "fail", text = why } end
    return self.tell { check = "identity", state = "warn",
      text = ("%s; nothing but this look needs STS, unless a role is assumed"):format(why or "no answer") }
  end
  self.date = answer.headers.date
  self.tell { check = "identity", state = "ok", text = answer.body:match "<Arn>([^<]*)</Arn>" or "known to STS" }
end

local function metadata(self)
  local imds = require "appliance.imds"
  local environ = self.environ
  if (environ.AWS_EC2_METADATA_DISABLED or ""):lower() == "true" then
    return self.tell { check = "instance", state = "skip", text = "its metadata is switched off by AWS_EC2_METADATA_DISABLED" }
  elseif not imds.is_ec2() and (environ.AWS_EC2_METADATA_SERVICE_ENDPOINT or "") == "" then
    return self.tell { check = "instance", state = "skip", text = "this is no EC2 instance" }
  end
  local seen, why = ask(imds.identity)
  if seen then
    self.tell { check = "instance", state = "ok", text = ("%s, %s in %s"):format(seen.instanceId or "?", seen.instanceType or "?",
      seen.availabilityZone or seen.region or "?") }
  else
    self.tell { check = "instance", state = self.source == "instance metadata" and "fail" or "warn", text = why or "no answer" }
  end
end

-- ---------------------------------------------------------------- the way to S3

local function region(self)
  local found, why = ask(require("appliance.credentials").region)
  self.region = found
  if found then
    self.tell { check = "region", state = "ok", text = found }
  else
    self.tell { check = "region", state = self.endpoint and "skip" or "warn", text = why or "none is known: set AWS_REGION" }
  end
end

local function endpoint(self)
  local environ = self.environ
  local settings, fault = require("appliance.native.aws").request.settings()
  if not settings then
    self.elsewhere = true                                      -- wherever that is: nobody is asked at Amazon's in its place
    return self.tell { check = "endpoint", state = "fail", text = tostring(fault) }
  end
  local ignored = (environ.AWS_IGNORE_CONFIGURED_ENDPOINT_URLS or ""):lower() == "true"
  for _, name in ipairs { "AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL" } do
    local url = environ[name]
    if url and url:find "%S" and not ignored then
      self.endpoint = url
      return self.tell { check = "endpoint", state = "ok",
        text = ("%s (%s)"):format(require("appliance.fetch.address").shown(url), name) }
    end
  end
  local from = settings.endpoints and settings.endpoints.s3
  self.elsewhere = from ~= nil
  self.tell { check = "endpoint", state = "ok", text = from and ("of %s"):format(from) or "Amazon's" }
end

local function clock(self)
  local date = self.date
  if not date and not self.elsewhere then
    local url = self.endpoint or ("https://s3.%s.amazonaws.com/"):format(self.region or "us-east-1")
    local answer, why = ask(require("appliance.http").request, { method = "HEAD", url = url, timeout = PATIENCE })
    if not answer then return self.tell { check = "clock", state = "fail", text = ("S3 does not answer: %s"):format(why) } end
    date = answer.headers.date
  end
  local theirs = date and require("appliance.s3.dates").http(date)
  if not theirs then return self.tell { check = "clock", state = "skip", text = "the service tells no time" } end
  local off = now() - theirs
  local by = ("%s %s the service's"):format(age(math.abs(off)), off > 0 and "before" or "behind")
  if math.abs(off) >= SKEW_REFUSED then
    self.tell { check = "clock", state = "fail",
      text = by .. ": S3 refuses what is 15 minutes off; set it, or start its time service (chrony)" }
  elseif math.abs(off) >= SKEW_TOLD then
    self.tell { check = "clock", state = "warn", text = by .. ": start its time service (chrony)" }
  else
    self.tell { check = "clock", state = "ok", text = math.abs(off) < 2 and "that of the service" or by }
  end
end

local function bucket(self)
  if not self.bucket then return end
  local began = task.now()
  local ok, result = require("appliance.bucket").check(self.bucket, PATIENCE)
  if not ok then
    self.tell { check = "bucket", state = "fail", text = tostring(result) }
  elseif result then
    self.tell { check = "bucket", state = "warn", text = result }
  else
    self.tell { check = "bucket", state = "ok", text = ("%s: an object was written, read back and deleted, %s"):format(self.bucket,
      age(task.now() - began)) }
  end
end

-- ---------------------------------------------------------------- this node

local function broker(self)
  local answer, err = require("appliance.client").request { path = "/credentials", timeout = 5 }
  if not answer then return self.tell { check = "broker", state = "skip", text = tostring(err) } end
  if answer.status ~= 200 then return self.tell { check = "broker", state = "skip", text = (answer.body:gsub("%s+$", "")) } end
  local status = require("appliance.json").decode(answer.body)
  local grants = status and status.grants or {}
  local services = 0                                           -- jobs and labels have a name with @
  for _, grant in ipairs(grants) do
    if grant.name:sub(1, 1) ~= "@" then services = services + 1 end
    if grant.failed then
      return self.tell { check = "broker", state = "fail", text = ("%s got no credentials: %s"):format(grant.name, tostring(grant.failed)) }
    end
  end
  self.tell { check = "broker", state = "ok", text = ("serves %d service%s on port %s"):format(services, services == 1 and "" or "s",
    tostring(status and status.port)) }
end

local function spark(self)
  local file = require "appliance.core.file"
  local environ = self.environ
  local given = environ.SPARK_HOME or environ.SPARK_DIR
  given = given ~= "" and given or nil
  local home, why = require("appliance.facts.spark").find_home({ SPARK_HOME = given }, environ, file)
  if not home and given then return self.tell { check = "spark", state = "warn", text = tostring(why) } end
  if not home then return self.tell { check = "spark", state = "skip", text = "there is no Spark here (SPARK_HOME)" } end
  local jars = {}
  for i, name in ipairs(file.list(home .. "/jars") or {}) do jars[i] = { name = name } end
  local found = require("appliance.spark.layout").s3_jars(jars)
  local function say(state, text, ...) self.tell { check = "spark", state = state, text = text:format(...) } end
  if not found.aws then
    say("warn", "%s/jars has no hadoop-aws, so Spark can't read s3://: put hadoop-aws-%s.jar and the SDK of AWS there", home,
      found.hadoop or "VERSION")
  elseif found.hadoop and found.aws ~= found.hadoop then
    say("fail", "hadoop-aws is %s and Hadoop is %s in %s/jars: they must be the same, so put hadoop-aws-%s.jar there", found.aws,
      found.hadoop, home, found.hadoop)
  elseif not found.sdk then
    say("fail", "%s/jars has hadoop-aws %s, and no SDK of AWS, which it needs", home, found.aws)
  elseif not found.committers then
    say("warn", "hadoop-aws %s with the SDK; without spark-hadoop-cloud writes to s3:// are slow, and not safe when a task is tried again",
      found.aws)
  else
    say("ok", "hadoop-aws %s, the SDK (version %d) and the committers are in %s/jars", found.aws, found.sdk, home)
  end
end

-- ---------------------------------------------------------------- all

local CHECKS <const> = { chain, keys, identity, metadata, endpoint, region, clock, bucket, broker, spark }

function doctor.examine(options, tell)
  local failed = false
  local self = { environ = options.environ, bucket = options.bucket, tell = function(result)
    failed = failed or result.state == "fail"
    tell(result)
  end }
  for _, check in ipairs(CHECKS) do check(self) end
  return not failed
end

return doctor
