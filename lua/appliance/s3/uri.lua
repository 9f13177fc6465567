--- s3://bucket/key as people write it, and how names go into headers and out of listings. Pure; the same rules as src/net/s3_address.c.
--- A key is bytes and nothing else: what stands behind the first slash after the bucket. "a//b", "/lead", ".." and "%20" are keys.
local uri = {}

local KEY_LIMIT <const> = 1024

local function refuse(text, reason)
  return nil, require("appliance.failure").new("invalid", "%s: %s", text:gsub("%c", "?"):sub(1, 80), reason)
end

--- Is this an address in S3, or a local path?
function uri.is(text)
  local scheme = text:match "^(%a%w*)://"
  scheme = scheme and scheme:lower()
  return scheme == "s3" or scheme == "s3a" or scheme == "s3n"
end

--- uri.parse("s3://b/k?versionId=x") -> { bucket =, key = ("" for a whole bucket), version = or nil } | nil, err
function uri.parse(text)
  if not uri.is(text) then return refuse(text, "the address of an object begins with s3://") end
  local rest = text:match "^%w+://(.*)$"
  if rest:sub(1, 4):lower() == "arn:" then return refuse(text, "ARNs are not taken here: use the alias of the access point") end
  local bucket, key = rest:match "^([^/]*)/?(.*)$"
  if #bucket < 3 or #bucket > 255 or bucket:find "[^%w._-]" then
    return refuse(text, "this is no name of a bucket: it has 3 to 255 letters, digits and - . _")
  end
  local before, version = key:match "^(.*)%?versionId=([^?&]+)$"
  if version then key = before end
  if #key > KEY_LIMIT then return refuse(text, "the key is longer than 1,024 bytes") end
  return { bucket = bucket, key = key, version = version }
end

--- The same from either form: a text, or a table { bucket =, key = } that somebody made of one.
function uri.of(place)
  if type(place) == "table" then return place end
  return uri.parse(place)
end

function uri.format(bucket, key, version)
  return ("s3://%s/%s%s"):format(bucket, key or "", version and "?versionId=" .. version or "")
end

local function percent(char) return ("%%%02X"):format(char:byte()) end

--- AWS's UriEncode; slashes stay unless `all`.
function uri.escape(text, all)
  return (text:gsub(all and "[^%w%-._~]" or "[^%w%-._~/]", percent))
end

--- What a listing asked for with encoding-type=url writes; there "+" is a blank, as in forms.
function uri.unescape(text)
  return (text:gsub("%+", " "):gsub("%%(%x%x)", function(hex) return string.char(tonumber(hex, 16)) end))
end

--- For a person's eyes: a name from a stranger may hold what moves a terminal's cursor. Bytes that are no UTF-8 are shown as \xNN, too.
function uri.shown(name)
  local function hex(char) return ("\\x%02x"):format(char:byte()) end
  name = name:gsub("[%c]", hex)
  if utf8.len(name) then return (name:gsub("\xC2([\x80-\x9F])", hex)) end
  return (name:gsub("[\x80-\xff]", hex))
end

return uri
