--- `s3 cp`, and `s3 mv`, which is the same and deletes the source.
local common = require "appliance.cli.s3.common"
local names = require "appliance.s3.names"
local uri = require "appliance.s3.uri"
local work = require "appliance.cli.s3.work"

local cp = {}

--- What a word means: "-", a path, or a place in S3 -> end | nil, sentence
local function read_end(word)
  if word == "-" or not uri.is(word) then return word end
  local place, err = uri.parse(word)
  return place, err and tostring(err)
end

local function is_directory(path)
  local stat = require("appliance.core.file").stat(path)
  return path:sub(-1) == "/" or stat and stat.kind == "dir"
end

--- What one object or file becomes -> target | nil, sentence
local function target_of(from, to)
  local name = from ~= "-" and names.base(type(from) == "table" and from.key or from)
  if type(to) == "table" then
    if to.key ~= "" and to.key:sub(-1) ~= "/" then return to end
    if not name then return nil, ("%s: a key is needed here, for %s has no name of its own"):format(uri.format(to.bucket, to.key),
      from == "-" and "stdin" or "the source") end
    return { bucket = to.bucket, key = to.key .. name }
  end
  if to == "-" or not is_directory(to) then return to end
  if not name then return nil, ("%s is a directory, and the key %s has no name for a file: say which file"):format(to, from.key) end
  local path, why = names.path(name)
  if not path then return nil, ("%s: %s"):format(uri.format(from.bucket, from.key), why) end
  return to:gsub("(.)/+$", "%1"):gsub("^/$", "") .. "/" .. path
end

local function kind_of(from, to)
  if type(from) == "table" then return type(to) == "table" and "copy" or "download" end
  return type(to) == "table" and "upload" or nil
end

local function one(running, what, from, to)
  local target, problem = target_of(from, to)
  if not target then return common.misuse(running.term, "cp", "%s", problem) end
  local job = { what = what, from = from, to = target }
  if what == "upload" and from ~= "-" then
    local stat, err = require("appliance.core.file").stat(from)
    if not stat then
      running:fail(tostring(err))
      return running:finish()
    end
    if stat.kind == "dir" then return common.misuse(running.term, "cp", "%s is a directory: -r copies all that is in it", from) end
    job.size = stat.size
  elseif what == "copy" and from.bucket == target.bucket and from.key == target.key and running.remove then
    return common.misuse(running.term, "mv", "%s would be moved onto itself, and deleted", uri.format(from.bucket, from.key))
  end
  running:add(job)
  return running:finish()
end

local function all_files(running, directory, to)
  local prefix = names.prefix(to.key)
  for entry in require("appliance.s3.files").walk(directory) do
    local wanted = running.wanted(entry.path)
    if entry.failure and (wanted or not entry.alone) then
      running:fail(entry.failure)
    elseif wanted then
      running:add { what = "upload", from = entry.full, to = { bucket = to.bucket, key = prefix .. entry.path }, size = entry.size }
    end
  end
  return running:finish()
end

local function one_of_many(running, what, from, to, entry, rest)
  local place = { bucket = from.bucket, key = entry.key }
  if what == "copy" then
    local key = names.prefix(to.key) .. rest
    if key ~= "" then
      running:add { what = what, from = place, to = { bucket = to.bucket, key = key }, size = entry.size, known = entry }
    end
    return
  end
  if (rest == "" or rest:sub(-1) == "/") and entry.size == 0 then return end        -- the mark of a directory
  local path
  if rest:sub(-1) == "/" then
    running:fail(("%s: refused: it ends with a slash, and no file's name can"):format(uri.format(place.bucket, place.key)))
  else
    path = running:file_for(to, place, rest)
  end
  if path then running:add { what = what, from = place, to = path, size = entry.size } end
end

local function all_objects(running, what, from, to)
  local prefix = names.prefix(from.key)
  for entry, err in running.client:list { bucket = from.bucket, key = prefix } do
    if not entry then
      running:fail(tostring(err))
      break
    end
    local rest = entry.key:sub(#prefix + 1)
    if running.wanted(rest) then one_of_many(running, what, from, to, entry, rest) end
  end
  return running:finish()
end

--- mv of a tree into itself would copy what it has just copied; a cp, too, when it is listed while it grows.
local function is_inside(from, to)
  return from.bucket == to.bucket and names.prefix(to.key):sub(1, #names.prefix(from.key)) == names.prefix(from.key)
end

local function check(what, from, to, options, remove)
  if not what then return "one of the two must be in S3 (s3://BUCKET/KEY)" end
  if options.recursive and (from == "-" or to == "-") then return "- is one object, and -r are many" end
  if remove and (from == "-" or to == "-") then return "what is moved must have a name, which - has not: cp copies it" end
  if type(from) == "table" and from.key == "" and not options.recursive then
    return "the source is a bucket: -r copies all that is in it"
  end
  if options.version_id and options.recursive then return "--version-id is of one object, and -r are many" end
  if options.recursive and what == "copy" and is_inside(from, to) then
    return "the target is inside the source, which would be copied for ever"
  end
end

--- For mv, too.
function cp.run_as(command, remove, options, words, term)
  local from, problem = read_end(words[1])
  if not from then return common.misuse(term, command, "%s", problem) end
  local to
  to, problem = read_end(words[2])
  if not to then return common.misuse(term, command, "%s", problem) end
  local what = kind_of(from, to)
  problem = check(what, from, to, options, remove)
  if problem then return common.misuse(term, command, "%s", problem) end
  local opts
  opts, problem = common.opts(options)
  if not opts then return common.misuse(term, command, "%s", problem) end
  if type(from) == "table" and options.version_id then from.version = options.version_id end
  opts.version = nil
  local client = common.client(options)
  return common.run(term, function()
    local running <close> = work.start(client, options, opts, term, remove)
    if not options.recursive then return one(running, what, from, to) end
    if what == "upload" then return all_files(running, from, to) end
    return all_objects(running, what, from, to)
  end)
end

cp.usage = "cp [-r] [OPTIONS] SOURCE TARGET"
cp.options = common.options(work.OPTIONS, true)
cp.words = { 2, 2 }
cp.help = [[
Copies a file to S3, an object to a file, or an object inside S3 (the bytes then stay there). One of the two is s3://BUCKET/KEY; a
target that ends with / or is a directory or a bucket keeps the name. - is stdin or stdout. A file appears when it is whole, in place
of the old one.
  --recursive, -r   a directory, or all whose keys begin with SOURCE/. Keys that no file below TARGET can have (../x, /x, a//b) are
                    refused, each with a sentence
]] .. work.HELP .. [[

  --version-id ID   a former version of the source
  --expected-size SIZE       of what stdin will bring: allows more than the 208 GiB that a pipe may otherwise bring, up to 390 GiB
  --metadata-directive REPLACE   a copy keeps nothing of its source's metadata
  --copy-source-sse-c FILE   the key of the source of a copy
]] .. common.WRITTEN_HELP

function cp.run(options, words, term) return cp.run_as("cp", false, options, words, term) end

return cp
