--- `s3 rm`
local common = require "appliance.cli.s3.common"
local names = require "appliance.s3.names"
local uri = require "appliance.s3.uri"

local function delete_one(client, place, options, term, tell)
  if not options.dry_run then
    local gone, err = client:delete(place)
    if not gone then
      term:complain("%s", tostring(err))
      return 1
    end
  end
  tell(uri.format(place.bucket, place.key, place.version))
  return 0
end

local function delete_tree(client, place, options, term, tell)
  local prefix = names.prefix(place.key)
  local wanted = names.filter(options.rules)
  local code = 0
  local next_entry, _, _, closing = client:list({ bucket = place.bucket, key = prefix }, { versions = options.versions })
  local _ <close> = closing
  local function next_name()
    for entry, err in next_entry do
      if not entry then
        term:complain("%s", tostring(err))
        code = 1
        return nil
      end
      if wanted(entry.key:sub(#prefix + 1)) then return { key = entry.key, version = entry.version } end
    end
  end
  local function told(name, fault)
    local address = uri.format(place.bucket, name.key, name.version)
    if not fault then return tell(address) end
    term:complain("%s: not deleted: %s", uri.shown(address), fault.text)
    code = 1
  end
  if options.dry_run then
    for name in next_name do told(name) end
  else
    client:delete_many(place.bucket, next_name, { each = told })
  end
  return code
end

return {
  usage = "rm [-r] [--dry-run] [--versions] s3://BUCKET/KEY",
  options = common.options { recursive = { "flag", short = "r" }, dry_run = "flag", dryrun = "flag", versions = "flag", version_id = "text",
    quiet = "flag", json = "flag", include = { "list", into = "rules" }, exclude = { "list", into = "rules" } },
  words = { 1, 1 },
  help = [[
Deletes an object, or with -r all whose keys begin with KEY/ (a thousand by a request). That an object is not there is no failure.
  --recursive, -r   all below; s3://BUCKET/ for all of the bucket
  --dry-run         says what would go
  --version-id ID   this version for ever
  --versions        with -r: all versions and marks, for ever
  --exclude PATTERN, --include PATTERN   with -r: * and ? in what stands behind the prefix; the last one that fits decides
  --quiet           tells failures only]],
  run = function(options, words, term)
    local place, err = uri.parse(words[1])
    if not place then return common.misuse(term, "rm", "%s", tostring(err)) end
    if not options.recursive and place.key == "" then
      return common.misuse(term, "rm", "%s is a bucket: -r deletes all that is in it", words[1])
    end
    options.dry_run = options.dry_run or options.dryrun
    place.version = options.version_id or place.version
    local client, tell = common.client(options), common.teller(options, term)
    return common.run(term, function()
      local function told(name) return tell("delete", { from = name }) end
      if options.recursive then return delete_tree(client, place, options, term, told) end
      return delete_one(client, place, options, term, told)
    end)
  end,
}
