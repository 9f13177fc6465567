--- Can this node write to a place in S3, and read back what it wrote? One small object is put there, read and deleted again.
--- What S3_CHECK does at the start, and `spark-appliance doctor s3://bucket/prefix`.
local failure = require "appliance.failure"
local task = require "appliance.task"

local bucket = {}

local PERMISSIONS <const> = { ["write to"] = "s3:PutObject", ["read back from"] = "s3:GetObject", ["delete from"] = "s3:DeleteObject" }

--- What S3's own word for it means here. What is not among these says enough itself.
local CURES <const> = {
  NoSuchBucket = "there is no such bucket: correct its name, or create it",
  InvalidAccessKeyId = "the access key is not known there: is it an old one, or another account's or server's?",
  SignatureDoesNotMatch = "the secret key is not that of the access key: set both anew",
  ExpiredToken = "the credentials have expired, and their source gives no newer ones: see `spark-appliance doctor`",
  InvalidToken = "the session token is not valid: keys and token must come from the same place",
  RequestTimeTooSkewed = "the clock of this machine is off by more than 15 minutes: set it, or start its time service (chrony)",
  PermanentRedirect = "the bucket is in another region: set AWS_REGION to it",
  AuthorizationHeaderMalformed = "the bucket is in another region: set AWS_REGION to it",
  IllegalLocationConstraintException = "the bucket is in another region: set AWS_REGION to it",
  ["KMS.DisabledException"] = "the KMS key of the bucket is disabled",
}

--- One sentence for a step that failed.
local function sentence(place, doing, err)
  local cure = CURES[err.name]
  local code = err.name and (" (%s%s)"):format(err.code and err.code ~= 0 and err.code .. " " or "", err.name) or ""
  if not cure and err.kind == "denied" and err.code == 403 then
    cure = ("this node may not %s it: allow %s on arn:aws:s3:::%s/%s*"):format(doing, PERMISSIONS[doing], place.bucket, place.prefix)
  end
  if cure then return failure.new(err.kind, "%s: %s%s", place.shown, cure, code) end
  local text = tostring(err)
  return failure.new(err.kind, "%s: this node can't %s it: %s", place.shown, doing, text)
end

--- A name that no other node takes at the same time.
local function unique_key(place)
  local host = require "appliance.core.host"
  return ("%s.spark-appliance-check-%s-%d-%d"):format(place.prefix, host.name():gsub("[^%w.-]", "_"), host.wall_ms(), math.random(1 << 30))
end

local function walk(place)
  local s3 = require "appliance.s3"
  local keys, err = require("appliance.credentials").get {}
  if not keys then return nil, failure.new(err.kind, "%s: there are no credentials: %s", place.shown, tostring(err)) end
  local at = { bucket = place.bucket, key = unique_key(place) }
  local text = "written by spark-appliance to see whether it can; to be deleted\n"
  local put, got, gone
  put, err = s3.put(at, text)
  if not put then return nil, sentence(place, "write to", err) end
  got, err = s3.get(at)
  gone = table.pack(s3.delete(at))
  if not got then return nil, sentence(place, "read back from", err) end
  if got.body ~= text then return nil, failure.new("protocol", "%s: what was read back is not what was written", place.shown) end
  if not gone[1] then
    return true, ("%s; s3://%s/%s stays there"):format(sentence(place, "delete from", gone[2]), at.bucket, at.key)
  end
  return true
end

--- bucket.check(text, seconds) -> true, warning or nil | nil, err (a sentence with its cure)
function bucket.check(text, seconds)
  local place, problem = require("appliance.fetch.address").bucket(text)
  if not place then return nil, failure.new("invalid", "%s %s", text, problem) end
  local ok, result = task.within(seconds or 30, walk, place)
  if ok == nil and type(result) ~= "table" then result = failure.new("system", "%s: %s", place.shown, tostring(result)) end
  if ok == nil and result.kind == "timeout" and not tostring(result):find(place.shown, 1, true) then
    result = failure.new("timeout", "%s: no answer within %g s: is there a way to it from here (a VPC endpoint, a proxy)?", place.shown,
      seconds or 30)
  end
  return ok, result
end

--- S3_CHECK, logged -> true | nil, err
function bucket.at_start(env)
  local log = require "appliance.core.log"
  local began = task.now()
  local ok, result = bucket.check(env.S3_CHECK, env.FACTS_TIMEOUT)
  if not ok then
    local err = failure.new(result.kind, "S3_CHECK: %s", tostring(result))
    if not env.S3_CHECK_REQUIRED then log.warn(tostring(err)) end
    return nil, err
  end
  if result then log.warn("S3_CHECK: " .. result) end
  log.info(("S3_CHECK: %s: an object was written and read back, %.0f ms"):format(env.S3_CHECK, (task.now() - began) * 1000))
  return true
end

return bucket
