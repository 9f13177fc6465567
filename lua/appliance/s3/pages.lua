--- What S3's answers in XML say, as tables: pages of listings, results of a batch of deletes, tags, buckets. Pure; takes the tree that
--- appliance.xml makes ({ name =, child, "text", ... }). Where encoding-type=url was asked for, an answer says whether it did so.
local dates = require "appliance.s3.dates"
local failure = require "appliance.failure"
local uri = require "appliance.s3.uri"

local pages = {}

local function each(element, name)
  local i = 0
  return function()
    repeat i = i + 1 until element[i] == nil or type(element[i]) == "table" and element[i].name == name
    return element[i]
  end
end

local function child(element, name) return element and each(element, name)() end

--- The text inside an element; "" for <a/>, nil without the element.
local function text_of(element)
  if not element then return nil end
  local parts = {}
  for _, part in ipairs(element) do if type(part) == "string" then parts[#parts + 1] = part end end
  return table.concat(parts)
end

local function text(element, name) return text_of(child(element, name)) end

--- Quotes belong to the header's form of an ETag, not to its value; some servers leave them away.
function pages.etag(value) return value and value ~= "" and value:match '^"?(.-)"?$' or nil end

local function read(body, root, what)
  local tree, err = require("appliance.xml").parse(body, { ceiling = 64 << 20 })
  if not tree then return nil, failure.new("protocol", "%s: the answer can't be read: %s", what, err.text) end
  if tree.name ~= root then
    return nil, failure.new("protocol", "%s: the answer is <%s> where <%s> is expected: is this an S3 endpoint?", what, tree.name, root)
  end
  return tree
end

--- A name as it is, from a page that may have it in escaped form.
local function decoder(page)
  local encoded = (text(page, "EncodingType") or ""):lower() == "url"
  return function(name) return name and (encoded and uri.unescape(name) or name) end
end

--- The texts of all that is inside an element, by name, in one go: a listing has thousands of them.
local function fields_of(element)
  local fields = {}
  for i = 1, #element do
    local part = element[i]
    if type(part) == "table" and part.name then
      local only = part[1]
      fields[part.name] = part[2] == nil and type(only) == "string" and only or text_of(part)
    end
  end
  return fields
end

local function object(element, decode)
  local fields = fields_of(element)
  return {
    key = decode(fields.Key or ""),
    size = math.tointeger(tonumber(fields.Size)) or 0,
    modified = dates.iso(fields.LastModified),
    etag = pages.etag(fields.ETag),
    storage_class = fields.StorageClass,
    checksum = fields.ChecksumAlgorithm,
    owner = fields.Owner and text(child(element, "Owner"), "ID"),
  }, fields
end

local function version(element, decode)
  local entry, fields = object(element, decode)
  entry.version, entry.latest = fields.VersionId, fields.IsLatest == "true"
  if element.name == "DeleteMarker" then entry.deleted = true end
  return entry
end

local function name_of(entry) return entry.key or entry.prefix end

--- S3 lists the objects of a page first and then its common prefixes; each page as a whole is in order, so this puts it in order too.
-- Versions of one key keep the order they came in, the newest first.
local function interleave(entries, prefixes)
  if #prefixes == 0 then return entries end
  local merged, i, j = {}, 1, 1
  while entries[i] or prefixes[j] do
    if prefixes[j] == nil or entries[i] and name_of(entries[i]) < name_of(prefixes[j]) then
      merged[#merged + 1], i = entries[i], i + 1
    else
      merged[#merged + 1], j = prefixes[j], j + 1
    end
  end
  return merged
end

local function common_prefixes(page, decode)
  local prefixes = {}
  for element in each(page, "CommonPrefixes") do prefixes[#prefixes + 1] = { prefix = decode(text(element, "Prefix") or "") } end
  return prefixes
end

--- A page of ?list-type=2 -> { entries = { { key, size, modified, etag, storage_class } | { prefix } ... }, next = query pairs or nil,
--- prefix, delimiter, start_after } | nil, err
function pages.list(body, what)
  local page, err = read(body, "ListBucketResult", what)
  if not page then return nil, err end
  local decode, entries = decoder(page), {}
  for element in each(page, "Contents") do entries[#entries + 1] = (object(element, decode)) end
  local token = text(page, "NextContinuationToken")
  if text(page, "IsTruncated") == "true" and not token then
    return nil, failure.new("protocol", "%s: the page says that there are more, but not how to get them (no NextContinuationToken)", what)
  end
  return {
    entries = interleave(entries, common_prefixes(page, decode)),
    next = text(page, "IsTruncated") == "true" and { ["continuation-token"] = token } or nil,
    prefix = decode(text(page, "Prefix")), delimiter = decode(text(page, "Delimiter")), start_after = decode(text(page, "StartAfter")),
  }
end

--- A page of ?versions: entries with version, latest, and deleted for a delete marker.
function pages.versions(body, what)
  local page, err = read(body, "ListVersionsResult", what)
  if not page then return nil, err end
  local decode, entries = decoder(page), {}
  for _, element in ipairs(page) do
    if type(element) == "table" and (element.name == "Version" or element.name == "DeleteMarker") then
      entries[#entries + 1] = version(element, decode)
    end
  end
  local next_page
  if text(page, "IsTruncated") == "true" then
    next_page = { ["key-marker"] = decode(text(page, "NextKeyMarker")), ["version-id-marker"] = text(page, "NextVersionIdMarker") }
    if not next_page["key-marker"] then
      return nil, failure.new("protocol", "%s: the page says that there are more, but not how to get them (no NextKeyMarker)", what)
    end
  end
  return { entries = interleave(entries, common_prefixes(page, decode)), next = next_page, prefix = decode(text(page, "Prefix")),
    delimiter = decode(text(page, "Delimiter")) }
end

--- The answer to a batch of deletes: each key that is not gone -> list of { key, version, name = "AccessDenied", text } | nil, err
function pages.deleted(body, what)
  local result, err = read(body, "DeleteResult", what)
  if not result then return nil, err end
  local failed = {}
  for element in each(result, "Error") do
    failed[#failed + 1] = { key = text(element, "Key") or "", version = text(element, "VersionId"), name = text(element, "Code") or "Error",
      text = text(element, "Message") or "" }
  end
  return failed
end

--- -> { name = value } | nil, err
function pages.tags(body, what)
  local tagging, err = read(body, "Tagging", what)
  if not tagging then return nil, err end
  local tags = {}
  for tag in each(child(tagging, "TagSet") or {}, "Tag") do tags[text(tag, "Key") or ""] = text(tag, "Value") or "" end
  return tags
end

--- -> list of { name, created (unix seconds), region }, token of the next page or nil | nil, err
function pages.buckets(body, what)
  local result, err = read(body, "ListAllMyBucketsResult", what)
  if not result then return nil, err end
  local buckets = {}
  for bucket in each(child(result, "Buckets") or {}, "Bucket") do
    buckets[#buckets + 1] = { name = text(bucket, "Name") or "", created = dates.iso(text(bucket, "CreationDate")),
      region = text(bucket, "BucketRegion") }
  end
  local token = text(result, "ContinuationToken")
  return buckets, token ~= "" and token or nil
end

--- One element's worth of an answer: pages.field(body, "CopyObjectResult", { "ETag", "LastModified" }, what) -> { ETag = ... } | nil, err
function pages.fields(body, root, names, what)
  local result, err = read(body, root, what)
  if not result then return nil, err end
  local fields = {}
  for _, name in ipairs(names) do fields[name] = text(result, name) end
  return fields
end

return pages
