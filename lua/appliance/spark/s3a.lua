--- `s3://` in Spark: what S3A, Hadoop's client of S3, is told by core-site.xml and spark-defaults.conf. Pure.
--- Hadoop's keys go to core-site.xml and not, as spark.hadoop.*, to spark-defaults.conf: those beat every core-site.xml that somebody
--- mounts, and a value of ours should beat nobody's. Which keys EMRFS had and what they are here is told in docs/spark-s3.md.
local s3a = {}

local FILE_SYSTEM <const> = "org.apache.hadoop.fs.s3a.S3AFileSystem"

--- Older names of s3a://, which people and their tables still use.
local SCHEMES = { "s3", "s3n" }

--- Position of a version among others: "3.3.4" -> 3003004.
local function rank(version)
  local major, minor, patch = version:match "^(%d+)%.(%d+)%.?(%d*)"
  return major and tonumber(major) * 1000000 + tonumber(minor) * 1000 + (tonumber(patch) or 0) or 0
end

local function from(origin, value) return { value = value, origin = origin } end

local function host_of(url) return (url:match "^%a[%w+.-]*://([^/?#]*)" or url):gsub("^.*@", ""):gsub(":%d+$", "") end

--- Amazon's own names have bucket names in front; another server's name mostly has no such names in the DNS, nor has an address.
local function is_amazon(url)
  local host = "." .. host_of(url):lower()
  return host:find("%.amazonaws%.com$") ~= nil or host:find("%.amazonaws%.com%.cn$") ~= nil or host:find("%.api%.aws$") ~= nil
end

--- S3A knows none of the variables that the SDKs know.
local function add_place(keys, seen)
  if seen.endpoint then
    local origin = seen.endpoint_from
    keys["fs.s3a.endpoint"] = from(origin, seen.endpoint)
    if seen.endpoint:find "^http://" then keys["fs.s3a.connection.ssl.enabled"] = from(origin, false) end
    if not is_amazon(seen.endpoint) then keys["fs.s3a.path.style.access"] = from(origin, true) end
  end
  if seen.region then
    -- Without one S3A guesses, and pays a redirection and a question for each bucket.
    keys["fs.s3a.endpoint.region"] = from(seen.region_from, seen.region)
  elseif seen.endpoint and not is_amazon(seen.endpoint) then
    -- What other clients sign with for a server that has no regions; S3A would sign for us-east-2, which such servers refuse.
    keys["fs.s3a.endpoint.region"] = from(seen.endpoint_from, "us-east-1")
  end
end

--- The keys of core-site.xml. jars: layout.s3 (which jars there are); seen: facts/s3a.lua. Empty where there is no hadoop-aws.
function s3a.core_site(jars, seen)
  local keys = {}
  if not jars.aws then return keys end
  for _, scheme in ipairs(SCHEMES) do
    keys[("fs.%s.impl"):format(scheme)] = FILE_SYSTEM
    -- Before 3.3.6 S3A's face for FileContext refuses every name but s3a (HADOOP-18684). Without one, streaming checkpoints take the other
    -- way by themselves.
    if rank(jars.aws) >= rank "3.3.6" then keys[("fs.AbstractFileSystem.%s.impl"):format(scheme)] = "org.apache.hadoop.fs.s3a.S3A" end
    -- By scheme; Hadoop itself has the one for s3a.
    if jars.committers then
      keys["mapreduce.outputcommitter.factory.scheme." .. scheme] = "org.apache.hadoop.fs.s3a.commit.S3ACommitterFactory"
    end
  end
  if jars.committers then keys["fs.s3a.committer.name"] = "magic" end
  -- /tmp, where uploads wait otherwise, can't be written in a read-only container. Each process reads its own variable here.
  keys["fs.s3a.buffer.dir"] = "${env.SPARK_LOCAL_DIRS:-${hadoop.tmp.dir}}/s3a"
  -- The SDK 2.29's asynchronous client never sees the end of an upload where netty is 4.2, as Spark 4.1 has it: it sends all of it again
  -- and again. S3A's own stream does not use that client.
  if jars.sdk == 2 then keys["fs.s3a.optimized.copy.from.local.enabled"] = false end
  if seen.broker then
    -- Keys that a job names for itself come first; then the node's role by way of the broker. Not among them, other than in S3A's own
    -- list: what the environment happens to hold, which nobody renews.
    keys["fs.s3a.aws.credentials.provider"] = from("the broker of credentials", {
      "org.apache.hadoop.fs.s3a.TemporaryAWSCredentialsProvider", "org.apache.hadoop.fs.s3a.SimpleAWSCredentialsProvider",
      "org.apache.hadoop.fs.s3a.auth.IAMInstanceCredentialsProvider" })
  end
  add_place(keys, seen)
  return keys
end

--- The keys of spark-defaults.conf. Without these two Spark asks no factory, and every write is a copy and a delete of each file: slow,
--- and not safe when a task is tried again. For other file systems the factory gives the committer they have anyway.
function s3a.defaults(jars)
  if not (jars.aws and jars.committers) then return {} end
  return {
    ["spark.sql.sources.commitProtocolClass"] = "org.apache.spark.internal.io.cloud.PathOutputCommitProtocol",
    ["spark.sql.parquet.output.committer.class"] = "org.apache.spark.internal.io.cloud.BindingParquetOutputCommitter",
  }
end

--- Settings of Spark that name a place where it reads or writes.
local PLACES = { "spark.eventLog.dir", "spark.history.fs.logDirectory", "spark.sql.warehouse.dir",
  "spark.storage.decommission.fallbackStorage.path", "spark.checkpoint.dir" }

--- What is missing for an s3:// that was asked for, as sentences. mounted(key) -> what the user's files say of a key of Spark's.
function s3a.notes(layout, mounted)
  local jars = layout.s3
  local problem
  if jars.twice then
    return { ("s3://: %s and %s are both in %s/jars, and which one a class comes from is chance: remove one of them"):format(jars.twice[1],
      jars.twice[2], layout.home) }
  elseif not jars.aws then
    problem = ("%s/jars has no hadoop-aws"):format(layout.home)
  elseif jars.hadoop and jars.aws ~= jars.hadoop then
    return { ("s3://: hadoop-aws is %s and Hadoop is %s in %s/jars: they must be the same, so put hadoop-aws-%s.jar there"):format(jars.aws,
      jars.hadoop, layout.home, jars.hadoop) }
  elseif not jars.sdk then
    problem = ("%s/jars has hadoop-aws, and no SDK of AWS, which it needs"):format(layout.home)
  else
    return {}
  end
  for _, key in ipairs(PLACES) do
    local place = mounted(key)
    if place and place:find "^s3[an]?://" then
      return { ("%s is %s, and %s: unless your class path does, put hadoop-aws-%s.jar and the SDK of AWS there, or use the Spark of our "
        .. "image (docs/spark-s3.md)"):format(key, place, problem, jars.hadoop or "VERSION") }
    end
  end
  return {}
end

return s3a
