--- `s3 stat`: all that a HEAD says.
local common = require "appliance.cli.s3.common"
local dates = require "appliance.s3.dates"

local function sorted(map)
  local names = {}
  for name in pairs(map) do names[#names + 1] = name end
  table.sort(names)
  return names
end

local function rows_of(term, address, object)
  local rows = {}
  local function add(name, value)
    if value ~= nil and value ~= "" then rows[#rows + 1] = { { name, "dim" }, tostring(value) } end
  end
  add("Object", term.screen and require("appliance.s3.uri").shown(address) or address)
  add("Size", object.size and ("%d (%s)"):format(object.size, require("appliance.cli.terminal").size(object.size)))
  add("Modified", object.modified and dates.shown(object.modified))
  add("ETag", object.etag)
  add("Version", object.version)
  add("Type", object.content_type)
  add("Encoding", object.content_encoding)
  add("Disposition", object.content_disposition)
  add("Language", object.content_language)
  add("Cache", object.cache_control)
  add("Expires", object.expires)
  add("Class", object.storage_class or "STANDARD")
  add("Encryption", object.sse or object.headers["x-amz-server-side-encryption-customer-algorithm"] and "SSE-C")
  add("KMS key", object.sse_kms_key_id)
  add("Checksum", object.checksum)
  add("Restore", object.headers["x-amz-restore"])
  add("Tags", object.tag_count)
  for _, name in ipairs(sorted(object.metadata)) do add("Meta " .. name, object.metadata[name]) end
  return rows
end

return {
  usage = "stat [--version-id ID] [--json] s3://BUCKET/KEY...",
  options = common.options { version_id = "text", json = "flag", sse_c = "text" },
  words = { 1, math.huge },
  help = [[
Prints what S3 says of objects: size, time, ETag, version, type, storage class, encryption, checksum, metadata. Exits with 1 when one is
not there.
  --version-id ID   of a former version
  --sse-c FILE      the key it was encrypted with: 32 bytes, raw or in base64
  --json            one JSON object a line]],
  run = function(options, words, term)
    local opts, problem = common.opts(options)
    if not opts then return common.misuse(term, "stat", "%s", problem) end
    local client = common.client(options)
    return common.run(term, function()
      local code = 0
      for i, address in ipairs(words) do
        local object, err = client:head(address, opts)
        if not object then
          term:complain("%s", tostring(err))
          code = 1
        elseif options.json then
          object.headers, object.status, object.object = nil, nil, address
          object.modified = object.modified and dates.written(object.modified)
          if not term:say("%s", require("appliance.json").encode(object)) then return code end
        elseif not term:say("%s%s", i > 1 and "\n" or "", term:table(rows_of(term, address, object))) then
          return code
        end
      end
      return code
    end)
  end,
}
