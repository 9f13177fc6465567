--- Tags of an object.
local bodies = require "appliance.s3.bodies"
local pages = require "appliance.s3.pages"
local uri = require "appliance.s3.uri"

local tags = {}

local function ask(self, address, opts, more)
  opts = opts or {}
  local place, err = self:object(address)
  if not place then return nil, err end
  more.query = { tagging = "", versionId = opts.version or place.version }
  local answer
  answer, err = self:ask(place, opts, more)
  return answer, err, place
end

--- -> { name = value } | nil, err
function tags.tags(self, address, opts)
  local answer, err, place = ask(self, address, opts, { method = "GET" })
  if not answer then return nil, err end
  return pages.tags(answer.body, uri.format(place.bucket, place.key))
end

--- All of them at once: who is not among these is no more. -> true | nil, err
function tags.set_tags(self, address, wanted, opts)
  local answer, err = ask(self, address, opts, { method = "PUT", body = bodies.tags(wanted), checksum_needed = true,
    headers = { ["Content-Type"] = "application/xml" } })
  if not answer then return nil, err end
  return true
end

--- -> true | nil, err
function tags.delete_tags(self, address, opts)
  local answer, err = ask(self, address, opts, { method = "DELETE" })
  if not answer then return nil, err end
  return true
end

return tags
