--- Copies inside S3: the bytes never come here. Up to 5 GiB by one request; above by ranges in parallel, each held to the ETag that the
--- source had at the beginning, so that nobody gets an object of two halves.
local bodies = require "appliance.s3.bodies"
local failure = require "appliance.failure"
local pages = require "appliance.s3.pages"
local parallel = require "appliance.s3.parallel"
local uri = require "appliance.s3.uri"

local copy = {}

local ONE_REQUEST <const> = 5 << 30
local PART <const>, PARTS_MOST <const>, AT_ONCE <const> = 256 << 20, 10000, 16
local ABORT_WITHIN <const> = 30

local function write_headers(opts) return require("appliance.s3.headers").write(opts) end

local function source_of(place)
  local version = place.version and "?versionId=" .. uri.escape(place.version, true) or ""
  return "/" .. place.bucket .. "/" .. uri.escape(place.key) .. version
end

--- Headers that say what is copied, and that it must still be what it was.
local function source_headers(out, from, opts, etag)
  out["x-amz-copy-source"] = source_of(from)
  if etag then out["x-amz-copy-source-if-match"] = '"' .. etag .. '"' end
  if opts.source_sse_c then require("appliance.s3.headers").sse_c_source(out, opts.source_sse_c) end
  return out
end

--- Anything that describes an object is kept unless the call says something else.
local DESCRIBED <const> = { "content_type", "content_encoding", "content_disposition", "content_language", "cache_control", "expires",
  "metadata", "website_redirect" }

local function describes(opts)
  for _, name in ipairs(DESCRIBED) do if opts[name] ~= nil then return true end end
  return false
end

local function merged(opts, source)
  local out = {}
  for name, value in pairs(opts) do out[name] = value end
  if opts.metadata_directive == "REPLACE" then return out end
  for _, name in ipairs(DESCRIBED) do if out[name] == nil then out[name] = source[name] end end
  return out
end

--- The parts of a copy: { { number, first, last }, ... }. part: a length somebody wants.
function copy.parts(size, part)
  part = part or PART
  while (size + part - 1) // part > PARTS_MOST do part = part * 2 end
  local parts = {}
  for first = 0, size - 1, part do
    parts[#parts + 1] = { number = #parts + 1, first = first, last = math.min(first + part, size) - 1 }
  end
  return parts
end

--- Content type, metadata and the like are the source's, for S3 with the directive COPY and by our own hand in parts; who names one
--- of them replaces that one and keeps the rest, for which everything has to be said again.
local function copy_whole(self, from, to, opts, source)
  local replace = opts.metadata_directive == "REPLACE" or describes(opts)
  local headers = source_headers(write_headers(replace and merged(opts, source) or opts), from, opts, source.etag)
  headers["x-amz-metadata-directive"] = replace and "REPLACE" or nil
  headers["x-amz-tagging-directive"] = opts.tags and "REPLACE" or nil
  local answer, err = self:ask(to, opts, { method = "PUT", headers = headers, may_fail_in_200 = true, ceiling = 1 << 20 })
  if not answer then return nil, err end
  local fields
  fields, err = pages.fields(answer.body, "CopyObjectResult", { "ETag" }, uri.format(to.bucket, to.key))
  if not fields then return nil, err end
  return { etag = pages.etag(fields.ETag), version = answer.headers["x-amz-version-id"], size = source.size }
end

--- The upload's id, which every part is told.
local function begin(self, from, to, opts, source)
  local described = merged(opts, source)
  if not described.tags and (source.tag_count or 0) > 0 then
    local tags, err = self:tags(from, { request_payer = opts.request_payer })
    if not tags then return nil, err end
    described.tags = tags
  end
  described.if_match, described.if_none_match = nil, nil        -- conditions are for the end
  local answer, err = self:ask(to, opts, { method = "POST", query = { uploads = "" }, headers = write_headers(described),
    checksum = false })
  if not answer then return nil, err end
  local fields
  fields, err = pages.fields(answer.body, "InitiateMultipartUploadResult", { "UploadId" }, uri.format(to.bucket, to.key))
  if not fields then return nil, err end
  if (fields.UploadId or "") == "" then
    return nil, failure.new("protocol", "%s: the upload has no id", uri.format(to.bucket, to.key))
  end
  return fields.UploadId
end

local function copy_part(self, from, to, opts, source, upload, part)
  local headers = source_headers(opts.sse_c and write_headers { sse_c = opts.sse_c } or {}, from, opts, source.etag)
  headers["x-amz-copy-source-range"] = ("bytes=%d-%d"):format(part.first, part.last)
  local answer, err = self:ask(to, opts, { method = "PUT", query = { partNumber = tostring(part.number), uploadId = upload },
    headers = headers, may_fail_in_200 = true, timeout = opts.timeout or 0, ceiling = 1 << 20 })
  if not answer then return nil, err end
  local fields
  fields, err = pages.fields(answer.body, "CopyPartResult", { "ETag" }, uri.format(to.bucket, to.key))
  if not fields then return nil, err end
  return pages.etag(fields.ETag)
end

local given_up = {}

--- An upload that is not completed costs money for ever: it is given up by a task of its own, as who is cancelled can't wait.
local function give_up(self, to, opts, upload)
  local task = require "appliance.task"
  local running
  running = task.start("s3 abort", function()
    task.within(ABORT_WITHIN, function() self:ask(to, opts, { method = "DELETE", query = { uploadId = upload } }) end)
    given_up[running] = nil
  end)
  given_up[running] = true
end

--- Waits for these, so many seconds at most -> whether they have ended
function copy.settle(seconds)
  local task = require "appliance.core.task"
  local until_then = task.now() + seconds
  local waiting = {}
  for running in pairs(given_up) do waiting[#waiting + 1] = running end
  for _, running in ipairs(waiting) do running:join(math.max(0, until_then - task.now())) end
  return next(given_up) == nil
end

local function copy_parts(self, from, to, opts, source)
  local upload, err = begin(self, from, to, opts, source)
  if not upload then return nil, err end
  local open = true
  local _ <close> = setmetatable({}, { __close = function() if open then give_up(self, to, opts, upload) end end })
  local parts, done = copy.parts(source.size, opts.part), 0
  local crew <close> = parallel.crew(AT_ONCE)
  for _, part in ipairs(parts) do
    if err then break end
    crew:start(1, function()
      local problem
      part.etag, problem = copy_part(self, from, to, opts, source, upload, part)
      if not part.etag then
        err = err or problem
        return
      end
      done = done + part.last - part.first + 1
      if opts.progress then opts.progress(done, source.size) end
    end)
  end
  crew:wait()
  if err then return nil, err end
  local answer
  answer, err = self:ask(to, opts, { method = "POST", query = { uploadId = upload }, body = bodies.complete(parts), may_fail_in_200 = true,
    headers = write_headers { if_match = opts.if_match, if_none_match = opts.if_none_match }, checksum = false, timeout = 0,
    ceiling = 1 << 20 })
  if not answer then return nil, err end
  open = false
  local fields
  fields, err = pages.fields(answer.body, "CompleteMultipartUploadResult", { "ETag" }, uri.format(to.bucket, to.key))
  if not fields then return nil, err end
  return { etag = pages.etag(fields.ETag), version = answer.headers["x-amz-version-id"], size = source.size }
end

--- -> { etag, version, size } | nil, err
--- opts: those of put; source_sse_c; metadata_directive = "REPLACE" (nothing of the source's is kept); part (bytes) and one_request (how
--- much one request may copy; 5 GiB is S3's own limit); progress(done, total); known: an entry of a listing, when there is one: a plain
--- copy of an object whose size and ETag are known is one request, else it is looked at first.
function copy.copy(self, from_address, to_address, opts)
  opts = opts or {}
  local from, err = self:object(from_address)
  if not from then return nil, err end
  local to
  to, err = self:object(to_address)
  if not to then return nil, err end
  if to.version then
    return nil, failure.new("invalid", "%s: a copy makes a version, it can't be one", uri.format(to.bucket, to.key, to.version))
  end
  local source = opts.known
  local limit = opts.one_request or ONE_REQUEST
  if not (source and source.etag and source.size <= limit and opts.metadata_directive ~= "REPLACE" and not describes(opts)) then
    source, err = self:head(from, { sse_c = opts.source_sse_c, request_payer = opts.request_payer })
    if not source then return nil, err end
  end
  if source.size > limit then return copy_parts(self, from, to, opts, source) end
  local result
  result, err = copy_whole(self, from, to, opts, source)
  if result and opts.progress then opts.progress(source.size, source.size) end
  return result, err
end

return copy
