--- https:// and http:// sources of fetch.lua: retries, redirects, and asking whether something is still the same.
--- Loads libcurl; fetch.lua loads this with the first address of that kind.
local address = require "appliance.fetch.address"
local failure = require "appliance.failure"
local task = require "appliance.task"

local web = {}

local TRIES <const>, REDIRECTS <const> = 4, 5
local PAUSE <const>, LONGEST_PAUSE <const> = 0.5, 20           -- seconds; the first doubles with each try
local WHOLE <const> = 6 * 3600                                 -- of one transfer; a stalled one ends after 30 s

local REDIRECTING <const> = { [301] = true, [302] = true, [303] = true, [307] = true, [308] = true }

--- Where a Location leads, from `base` (RFC 3986, 5.2). A fragment is nobody's affair.
local function resolve(base, location)
  location = location:gsub("#.*$", "")
  if location:find "^%a[%w+.-]*:" then return location end
  local scheme, authority, path = base:match "^(%a+)://([^/?]*)([^?]*)"
  if location:sub(1, 2) == "//" then return scheme .. ":" .. location end
  if location:sub(1, 1) == "/" then return ("%s://%s%s"):format(scheme, authority, location) end
  if location:sub(1, 1) == "?" then return ("%s://%s%s%s"):format(scheme, authority, path, location) end
  local whole, query = location:match "^([^?]*)(.*)$"
  local segments = {}
  for segment in (path:gsub("[^/]*$", "") .. whole):gmatch "[^/]+" do
    if segment == ".." then segments[#segments] = nil
    elseif segment ~= "." then segments[#segments + 1] = segment end
  end
  local last = (whole:sub(-1) == "/" and #segments > 0) and "/" or ""
  return ("%s://%s/%s%s%s"):format(scheme, authority, table.concat(segments, "/"), last, query)
end

--- May a redirect lead there? Never from TLS to plain text, and never to where an instance keeps its credentials.
local function checked_redirect(from, location)
  local to = address.parse(resolve(from.url, location))
  if not to or to.scheme ~= "https" and to.scheme ~= "http" then return nil, "it redirects to something that is neither https nor http" end
  if from.scheme == "https" and to.scheme == "http" then return nil, "it redirects from https to http, which is not followed" end
  if to.host:find "^169%.254%." or to.host:find "^%[fe80:" or to.host:find "^%[fd00:ec2:" then
    return nil, "it redirects to a link-local address, which is not followed"
  end
  if to.host == from.host then to.user = to.user or from.user end  -- a password is for the host that it was given for
  return to
end

--- Authorities of a site's own, by the names that openssl and curl know.
local function authorities()
  for _, name in ipairs { "SSL_CERT_FILE", "CURL_CA_BUNDLE" } do
    local path = os.getenv(name)
    if path and path ~= "" then return path end
  end
end

local function with_user(source, headers)
  if not source.user then return headers end
  local more = { Authorization = "Basic " .. require("appliance.s3.base64").encode(source.user) }
  for name, value in pairs(headers) do more[name] = value end
  return more
end

--- One try, along its redirects -> answer | nil, err
local function follow(source, options)
  for _ = 0, REDIRECTS do
    local seconds = options.limit and math.max(0.01, options.limit - task.now()) or WHOLE
    local answer, err = require("appliance.http").request {
      url = source.url, method = options.method, headers = with_user(source, options.headers or {}), to = options.to,
      timeout = math.min(seconds, WHOLE), ceiling = options.ceiling, ca_file = authorities(),
    }
    if not answer or not REDIRECTING[answer.status] then return answer, err end
    if not answer.headers.location then return nil, failure.new("protocol", "it redirects (%d) without saying where", answer.status) end
    local problem
    source, problem = checked_redirect(source, answer.headers.location)
    if not source then return nil, failure.new("denied", "%s: give the address it leads to", problem) end
  end
  return nil, failure.new("protocol", "it redirects more than %d times: give the address it leads to", REDIRECTS)
end

local CURES <const> = {
  [401] = "user and password are missing or wrong: give them as https://NAME:PASSWORD@host/",
  [403] = "access denied: is a presigned address too old, or does it need a user and a password?",
  [404] = "there is no such file: correct the address",
  [407] = "the proxy wants a password: see HTTPS_PROXY",
  [410] = "the file is gone: correct the address",
}
local KINDS <const> = { [401] = "denied", [403] = "denied", [404] = "missing", [407] = "denied", [410] = "missing", [429] = "throttled" }

local function is_transient(answer, err)
  if answer then return answer.status >= 500 or answer.status == 429 or answer.status == 408 end
  return err.transient == true
end

local function of_status(answer, tries)
  local status = answer.status
  local err = failure.new(KINDS[status] or status >= 500 and "refused" or "protocol", "%s (%d)%s", CURES[status]
    or status >= 500 and "the server is not well" or status == 429 and "the server has too many requests"
    or "the server refuses it", status, tries > 1 and (" after %d tries"):format(tries) or "")
  err.code = status
  return err
end

--- A request with retries -> answer of a status below 400 | nil, err (transient = true: a later try may succeed)
local function ask(source, options)
  for try = 1, TRIES do
    local answer, err = follow(source, options)
    if answer and answer.status < 400 then return answer end
    local pause = PAUSE * (1 << try - 1) * (0.5 + math.random() / 2)
    local asked = answer and tonumber(answer.headers["retry-after"])
    if asked then pause = math.min(math.max(asked, pause), LONGEST_PAUSE) end
    local passing = is_transient(answer, err)
    if not passing or try == TRIES or options.limit and task.now() + pause > options.limit then
      if answer then err = of_status(answer, try) end
      err.transient = passing
      return nil, err
    end
    task.sleep(pause)
  end
end

local function version_of(answer)
  local headers = answer.headers
  return headers.etag and "etag " .. headers.etag or headers["last-modified"] and "modified " .. headers["last-modified"] or nil
end

local function conditions(version)
  local kind, value = (version or ""):match "^(%a+) (.*)$"
  if kind == "etag" then return { ["If-None-Match"] = value } end
  if kind == "modified" then return { ["If-Modified-Since"] = value } end
  return {}
end

--- web.get(source, path, { version = what is there already, limit = monotonic seconds })
--- -> { version = } | { same = true } | nil, err. `source` is address.parse's.
function web.get(source, path, options)
  local answer, err = ask(source, { to = path, headers = conditions(options.version), limit = options.limit, ceiling = options.ceiling })
  if not answer then return nil, err end
  if answer.status == 304 and options.version then return { same = true } end
  if answer.status ~= 200 then return nil, of_status(answer, 1) end
  return { version = version_of(answer) }
end

--- The version that is there now -> text or nil (the server tells none) | nil, err. A presigned address is good for GET alone.
function web.version(source, options)
  local answer, err = ask(source, { method = "HEAD", limit = options.limit })
  if not answer and (err.code == 403 or err.code == 405 or err.code == 501) then
    answer, err = ask(source, { headers = { Range = "bytes=0-0" }, limit = options.limit })
  end
  if not answer then return nil, err end
  return version_of(answer)
end

return web
