--- Options of the verbs as headers, and the headers of an object as a table. Pure but for the key of SSE-C, whose MD5 the native module
--- makes.
local dates = require "appliance.s3.dates"

local headers = {}

local function range_of(range)
  local first, last = range[1], range[2]
  if first < 0 then return ("bytes=-%d"):format(-first) end
  return last and ("bytes=%d-%d"):format(first, last) or ("bytes=%d-"):format(first)
end

local function http_date(at) return os.date("!%a, %d %b %Y %H:%M:%S GMT", at) end

--- Conditions compare ETags, which have quotes in a header; "*" has none.
local function quoted(etag)
  if etag == "*" or etag:sub(1, 1) == '"' then return etag end
  return '"' .. etag .. '"'
end

--- A key that S3 shall encrypt with and forget: 32 bytes. prefix: for the source of a copy.
local function add_sse_c(out, key, prefix)
  if type(key) ~= "string" or #key ~= 32 then error("the key of SSE-C must have 32 bytes", 0) end
  local checksum = require("appliance.native.aws").checksum
  prefix = prefix or "x-amz-"
  out[prefix .. "server-side-encryption-customer-algorithm"] = "AES256"
  out[prefix .. "server-side-encryption-customer-key"] = checksum.base64(key)
  out[prefix .. "server-side-encryption-customer-key-md5"] = checksum.of("MD5", key)
end

local WRITTEN <const> = {
  content_type = "Content-Type", content_encoding = "Content-Encoding", content_disposition = "Content-Disposition",
  content_language = "Content-Language", cache_control = "Cache-Control", storage_class = "x-amz-storage-class",
  sse = "x-amz-server-side-encryption", sse_kms_key_id = "x-amz-server-side-encryption-aws-kms-key-id", website_redirect =
  "x-amz-website-redirect-location",
}

--- A value outside ASCII would be signed and sent as it is, and come back from S3 in RFC 2047's form: so it is written from the start. A
--- line break would end the header.
local function metadata_value(name, value)
  value = tostring(value)
  if value:find "[%z\1-\31\127]" then
    error(("metadata %s: a value has no line breaks or control characters"):format(name), 0)
  end
  if not value:find "[\x80-\xff]" then return value end
  return ("=?UTF-8?Q?%s?="):format((value:gsub("[^%w]", function(char) return ("=%02X"):format(char:byte()) end)))
end

function headers.form(fields)
  local names = {}
  for name in pairs(fields) do names[#names + 1] = name end
  table.sort(names)
  local escape = require("appliance.s3.uri").escape
  for i, name in ipairs(names) do names[i] = escape(name, true) .. "=" .. escape(tostring(fields[name]), true) end
  return table.concat(names, "&")
end

--- Of what is written: object or copy.
function headers.write(opts)
  local out = {}
  for option, name in pairs(WRITTEN) do out[name] = opts[option] end
  if opts.sse_kms_key_id and not opts.sse then out["x-amz-server-side-encryption"] = "aws:kms" end
  out.Expires = type(opts.expires) == "number" and http_date(opts.expires) or opts.expires
  for name, value in pairs(opts.metadata or {}) do
    if not name:find "^[%w!#$&'*+.^_`|~-]+$" then
      error(("metadata %s: a name has letters, digits and - _ . only"):format(name), 0)
    end
    out["x-amz-meta-" .. name:lower()] = metadata_value(name, value)
  end
  if opts.tags then out["x-amz-tagging"] = headers.form(opts.tags) end
  if opts.if_match then out["If-Match"] = quoted(opts.if_match) end
  if opts.if_none_match then out["If-None-Match"] = quoted(opts.if_none_match) end
  if opts.sse_c then add_sse_c(out, opts.sse_c) end
  return out
end

--- Of what is read.
function headers.read(opts)
  local out = {}
  if opts.range then out.Range = range_of(opts.range) end
  if opts.if_match then out["If-Match"] = quoted(opts.if_match) end
  if opts.if_none_match then out["If-None-Match"] = quoted(opts.if_none_match) end
  if opts.if_modified_since then out["If-Modified-Since"] = http_date(opts.if_modified_since) end
  if opts.sse_c then add_sse_c(out, opts.sse_c) end
  return out
end

--- Of a copy beside those of what is written: the source's key, when it has one.
function headers.sse_c_source(out, key) add_sse_c(out, key, "x-amz-copy-source-") end

--- "=?UTF-8?B?...?=" and "...?Q?..." (RFC 2047), in which S3 gives metadata outside ASCII.
local function decoded(value)
  return (value:gsub("=%?[Uu][Tt][Ff]%-8%?([BbQq])%?([^?]*)%?=", function(how, text)
    if how:lower() == "q" then
      return (text:gsub("_", " "):gsub("=(%x%x)", function(hex) return string.char(tonumber(hex, 16)) end))
    end
    return require("appliance.s3.base64").decode(text)
  end))
end

--- The headers of an answer (names in small letters) as an object.
function headers.object(from, status)
  local etag = from.etag and from.etag:match '^"?(.-)"?$'
  if status == 304 then return { unchanged = true, etag = etag, status = status, headers = from } end
  local object = {
    etag = etag, status = status, headers = from, size = math.tointeger(tonumber(from["content-length"])),
    modified = dates.http(from["last-modified"]), content_type = from["content-type"], content_encoding = from["content-encoding"],
    content_disposition = from["content-disposition"], content_language = from["content-language"], cache_control = from["cache-control"],
    expires = from.expires, version = from["x-amz-version-id"], storage_class = from["x-amz-storage-class"],
    sse = from["x-amz-server-side-encryption"], sse_kms_key_id = from["x-amz-server-side-encryption-aws-kms-key-id"],
    parts = math.tointeger(tonumber(from["x-amz-mp-parts-count"])), tag_count = math.tointeger(tonumber(from["x-amz-tagging-count"])),
    website_redirect = from["x-amz-website-redirect-location"], metadata = {},
  }
  local total = (from["content-range"] or ""):match "/(%d+)$"
  if total then object.total = math.tointeger(tonumber(total)) end
  for name, value in pairs(from) do
    local meta = name:match "^x%-amz%-meta%-(.+)$"
    if meta then object.metadata[meta] = decoded(value) end
    local kind = name:match "^x%-amz%-checksum%-(.+)$"
    if kind and kind ~= "type" then object.checksum = kind .. ":" .. value end
  end
  return object
end

return headers
