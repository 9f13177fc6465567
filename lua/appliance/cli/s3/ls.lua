--- `s3 ls`, in the columns of the AWS CLI.
local common = require "appliance.cli.s3.common"
local dates = require "appliance.s3.dates"
local uri = require "appliance.s3.uri"

--- As the AWS CLI writes amounts for people; to the byte up to 1 KiB.
local function human(size)
  if size == 1 then return "1 Byte" end
  if size < 1024 then return ("%d Bytes"):format(size) end
  local amount = size
  for _, unit in ipairs { "KiB", "MiB", "GiB", "TiB", "PiB" } do
    amount = amount / 1024
    if amount < 1023.95 or unit == "PiB" then return ("%.1f %s"):format(amount, unit) end
  end
end

--- What stands behind the last slash that has something behind it.
local function last_part(name) return name:match "([^/]*/?)$" end

local function row(entry, name, size)
  if entry.prefix then return ("%30s %s"):format("PRE", name) end
  local kind = entry.deleted and "deleted" or size(entry.size)
  local version = entry.version and ("  %s%s"):format(entry.version, entry.latest and " latest" or "") or ""
  return ("%19s %10s %s%s"):format(entry.modified and dates.shown(entry.modified) or "", kind, name, version)
end

local function object_of(entry)
  return { key = entry.key, prefix = entry.prefix, size = not (entry.prefix or entry.deleted) and entry.size or nil,
    modified = entry.modified and dates.written(entry.modified), etag = entry.etag, storage_class = entry.storage_class,
    version = entry.version, latest = entry.latest, deleted = entry.deleted }
end

local function list_buckets(client, options, term)
  local buckets, err = client:buckets()
  if not buckets then
    term:complain("%s", tostring(err))
    return 1
  end
  local json = options.json and require "appliance.json"
  for _, bucket in ipairs(buckets) do
    local shown = json and json.encode { bucket = bucket.name, created = bucket.created and dates.written(bucket.created),
      region = bucket.region } or ("%s %s"):format(bucket.created and dates.shown(bucket.created) or (" "):rep(19), bucket.name)
    if not term:say("%s", shown) then break end
  end
  return 0
end

local function list(client, place, options, term)
  local size = options.human_readable and human or tostring
  local json = options.json and require "appliance.json"
  local plain = term.screen and uri.shown or function(name) return name end
  local objects, bytes, any = 0, 0, false
  local lines = {}
  local function print_lines()
    if #lines == 0 then return true end
    local text = table.concat(lines, "\n") .. "\n"
    lines = {}
    return term:write(text)
  end
  for entry, err in client:list(place, { delimiter = not options.recursive and "/" or nil, versions = options.versions }) do
    if not entry then
      print_lines()
      term:complain("%s", tostring(err))
      return 1
    end
    any = true
    if entry.key and not entry.deleted then objects, bytes = objects + 1, bytes + entry.size end
    local name = entry.key or entry.prefix
    lines[#lines + 1] = json and json.encode(object_of(entry)) or row(entry, plain(options.recursive and name or last_part(name)), size)
    if #lines == 1000 and not print_lines() then return 0 end
  end
  if not print_lines() then return 0 end
  if options.summarize and not json then term:say("\nTotal Objects: %d\n   Total Size: %s", objects, size(bytes)) end
  return (any or place.key == "") and 0 or 1
end

return {
  usage = "ls [-r] [--human-readable] [--summarize] [--versions] [--json] [s3://BUCKET[/PREFIX]]",
  options = common.options { recursive = { "flag", short = "r" }, human_readable = "flag", summarize = "flag", versions = "flag",
    json = "flag" },
  words = { 0, 1 },
  help = [[
Lists buckets, or what in a bucket begins with the prefix: up to the next slash (PRE: there is more below), or with -r all of it.
Exits with 1 when nothing begins with the prefix.
  --recursive, -r     all keys, whole
  --human-readable    sizes in KiB, MiB ...
  --summarize         how many, and how much, at the end
  --versions          each version with its id, and the marks of what was deleted
  --json              one JSON object a line, with ETag and storage class]],
  run = function(options, words, term)
    local client = common.client(options)
    if not words[1] then return common.run(term, function() return list_buckets(client, options, term) end) end
    local address = words[1]
    if not uri.is(address) then address = "s3://" .. address end          -- the AWS CLI takes a bare name here, too
    local place, err = uri.parse(address)
    if not place then return common.misuse(term, "ls", "%s", tostring(err)) end
    return common.run(term, function() return list(client, place, options, term) end)
  end,
}
