--- What a SPARK_HOME is: version, Scala, class path. Pure: it is given what a fact source saw on the disk.
local failure = require "appliance.failure"

local layout = {}

--- The versions this project is tested with; others of these lines run too.
layout.OLDEST = "3.5"

--- spark-core_2.13-4.1.1.jar -> "2.13", "4.1.1". The jar itself is the only thing every kind of SPARK_HOME has.
local function core_jar(jars)
  for _, jar in ipairs(jars) do
    local scala, version = jar.name:match "^spark%-core_(%d+%.%d+)%-(%d+%.%d+%.%d+.*)%.jar$"
    if scala then return scala, version end
  end
end

--- Position of a version among others: "4.1.1" -> 4001.
local function rank(version)
  local major, minor = version:match "^(%d+)%.(%d+)"
  return tonumber(major) * 1000 + tonumber(minor)
end
layout.rank = rank

--- The order in which a class path names the jars. A `jars/*` is expanded by the JVM in the order the directory happens to have on that
--- disk; a class data archive is good for one order only, so ours is fixed. slf4j-api comes first,
--- as Spark's own launcher has it since 4.1.
local function in_order(home, jars)
  local paths, names = {}, {}
  for i, jar in ipairs(jars) do names[i] = jar.name end
  table.sort(names, function(a, b)
    local a_first, b_first = a:find "^slf4j%-api%-" ~= nil, b:find "^slf4j%-api%-" ~= nil
    if a_first ~= b_first then return a_first end
    return a < b
  end)
  for i, name in ipairs(names) do paths[i] = home .. "/jars/" .. name end
  return paths
end

local function major_of(release)
  local version = release:match 'JAVA_VERSION="(%d[%d.]*)'
  local major = version and tonumber(version:match "^(%d+)")
  return major == 1 and tonumber(version:match "^1%.(%d+)") or major
end

--- Does this Java run this Spark? 4.x needs 17; 3.5 runs on 8 and 11 too, but its class data archives and flags here are made for 17 on.
local function java_fault(java)
  if not java.major then
    return ("%s/release: does not say which Java this is; set JAVA_HOME to a JDK or JRE 17 or later"):format(java.home)
  elseif java.major < 17 then
    return ("JAVA_HOME: %s is Java %d, and Spark needs 17 or 21; set JAVA_HOME to one of these"):format(java.home, java.major)
  end
end

--- What identifies JDK and jars: an archive made of others must not be used.
local function identity(seen)
  local parts = { seen.java.release }
  for _, jar in ipairs(seen.jars) do parts[#parts + 1] = ("%s %d %d"):format(jar.name, jar.size or 0, (jar.mtime or 0) // 1) end
  return table.concat(parts, "\n")
end

--- What there is for S3: { hadoop = version, aws = version of hadoop-aws, sdk = 1 or 2 (of AWS, as modules or in one), committers =
--- spark-hadoop-cloud is there, twice = two jars that exclude each other }. Each nil where it is not.
function layout.s3_jars(jars)
  local found = {}
  local function only(what, name)                            -- of hadoop-aws one version, of the SDK either modules or all in one
    if found[what] and not found.twice then found.twice = { found[what], name } end
    found[what] = name
  end
  for _, jar in ipairs(jars) do
    local name = jar.name
    if name:find "^hadoop%-aws%-%d" then only("of_hadoop", name) end
    if name:find "^s3%-2%.%d" or name:find "^bundle%-2%.%d" then only("of_sdk", name) end
    if name:find "^aws%-java%-sdk%-s3%-1%.%d" or name:find "^aws%-java%-sdk%-bundle%-1%.%d" then only("of_sdk", name) end
    found.hadoop = found.hadoop or name:match "^hadoop%-client%-api%-(%d+%.%d+%.%d+[%w.-]-)%.jar$"
      or name:match "^hadoop%-common%-(%d+%.%d+%.%d+[%w.-]-)%.jar$"
    found.aws = found.aws or name:match "^hadoop%-aws%-(%d+%.%d+%.%d+[%w.-]-)%.jar$"
    if name:find "^s3%-2%.%d" or name:find "^bundle%-2%.%d" then found.sdk = 2 end
    if name:find "^aws%-java%-sdk%-s3%-1%.%d" or name:find "^aws%-java%-sdk%-bundle%-1%.%d" then found.sdk = 1 end
    if name:find "^spark%-hadoop%-cloud_%d" then found.committers = true end
  end
  found.of_hadoop, found.of_sdk = nil, nil
  return found
end

--- seen: { home =, jars = { { name =, size =, mtime = } }, java = { home =, release = text of its `release` file } }
--- -> { home, version, scala, class_path (no directory in it), java = { home, program, major }, has_json_layout, has_thriftserver,
---      s3 = which jars for S3 it has, identity = what an archive depends on } | nil, failure
function layout.describe(seen)
  local scala, version = core_jar(seen.jars)
  if not version then
    return nil, failure.new("missing", "SPARK_HOME: %s/jars holds no spark-core jar; set SPARK_HOME to the directory of a Spark release",
      seen.home)
  end
  if rank(version) < rank(layout.OLDEST) then
    return nil, failure.new("invalid", "SPARK_HOME: %s is Spark %s; use %s or later", seen.home, version, layout.OLDEST)
  end
  local java = { home = seen.java.home, program = seen.java.home .. "/bin/java", major = major_of(seen.java.release) }
  local fault = java_fault(java)
  if fault then return nil, failure.new("invalid", "%s", fault) end
  local has = {}
  for _, jar in ipairs(seen.jars) do
    local stem = jar.name:match "^(.-)[_-]%d"
    if stem then has[stem] = true end
  end
  return {
    home = seen.home, version = version, scala = scala, java = java,
    class_path = table.concat(in_order(seen.home, seen.jars), ":"),
    has_json_layout = has["log4j-layout-template-json"] or false,
    has_thriftserver = has["spark-hive-thriftserver"] or false,
    s3 = layout.s3_jars(seen.jars),
    identity = identity(seen),
  }
end

return layout
