--- The transfers of cp, mv and sync: many at a time, each told when it is done; what fails is told and the rest goes on.
local common = require "appliance.cli.s3.common"
local names = require "appliance.s3.names"
local parallel = require "appliance.s3.parallel"
local uri = require "appliance.s3.uri"

local work = {}
work.__index = work

local AT_ONCE <const>, PART <const>, CONNECTIONS <const> = 256, 8 << 20, 16

--- What the commands that transfer have in common.
work.OPTIONS = {
  recursive = { "flag", short = "r" }, dry_run = "flag", dryrun = "flag", quiet = "flag", json = "flag", jobs = "number",
  include = { "list", into = "rules" }, exclude = { "list", into = "rules" }, version_id = "text", no_progress = "flag",
  expected_size = "text", metadata_directive = "text", copy_source_sse_c = "text",
}

work.HELP = [[
  --dry-run         says what would be done
  --exclude PATTERN, --include PATTERN   with -r: * and ? in the part behind the source; the last one that fits decides
  --jobs N          requests at a time (256)
  --quiet           tells failures only              --no-progress   no line of progress on a terminal
  --json            one JSON object a line: action, from, to, size or error]]

--- options: of the command line; opts: those of the verbs; remove: the source goes once it is copied.
function work.start(client, options, opts, term, remove)
  options.dry_run = options.dry_run or options.dryrun
  local self = setmetatable({
    client = client, options = options, opts = opts, term = term, remove = remove, code = 0, taken = {}, made = {},
    crew = parallel.crew(math.max(1, options.jobs or AT_ONCE)), tell = common.teller(options, term),
    wanted = names.filter(options.rules),
    progress = not (options.no_progress or options.dry_run) and require("appliance.cli.s3.progress").start(term, options) or nil,
  }, work)
  return self
end

function work:__close()
  self.crew:__close()
  if self.progress then self.progress:__close() end
end

--- Something could not be done.
function work:fail(sentence, what, from, to)
  self.code = 1
  if self.options.json and what then
    self.tell(what, { from = from, to = to, error = sentence })
  else
    self.term:complain("%s", self.term.live and uri.shown(sentence) or sentence)
  end
end

--- Waits for all -> exit code
function work:finish()
  if self.progress then self.progress.growing = false end
  self.crew:wait()
  self.term:clear()
  return self.code
end

local function shown(place)
  return type(place) == "table" and uri.format(place.bucket, place.key, place.version) or place
end

function work:opts_for(job)
  local opts = {}
  for name, value in pairs(self.opts) do opts[name] = value end
  opts.progress, opts.known = job.progress, job.known
  if self.options.jobs then opts.jobs = math.min(CONNECTIONS, math.max(1, self.options.jobs)) end
  if job.what ~= "download" and not opts.content_type and not self.options.no_guess_mime_type and type(job.from) == "string" then
    opts.content_type = require("appliance.s3.media").type(job.from)
  end
  return opts
end

--- Thousands of files are in few directories.
function work:make_parent(path)
  local directory = path:match "^(.*)/[^/]*$"
  if not directory or directory == "" or self.made[directory] then return true end
  local ok, err = require("appliance.core.file").make_dirs(directory)
  self.made[directory] = ok
  return ok, err
end

local carry = {}

function carry.upload(self, job, opts) return self.client:upload(job.from == "-" and 0 or job.from, job.to, opts) end

function carry.download(self, job, opts)
  if job.to == "-" then return self.client:cat(job.from, 1, opts) end
  local ok, err = self:make_parent(job.to)
  if not ok then return nil, err end
  opts.keep_time = true
  return self.client:download(job.from, job.to, opts)
end

function carry.copy(self, job, opts) return self.client:copy(job.from, job.to, opts) end

local function remove_source(self, job)
  if job.what == "upload" then return require("appliance.core.file").remove(job.from) end
  return self.client:delete(job.from)
end

function work:carry_out(job)
  local from, to = shown(job.from), shown(job.to)
  local done, err = carry[job.what](self, job, self:opts_for(job))
  if not done then
    if job.to == "-" and common.is_unread(err) then return end
    return self:fail(("%s failed: %s to %s: %s"):format(self.remove and "move" or job.what, from, to, tostring(err)),
      self.remove and "move" or job.what, from, to)
  end
  if self.remove then
    local gone
    gone, err = remove_source(self, job)
    if not gone then return self:fail(("%s is copied, but still there: %s"):format(from, tostring(err)), "move", from, to) end
  end
  if self.progress then self.progress.ended = self.progress.ended + 1 end
  if job.to ~= "-" then self.tell(self.remove and "move" or job.what, { from = from, to = to, size = job.size or done.size }) end
end

--- job: { what = "upload" | "download" | "copy", from =, to = (paths, "-", or places), size =, known = { size, etag } of a copy's source }.
--- Returns as soon as it has begun.
function work:add(job)
  if self.options.dry_run then
    self.tell(self.remove and "move" or job.what, { from = shown(job.from), to = shown(job.to), size = job.size })
    return
  end
  if self.progress then job.progress = self.progress:expect(job.size) end
  local weight = 1
  if job.what ~= "copy" and (job.size or 0) > PART then weight = math.min(CONNECTIONS, (job.size + PART - 1) // PART) end
  self.crew:start(weight, self.carry_out, self, job)
end

--- Deletes of sync, beside the transfers.
function work:delete(place)
  local function gone()
    local ok, err
    if type(place) == "string" then
      ok, err = require("appliance.core.file").remove(place)
    else
      ok, err = self.client:delete(place)
    end
    if not ok then return self:fail(("delete failed: %s: %s"):format(shown(place), tostring(err)), "delete", shown(place)) end
    self.tell("delete", { from = shown(place) })
  end
  if self.options.dry_run then
    self.tell("delete", { from = shown(place) })
  else
    self.crew:start(1, gone)
  end
end

--- The file a key may become below a directory -> path | nil; then that was told.
function work:file_for(directory, place, rest)
  local path, why = names.path(rest)
  if self.folds == nil then self.folds = require("appliance.s3.files").folds(directory) end
  if path and self.folds then why = names.claim(self.taken, path, true) end     -- elsewhere no two keys are one file
  if why then
    self:fail(("%s: refused: %s"):format(shown(place), why), "download", shown(place))
    return nil
  end
  return (directory == "/" and "" or directory:gsub("(.)/+$", "%1")) .. "/" .. path
end

return work
