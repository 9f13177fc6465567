--- `s3 sync`
local common = require "appliance.cli.s3.common"
local names = require "appliance.s3.names"
local uri = require "appliance.s3.uri"
local work = require "appliance.cli.s3.work"

local function own_options()
  local own = { delete = "flag", size_only = "flag", exact_timestamps = "flag" }
  for name, how in pairs(work.OPTIONS) do own[name] = how end
  own.recursive, own.version_id = nil, nil
  return own
end

--- Only what is wanted, and in order: of what comes in another order nobody can say that it is missing.
local function wanted_in_order(running, next_entry, subject)
  local last, over = "", false
  return function()
    while not over do
      local entry = next_entry()
      if not entry then return nil end
      if entry.failure and not entry.alone then return entry end
      if entry.path < last then
        over = true
        return { path = entry.path, failure = subject .. ": its keys don't come in order, so they can't be compared" }
      end
      last = entry.path
      if running.wanted(entry.path) then return entry end
    end
  end
end

--- The objects below a prefix as entries. files: they are, or become, files, so that marks of directories are passed over.
local function objects(running, place, files)
  local prefix = names.prefix(place.key)
  local next_entry, _, _, closing = running.client:list { bucket = place.bucket, key = prefix }
  local function next_object()
    while true do
      local entry, err = next_entry()
      if entry == nil then return nil end
      if not entry then return { path = "", failure = tostring(err) } end
      local rest = entry.key:sub(#prefix + 1)
      if rest ~= "" and not (files and rest:sub(-1) == "/" and entry.size == 0) then
        return { path = rest, key = entry.key, size = entry.size, modified = entry.modified, etag = entry.etag }
      end
    end
  end
  return wanted_in_order(running, next_object, uri.format(place.bucket, prefix)), closing
end

local function files_of(running, directory, must_exist)
  local file = require "appliance.core.file"
  local stat, err = file.stat(directory)
  if not stat and (must_exist or err.kind ~= "missing") then return nil, tostring(err) end
  if not stat then return function() end end
  if stat.kind ~= "dir" then return nil, directory .. ": this is no directory" end
  return wanted_in_order(running, require("appliance.s3.files").walk(directory), directory)
end

local function walk_of(running, place, other, must_exist)
  if type(place) == "string" then return files_of(running, place, must_exist) end
  local next_object, closing = objects(running, place, type(other) == "string")
  return next_object, nil, closing
end

--- What happens to one path of the source.
local function copy(running, from, to, entry)
  local what = type(from) == "table" and (type(to) == "table" and "copy" or "download") or "upload"
  local source = entry.full or { bucket = from.bucket, key = entry.key }
  local target
  if type(to) == "table" then
    target = { bucket = to.bucket, key = names.prefix(to.key) .. entry.path }
  else
    target = running:file_for(to, source, entry.path)
  end
  if target then running:add { what = what, from = source, to = target, size = entry.size, known = entry } end
end

local function shown(place) return type(place) == "string" and place or uri.format(place.bucket, names.prefix(place.key)) end

local function sync(running, from, to, options)
  local source, problem, source_closing = walk_of(running, from, to, true)
  local _ <close> = source_closing
  if not source then
    running:fail(problem)
    return running:finish()
  end
  local target, trouble, target_closing = walk_of(running, to, from, false)
  local _ <close> = target_closing
  if not target then
    running:fail(trouble)
    return running:finish()
  end
  for step in require("appliance.s3.sync").steps(source, target, { delete = options.delete, size_only = options.size_only,
    empty = ("%s: there is nothing, and --delete would empty %s: is the name right? To empty it, use rm -r"):format(shown(from), shown(to)),
    -- What is written to S3 has the time of the writing, which never is that of its source.
    exact_timestamps = options.exact_timestamps and type(to) == "string" }) do
    if step.what == "failed" then
      running:fail(step.entry.failure)
    elseif step.what == "copy" then
      copy(running, from, to, step.source)
    else
      running:delete(step.target.full or { bucket = to.bucket, key = step.target.key })
    end
  end
  return running:finish()
end

return {
  usage = "sync [OPTIONS] SOURCE TARGET",
  options = common.options(own_options(), true),
  words = { 2, 2 },
  help = [[
Makes TARGET (a directory or s3://BUCKET/PREFIX) like SOURCE: what is not there, has another size or is newer in SOURCE is copied. Files
that come from S3 get the time of their object.
  --delete             what only TARGET has goes; nothing more from where on SOURCE can't be seen as a whole, and nothing when SOURCE
                       has nothing at all
  --size-only          the same size is the same
  --exact-timestamps   from S3: another time is another, be it older
]] .. work.HELP .. "\n" .. common.WRITTEN_HELP,
  run = function(options, words, term)
    local ends = {}
    for i, word in ipairs(words) do
      ends[i] = word
      if uri.is(word) then
        local place, err = uri.parse(word)
        if not place then return common.misuse(term, "sync", "%s", tostring(err)) end
        ends[i] = place
      end
    end
    local from, to = ends[1], ends[2]
    if type(from) == "string" and type(to) == "string" then
      return common.misuse(term, "sync", "one of the two must be in S3 (s3://BUCKET/PREFIX)")
    end
    local opts, problem = common.opts(options)
    if not opts then return common.misuse(term, "sync", "%s", problem) end
    local client = common.client(options)
    return common.run(term, function()
      local running <close> = work.start(client, options, opts, term, false)
      return sync(running, from, to, options)
    end)
  end,
}
