--- Methods of a client that list: the objects of a bucket by pages, the next of which is fetched while the last is looked at; its versions;
--- the buckets.
local failure = require "appliance.failure"
local pages = require "appliance.s3.pages"
local task = require "appliance.task"
local uri = require "appliance.s3.uri"

local listing = {}

local PAGE_CEILING <const> = 32 << 20          -- a thousand keys of 1,024 bytes, each byte written as %XX, are 3 MiB
local PAGE_MOST <const> = 1000

local function first_query(place, opts)
  local query = { ["encoding-type"] = "url", prefix = place.key, delimiter = opts.delimiter }
  if opts.max or opts.page then query["max-keys"] = tostring(math.min(PAGE_MOST, opts.page or PAGE_MOST, opts.max or PAGE_MOST)) end
  if opts.versions then
    query.versions, query["key-marker"] = "", opts.start_after
  else
    query["list-type"], query["start-after"] = "2", opts.start_after
    if opts.owner then query["fetch-owner"] = "true" end
  end
  return query
end

local function next_query(query, following)
  local copy = {}
  for name, value in pairs(query) do copy[name] = value end
  copy["start-after"] = nil                    -- the token knows
  for name, value in pairs(following) do copy[name] = value end
  return copy
end

local function fetch(self, place, opts, query)
  local answer, err = self:ask({ bucket = place.bucket, key = "" }, opts, { method = "GET", query = query, ceiling = PAGE_CEILING })
  if not answer then return nil, err end
  local page
  page, err = pages[opts.versions and "versions" or "list"](answer.body, uri.format(place.bucket, place.key))
  if not page then return nil, err end
  if page.next then page.next = next_query(query, page.next) end
  return page
end

--- A walk through pages. ahead: the task that fetches the next one.
local walk = {}
walk.__index = walk

function walk:fetch_ahead(query)
  self.ahead = task.start("s3 list", fetch, self.client, self.place, self.opts, query)
end

--- -> the next page | nil at the end | nil, err
function walk:next_page()
  if not self.ahead then return nil end
  local ok, page, err = self.ahead:join()
  self.ahead = nil
  if not ok then return nil, page end
  if not page then return nil, err end
  -- A server that hands out the same place again and again would be listed for ever.
  if page.next then
    local mark = page.next["continuation-token"] or page.next["key-marker"] .. "\0" .. (page.next["version-id-marker"] or "")
    if mark == self.mark then
      return nil, failure.new("protocol", "%s: the listing does not get on: two pages end with the same place",
        uri.format(self.place.bucket))
    end
    self.mark = mark
    if not self.opts.max or self.given + #page.entries < self.opts.max then self:fetch_ahead(page.next) end
  end
  return page
end

function walk:next()
  if self.opts.max and self.given >= self.opts.max then return nil end
  while not (self.page and self.page.entries[self.at]) do
    local err
    self.page, err = self:next_page()
    self.at = 1
    if not self.page then
      self.opts = { max = 0 }                  -- after a failure, too, that was all
      if err then return false, err end
      return nil
    end
  end
  local entry = self.page.entries[self.at]
  self.at, self.given = self.at + 1, self.given + 1
  return entry
end

function walk:__close()
  if self.ahead then self.ahead:cancel() end
end

local function no_walk(err)
  local told = false
  return function()
    if told then return nil end
    told = true
    return false, err
  end
end

--- For a generic for: `for entry, err in c:list("s3://b/prefix") do if not entry then return nil, err end ... end`. A failure comes as
--- false, err, and is the last.
--- An entry is { key, size, modified (unix seconds), etag, storage_class } or, with a delimiter, also { prefix }; in order of their names.
--- opts: delimiter, max (how many entries), start_after (a key), owner, page (keys a request, 1,000), versions: then entries have version,
--- latest, and deleted when they are delete markers.
function listing.list(self, address, opts)
  opts = opts or {}
  local place, err = uri.of(address)
  if not place then return no_walk(err) end
  local here = setmetatable({ client = self, place = place, opts = opts, given = 0, at = 1 }, walk)
  if opts.max ~= 0 then here:fetch_ahead(first_query(place, opts)) end
  return function() return here:next() end, nil, nil, here
end

--- All of them in one list | nil, err
function listing.all(self, address, opts)
  local entries = {}
  for entry, err in listing.list(self, address, opts) do
    if not entry then return nil, err end
    entries[#entries + 1] = entry
  end
  return entries
end

--- -> list of { name, created (unix seconds), region } | nil, err
function listing.buckets(self, opts)
  local buckets, token = {}, nil
  repeat
    local answer, err = self:ask({}, opts or {}, { method = "GET", query = token and { ["continuation-token"] = token } or nil,
      ceiling = PAGE_CEILING })
    if not answer then return nil, err end
    local some, following = pages.buckets(answer.body, "the list of buckets")
    if not some then return nil, following end
    table.move(some, 1, #some, #buckets + 1, buckets)
    token = following
  until not token
  return buckets
end

return listing
