--- S3: objects as verbs. Retries, regions, signatures and checksums are those of appliance.aws; parts of large objects of the transfers
--- below it (docs/s3.md). Loading this loads no library: the first request does.
---
---   local s3 = require "appliance.s3"
---   local object, err = s3.get "s3://bucket/a//key"                       -- the default client: what environment and profile say
---   local here = s3.client { endpoint = "http://127.0.0.1:9000", path_style = true }
---   for entry, err in here:list("s3://bucket/prefix/", { delimiter = "/" }) do ... end
---
--- Every method takes an address as text or as a table { bucket =, key =, version = }, and returns nil, err when the world failed: err.kind
--- ("missing", "denied", "conflict" ...), err.code (HTTP status), err.name ("NoSuchKey"), err.request_id, err.text.
local s3 = {}

local client = {}

--- Where a method lives that not every user needs.
local ELSEWHERE <const> = {
  list = "listing", all = "listing", delete_many = "batch", copy = "copy", tags = "tags", set_tags = "tags", delete_tags = "tags",
  buckets = "listing",
}

function client.__index(_, name)
  local method = client[name]
  if not method and ELSEWHERE[name] then
    method = require("appliance.s3." .. ELSEWHERE[name])[name]
    client[name] = method
  end
  return method
end

--- Fields: endpoint (URL), region, path_style, role (ARN to assume), anonymous, request_payer, ca_file; what they leave open the settings
--- of the process say (AWS_REGION, AWS_ENDPOINT_URL_S3, ~/.aws ...).
function s3.client(options)
  local known = { endpoint = "string", region = "string", path_style = "boolean", role = "string", anonymous = "boolean",
    request_payer = "boolean", ca_file = "string" }
  for name, value in pairs(options or {}) do
    if not known[name] then
      local names = {}
      for field in pairs(known) do names[#names + 1] = field end
      table.sort(names)
      error(("client: there is no field %s%s"):format(tostring(name), require("appliance.near").hint(tostring(name), names)), 2)
    elseif type(value) ~= known[name] then
      error(("client: %s: %s expected, got %s"):format(name, known[name], type(value)), 2)
    end
  end
  return setmetatable({ options = options or {} }, client)
end

--- The parts of an address -> { bucket, key, version } | nil, err
function s3.parse(text) return require("appliance.s3.uri").parse(text) end

-- ---------------------------------------------------------------- what the methods are made of

--- The place of an object, which must have a key -> place | nil, err
function client.object(_, address)
  local uri = require "appliance.s3.uri"
  local place, err = uri.of(address)
  if place and place.key == "" then
    return nil, require("appliance.failure").new("invalid", "%s: this is a bucket, and the address of an object is needed: s3://%s/KEY",
      uri.format(place.bucket), place.bucket)
  end
  return place, err
end

--- What a request, or a transfer, is told: this client's options and those of the call; `more` goes before both.
function client:spec(place, opts, more)
  local spec = { service = "s3", bucket = place.bucket, key = place.key }
  for name, value in pairs(self.options) do spec[name] = value end
  for _, name in ipairs { "timeout", "checksum", "ceiling", "request_payer" } do
    if opts[name] ~= nil then spec[name] = opts[name] end
  end
  for name, value in pairs(more) do spec[name] = value end
  return spec
end

--- One request -> answer | nil, err
function client:ask(place, opts, more) return require("appliance.aws").request(self:spec(place, opts, more)) end

local function version_query(place, opts)
  local version = opts.version or place.version
  return version and { versionId = version } or nil
end

--- Most reads have no options: `s3 cat` is there for its first byte.
local function headers_for(purpose, opts)
  if next(opts) == nil then return nil end
  return require "appliance.s3.headers"[purpose](opts)
end

-- ---------------------------------------------------------------- reading

--- -> { body, size, etag, modified, version, content_type, metadata, headers, status } | nil, err
--- opts: range = { first, last } (last may be missing; { -n } is the last n bytes), version, if_match, if_none_match, if_modified_since,
--- sse_c, ceiling (bytes; 64 MiB), checksum = false. With if_none_match an object that is still the same comes as { unchanged = true }.
function client:get(address, opts)
  opts = opts or {}
  local place, err = self:object(address)
  if not place then return nil, err end
  local answer
  answer, err = self:ask(place, opts, { method = "GET", query = version_query(place, opts), headers = headers_for("read", opts),
    ceiling = opts.ceiling or 64 << 20 })
  if not answer then return nil, err end
  local object = require("appliance.s3.headers").object(answer.headers, answer.status)
  object.body, object.size = answer.body, #answer.body
  return object
end

--- The same without the body; size is the object's.
function client:head(address, opts)
  opts = opts or {}
  local place, err = self:object(address)
  if not place then return nil, err end
  local answer
  answer, err = self:ask(place, opts, { method = "HEAD", query = version_query(place, opts), headers = headers_for("read", opts) })
  if not answer then return nil, err end
  return require("appliance.s3.headers").object(answer.headers, answer.status)
end

local function transferred(self, way, address, opts, more)
  local place, err = self:object(address)
  if not place then return nil, err end
  more.version = opts.version or place.version
  more.headers = headers_for(way == "get" and "read" or "write", opts)
  for _, name in ipairs { "progress", "jobs", "part", "expected", "keep_time", "durable", "mode" } do more[name] = opts[name] end
  local done
  done, err = require("appliance.native.aws").transfer[way](self:spec(place, opts, more))
  if not done then
    if way == "get" and err.code == 304 then return { unchanged = true, status = 304 } end
    return nil, err
  end
  if way == "put" then
    done.etag = done.etag and done.etag:match '^"?(.-)"?$'
    return done
  end
  local object = require("appliance.s3.headers").object(done.headers, done.status)
  object.size, object.total, object.verified, object.attempts = done.received, done.size, done.verified, done.attempts
  return object
end

--- To a file, by parts in parallel; the file is there when it is whole, and not before. -> as get, without the body
--- opts as for get, and progress(done, total), jobs (connections), part (bytes), durable (on the disk before the file appears), mode,
--- keep_time (the file gets the object's).
function client:download(address, path, opts)
  local answer, err = transferred(self, "get", address, opts or {}, { to = path })
  if not answer then return nil, err end
  local object = require("appliance.s3.headers").object(answer.headers, answer.status)
  object.size = answer.size
  return object
end

--- To a descriptor, in order -> { size, status, headers, ... } | nil, err
function client:cat(address, fd, opts)
  return transferred(self, "get", address, opts or {}, { fd = fd })
end

-- ---------------------------------------------------------------- writing

--- -> { etag, version, size, checksum } | nil, err
--- opts: content_type, content_encoding, content_disposition, content_language, cache_control, expires, metadata = { name = value },
--- tags = { name = value }, storage_class, sse ("AES256", "aws:kms"), sse_kms_key_id, sse_c (32 bytes), if_match (an ETag), if_none_match
--- ("*": only where nothing is yet), checksum.
function client:put(address, text, opts)
  opts = opts or {}
  local place, err = self:object(address)
  if not place then return nil, err end
  local answer
  answer, err = self:ask(place, opts, { method = "PUT", headers = headers_for("write", opts), body = text })
  if not answer then return nil, err end
  local object = require("appliance.s3.headers").object(answer.headers, answer.status)
  return { etag = object.etag, version = object.version, size = #text, checksum = object.checksum }
end

--- A file, or an open descriptor up to its end (a pipe too), by parts in parallel. opts as for put, and progress(done, total), expected
--- (bytes a pipe will bring).
function client:upload(from, address, opts)
  return transferred(self, "put", address, opts or {}, type(from) == "number" and { fd = from } or { from = from })
end

--- Of a version with opts.version, which then is gone for ever -> { version, marker = true when a delete marker was made } | nil, err
function client:delete(address, opts)
  opts = opts or {}
  local place, err = self:object(address)
  if not place then return nil, err end
  local answer
  answer, err = self:ask(place, opts, { method = "DELETE", query = version_query(place, opts) })
  if not answer then return nil, err end
  return { version = answer.headers["x-amz-version-id"], marker = answer.headers["x-amz-delete-marker"] == "true" or nil }
end

-- ---------------------------------------------------------------- presigned URLs

local PRESIGN_MOST <const> = 7 * 24 * 3600

--- A URL with which anybody may do this one thing until it expires -> url, warning or nil | nil, err
--- seconds: 1 to 604,800. A URL dies with the credentials that signed it: the warning says when that is sooner.
function client:presign(method, address, seconds, opts)
  opts = opts or {}
  if not ({ GET = true, PUT = true, HEAD = true, DELETE = true })[method] then
    error(("presign: method %s: GET, PUT, HEAD or DELETE"):format(tostring(method)), 2)
  end
  local place, err = self:object(address)
  if not place then return nil, err end
  seconds = math.tointeger(seconds // 1)
  if not seconds or seconds < 1 or seconds > PRESIGN_MOST then
    return nil, require("appliance.failure").new("invalid", "a presigned URL is good for 1 second to 7 days, not for %s s",
      tostring(seconds))
  end
  local query = version_query(place, opts) or {}
  for name, value in pairs(opts.response or {}) do query["response-" .. name] = value end
  local answer
  answer, err = self:ask(place, opts, { method = method, query = query, presign = seconds,
    headers = headers_for(method == "PUT" and "write" or "read", opts) })
  if not answer then return nil, err end
  return answer.url, self:presign_warning(seconds)
end

function client:presign_warning(seconds)
  local held = require("appliance.credentials").get { role = self.options.role }
  if not (held and held.expires) then return nil end
  local left = held.expires - require("appliance.core.host").wall_ms() // 1000
  if left >= seconds then return nil end
  return ("the URL ends with the credentials that signed it, in %d s and not in %d s"):format(math.max(left, 0), seconds)
end

-- ---------------------------------------------------------------- the default client

local default

setmetatable(s3, { __index = function(_, name)
  default = default or s3.client()
  local method = default[name]
  if type(method) ~= "function" then return nil end
  local function bound(...) return method(default, ...) end
  rawset(s3, name, bound)
  return bound
end })

return s3
