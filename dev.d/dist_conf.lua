-- dist_conf.lua SPARK_HOME DIRECTORY - writes core-site.xml and spark-defaults.conf of ./dev dist's Spark: the very keys that a node gives
-- to S3A, without those that only a running node knows (region, endpoint, broker): there S3A finds the instance's role by itself.
local layout = require "appliance.spark.layout"
local properties = require "appliance.render.properties"
local s3a = require "appliance.spark.s3a"
local xml = require "appliance.render.xml"

local home, directory = arg[1], arg[2]

local jars = {}
local listing <close> = assert(io.popen(("ls '%s/jars'"):format(home)))
for name in listing:lines() do jars[#jars + 1] = { name = name } end
local found = layout.s3_jars(jars)

local function document(keys, comment)
  local items = {}
  for key, value in pairs(keys) do items[#items + 1] = { key = key, value = properties.text(value) } end
  table.sort(items, function(a, b) return a.key < b.key end)
  if items[1] then items[1].above = { comment } end
  return { items = items, below = {} }
end

local function write(name, text)
  local file <close> = assert(io.open(directory .. "/" .. name, "w"))
  assert(file:write(text))
end

if found.aws then
  write("core-site.xml", assert(xml.render(document(s3a.core_site(found, {}), "s3:// is S3A's, and its writes are committed by magic."))))
  write("spark-defaults.conf", properties.render(document(s3a.defaults(found), "# What leads to S3A's committers."), " "))
else
  io.stderr:write(("%s has no hadoop-aws, so the tarball comes without s3://\n"):format(home))
end
