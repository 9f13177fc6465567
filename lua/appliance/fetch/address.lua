--- Where a file comes from: a path, file://, s3://bucket/key, https:// or http://. Pure; what profiles, settings and fetch.lua agree on.
local secrets = require "appliance.secrets"

local address = {}

local EXAMPLE <const> = "s3://bucket/"

local function unescape(text)
  return (text:gsub("%%(%x%x)", function(hex) return string.char(tonumber(hex, 16)) end))
end

local function last_name(text) return text:match "([^/?#]+)[^/]*$" or "file" end

local schemes = {}

function schemes.file(rest)
  local path = rest:match "^//localhost(/.*)$" or rest:match "^//(/.*)$" or rest:match "^(/[^/].*)$"
  if not path then return nil, "has no absolute path after file:// (three slashes in all)", "file:///data/" .. last_name(rest) end
  return { scheme = "file", path = unescape(path) }
end

--- A key is taken as it is written: `+`, `%` and `//` are letters of it.
local function s3(rest)
  if not rest:find "^//[^/]" then
    return nil, "has not two slashes and a bucket after the colon", EXAMPLE .. (rest:gsub("^/*[^/]*/?", ""):gsub("^$", "jars/one.jar"))
  end
  local bucket, key = rest:match "^//([^/]+)/(.+)$"
  if not bucket or key:sub(-1) == "/" then return nil, "names no object: a bucket and a key are needed", EXAMPLE .. "jars/one.jar" end
  return { scheme = "s3", url = "s3:" .. rest }
end
schemes.s3, schemes.s3a, schemes.s3n = s3, s3, s3

local function web(scheme)
  return function(rest)
    local authority, path = rest:match "^//([^/?#]+)([^#]*)$"
    if not authority then
      return nil, rest:find("#", 1, true) and "has a fragment (#...), which no server is told" or "names no host",
        scheme .. "://host/" .. last_name(rest)
    end
    local user, host = authority:match "^(.*)@([^@]*)$"
    host = host or authority
    if not host:find "^[%w._-]+:?%d*$" and not host:find "^%[[%x:.]+%]:?%d*$" then
      return nil, "names no host", scheme .. "://host/" .. last_name(rest)
    end
    if path:find "[^%w%-._~:/?@!$&'()*+,;=%%%[%]]" then
      return nil, "has letters that must be escaped in a URL, such as a blank (%20)", nil
    end
    return { scheme = scheme, url = ("%s://%s%s"):format(scheme, host, path:sub(1, 1) == "/" and path or "/" .. path),
             user = user and unescape(user), host = host:lower() }
  end
end
schemes.https, schemes.http = web "https", web "http"

--- address.parse(text) -> { scheme = "file", path = } | { scheme = "s3", url = } | { scheme = "https"|"http", url = (without its user),
--- user = "name:password" or nil, host = } | nil, what is wrong (a verb phrase), an example that would be right
function address.parse(text)
  if text:find "%c" then return nil, "has a control character", nil end
  if text:sub(1, 1) == "/" then return { scheme = "file", path = text } end
  local scheme, rest = text:match "^(%a[%w+.-]*):(.*)$"
  local parse = scheme and schemes[scheme:lower()]
  if parse then return parse(rest) end
  local example = "/data/" .. last_name(text)
  if scheme and rest:sub(1, 2) == "//" then
    return nil, ("is behind %s://; files come from s3://, https://, http://, file:// or a path"):format(scheme:lower()), example
  end
  return nil, "is neither an absolute path nor a URI (s3://, https://, http:// or file://)", example
end

--- The same text for people: without user and password, and without a query, which is where a presigned URL has its signature.
function address.shown(text)
  local scheme, authority, rest = text:match "^(%a[%w+.-]*)://([^/?#]*)(.*)$"
  if not scheme or scheme:lower() == "file" then return text end
  authority = authority:gsub("^.*@", secrets.REDACTED .. "@")
  if not scheme:lower():find "^s3" then rest = rest:gsub("%?.*$", "?" .. secrets.REDACTED) end
  return scheme .. "://" .. authority .. rest
end

--- "s3://bucket/prefix" -> { bucket, prefix (ends in a slash, or is empty), shown } | nil, what is wrong
function address.bucket(text)
  local name, prefix = text:match "^s3[an]?://([%w._-]+)/?(.*)$"
  if not name then return nil, "is not the address of a bucket" end
  if prefix ~= "" and prefix:sub(-1) ~= "/" then prefix = prefix .. "/" end
  return { bucket = name, prefix = prefix, shown = ("s3://%s/%s"):format(name, prefix) }
end

--- The last part of its path: what a file of it is called.
function address.name(text)
  local found = assert(address.parse(text))
  local path = found.path or unescape((found.url:gsub("%?.*$", "")))
  local name = path:match "([^/]+)/*$" or "file"
  return (name:gsub("[%c:]", "_"))                           -- a colon would end it on a class path
end

return address
