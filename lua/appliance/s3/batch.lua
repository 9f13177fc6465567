--- Deletes many objects: a thousand by a request, and those by a request of their own whose names XML can't hold.
local bodies = require "appliance.s3.bodies"
local pages = require "appliance.s3.pages"
local parallel = require "appliance.s3.parallel"
local uri = require "appliance.s3.uri"

local batch = {}

local BATCH <const>, AT_ONCE <const> = 1000, 4

local function next_of(names)
  if type(names) == "function" then return names end
  local i = 0
  return function()
    i = i + 1
    return names[i]
  end
end

--- What failed of one batch is noted; all else is gone.
local function delete_batch(self, bucket, names, opts, result)
  local answer, err = self:ask({ bucket = bucket, key = "" }, opts, { method = "POST", query = { delete = "" }, body = bodies.delete(names),
    headers = { ["Content-Type"] = "application/xml" }, checksum_needed = true, ceiling = 8 << 20 })
  local failed
  if answer then failed, err = pages.deleted(answer.body, uri.format(bucket)) end
  if not failed then
    failed = {}
    for i, name in ipairs(names) do failed[i] = { key = name.key, version = name.version, name = err.name, text = tostring(err) } end
  end
  table.move(failed, 1, #failed, #result.failed + 1, result.failed)
  result.deleted = result.deleted + #names - #failed
  if not opts.each then return end
  local faults = {}
  for _, fault in ipairs(failed) do faults[fault.key .. "\0" .. (fault.version or "")] = fault end
  for _, name in ipairs(names) do opts.each(name, faults[name.key .. "\0" .. (name.version or "")]) end
end

local function delete_one(self, bucket, name, opts, result)
  local gone, err = self:delete({ bucket = bucket, key = name.key, version = name.version }, opts)
  local fault = not gone and { key = name.key, version = name.version, name = err.name, text = tostring(err) } or nil
  if gone then result.deleted = result.deleted + 1 else result.failed[#result.failed + 1] = fault end
  if opts.each then opts.each(name, fault) end
end

--- names: a list, or a function that gives one after the other: keys, or { key =, version = }.
--- -> { deleted = how many, failed = { { key, version, name = "AccessDenied", text }, ... } }: what failed is told, the rest is done.
--- opts.each(name, fault or nil): called for each as soon as it is known.
function batch.delete_many(self, bucket, names, opts)
  opts = opts or {}
  local result = { deleted = 0, failed = {} }
  local crew <close> = parallel.crew(AT_ONCE)
  local waiting = {}
  for name in next_of(names) do
    if type(name) == "string" then name = { key = name } end
    if bodies.can_hold(name.key) then
      waiting[#waiting + 1] = name
    else
      crew:start(1, delete_one, self, bucket, name, opts, result)
    end
    if #waiting == BATCH then
      crew:start(1, delete_batch, self, bucket, waiting, opts, result)
      waiting = {}
    end
  end
  if #waiting > 0 then crew:start(1, delete_batch, self, bucket, waiting, opts, result) end
  crew:wait()
  return result
end

return batch
