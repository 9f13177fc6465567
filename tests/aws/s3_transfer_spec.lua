-- Whole objects in parts (appliance.native.aws.transfer), against moto, which checks signatures, and s3rver; boto3 writes what we read,
-- with the part sizes and checksums that it likes, and reads what we wrote.
local json = require "appliance.json"
local parts = require "aws_parts"

-- Runs a script in the program with `transfer` and `args` -> what it said.
local function lua(server, script, args, env, stdin)
  local path = parts.path(".lua")
  local file <close> = assert(io.open(path, "wb"))
  file:write([[
local transfer, json = require "appliance.native.aws".transfer, require "appliance.json"
local args = json.decode((...))
local function say(value) require("appliance.core.host").write(1, json.encode(value)) end
]], script)
  file:close()
  local with = {}
  for name, value in pairs(server.env) do with[name] = value end
  for name, value in pairs(env or {}) do with[name] = value end
  local ran = parts.run({ os.getenv "APPLIANCE", "lua", path, json.encode(args or {}) }, { env = with, stdin = stdin })
  os.remove(path)
  if ran.code ~= 0 then error(("ended with %d:\n%s"):format(ran.code, ran.err), 2) end
  return ran.out ~= "" and json.decode(ran.out) or nil, ran
end

local MIB <const> = 1 << 20

-- The same bytes in Python and here: blocks of a MiB that say which they are.
local PYTHON <const> = [[
def pattern(size): return b"".join((b"%08d" % i) * 131072 for i in range(size // 1048576 + 1))[:size]
]]
local function pattern(size)
  local blocks = {}
  for i = 0, size // MIB do blocks[#blocks + 1] = ("%08d"):format(i):rep(131072) end
  return table.concat(blocks):sub(1, size)
end

local function read(path)
  local file <close> = assert(io.open(path, "rb"))
  return file:read "a"
end

local function write(path, text)
  local file <close> = assert(io.open(path, "wb"))
  file:write(text)
end

-- s3rver does not list uploads, and takes the last bytes for the first.
local function each(name, open, lists_uploads)
  describe("transfers with " .. name, function()
    local server, path
    setup(function()
      server, path = open(), parts.path(".object")
      parts.boto(server, [[s3.create_bucket(Bucket="bucket")]])
    end)
    teardown(function()
      server:close()
      os.remove(path)
    end)

    local function uploads()
      return lists_uploads and parts.boto(server, [[print(s3.list_multipart_uploads(Bucket="bucket").get("Uploads", []))]]) or "[]"
    end

    it("gets what boto3 has put, in one piece and in parts", function()
      for _, size in ipairs { 0, 1, 10240, 5 * MIB + 7, 21 * MIB + 13 } do
        parts.boto(server, PYTHON .. [[
size = int(args[0])
s3.upload_fileobj(io.BytesIO(pattern(size)), "bucket", "theirs")
]], { tostring(size) })
        local got = lua(server, [[
local got = assert(transfer.get { bucket = "bucket", key = "theirs", to = args.path })
say { size = got.size, status = got.status, verified = got.verified, attempts = got.attempts }
]], { path = path })
        assert.equal(size, got.size)
        assert.is_true(read(path) == pattern(size))
      end
    end)

    it("puts what boto3 gets, in one piece and in parts", function()
      for _, size in ipairs { 0, 1, 10240, 3 * MIB, 17 * MIB + 11 } do
        write(path, pattern(size))
        local put = lua(server, [[
local put = assert(transfer.put { bucket = "bucket", key = "ours", from = args.path,
  headers = { ["Content-Type"] = "text/x-ours", ["x-amz-meta-colour"] = "blue" } })
say { etag = put.etag, size = put.size, parts = put.parts, checksum = put.checksum }
]], { path = path })
        assert.equal(size, put.size)
        assert.equal(size > 16 * MIB and 4 or nil, put.parts)
        assert.same("well", parts.boto(server, PYTHON .. [[
got = s3.get_object(Bucket="bucket", Key="ours")
assert got["Body"].read() == pattern(int(args[0]))
assert got["ContentType"] == "text/x-ours", got["ContentType"]
assert got["Metadata"] == {"colour": "blue"}, got["Metadata"]
assert got["ETag"] == args[1], (got["ETag"], args[1])
assert "aws-chunked" not in got.get("ContentEncoding", ""), got["ContentEncoding"]
print("well")
]], { tostring(size), put.etag }))
        assert.same("[]", uploads())
      end
    end)

    it("puts what comes through a pipe, and gets it to one", function()
      for _, size in ipairs { 0, 100000, 12 * MIB + 5 } do
        local text = pattern(size)
        -- `cat` makes a pipe of what would be a file
        write(path, text)
        local script = parts.path(".lua")
        write(script, [[
local transfer = require "appliance.native.aws".transfer
local put = assert(transfer.put { bucket = "bucket", key = "piped", fd = 0 })
require("appliance.core.host").write(1, tostring(put.size))
]])
        local ran = parts.run({ "sh", "-c", ('cat "%s" | "$APPLIANCE" lua "%s"'):format(path, script) }, { env = server.env })
        os.remove(script)
        assert.equal("", ran.err)
        assert.equal(tostring(size), ran.out)
        write(script, [[assert(require "appliance.native.aws".transfer.get { bucket = "bucket", key = "piped", fd = 1 })]])
        ran = parts.run({ "sh", "-c", ('"$APPLIANCE" lua "%s" | cat'):format(script) }, { env = server.env })
        os.remove(script)
        assert.equal("", ran.err)
        assert.is_true(ran.out == text)
      end
    end)

    it("gets ranges, into memory and of large objects in parts", function()
      parts.boto(server, PYTHON .. [[s3.put_object(Bucket="bucket", Key="ranges", Body=pattern(12 * 1048576))]])
      local text = pattern(12 * MIB)
      local got = lua(server, [[
local function get(range, more)
  local spec = { bucket = "bucket", key = "ranges", ceiling = 1 << 26, range = range }
  for name, value in pairs(more or {}) do spec[name] = value end
  return assert(transfer.get(spec))
end
assert(get({ 100, 299 }).body == get(nil, { headers = { Range = "bytes=100-299" } }).body)
local large = get { 1000 }
assert(get({ 1000 }, { to = args.path }).body == nil)
say { small = get({ 100, 299 }).body, last = args.last and get({ -50 }).body,
  large = #large.body, attempts = large.attempts, size = large.size }
]], { path = path, last = lists_uploads })
      assert.is_true(got.small == text:sub(101, 300))
      assert.is_true(not lists_uploads or got.last == text:sub(-50))
      assert.equal(12 * MIB - 1000, got.large)
      assert.equal(12 * MIB, got.size)
      assert.is_true(got.attempts > 1)
      assert.is_true(read(path) == text:sub(1001))
    end)

    it("tells of its progress, and stops what takes too long or is cancelled", function()
      write(path, pattern(40 * MIB))
      local told = lua(server, [[
local task = require "appliance.core.task"
local calls, last, all = 0, 0, nil
assert(transfer.put { bucket = "bucket", key = "progress", from = args.path, progress = function(done, total)
  assert(done >= 0 and done <= total)
  calls, last, all = calls + 1, done, total
end })
local nothing, late = transfer.put { bucket = "bucket", key = "late", from = args.path, timeout = 0.02 }
assert(nothing == nil and late.kind == "timeout", tostring(late))
local begun = task.queue(1)
local worker = task.start(function()
  transfer.put { bucket = "bucket", key = "cancelled", from = args.path, progress = function() begun:put(true) end }
end)
begun:get()
worker:cancel()
local ok, why = pcall(transfer.put, { bucket = "bucket", key = "raises", from = args.path, progress = function() error "enough" end })
assert(not ok and tostring(why):find "enough")
say { calls = calls, last = last, all = all, text = tostring(late), settled = transfer.settle(15) }
]], { path = path })
      assert.is_true(told.calls >= 1)
      assert.equal(40 * MIB, told.last)
      assert.equal(40 * MIB, told.all)
      assert.is_true(told.settled)
      assert.matches("s3://bucket/late: not done within 0.02 s", told.text, 1, true)
      assert.same("[]", uploads())
    end)

    it("tells what is not there, and leaves no file", function()
      local err = lua(server, [[
local nothing, err = transfer.get { bucket = "bucket", key = "no such key", to = args.path .. ".none" }
say { kind = err.kind, code = err.code, name = err.name, text = tostring(err), there = io.open(args.path .. ".none") ~= nil }
]], { path = path })
      assert.same({ "missing", 404, "NoSuchKey", false }, { err.kind, err.code, err.name, err.there })
      assert.matches("s3://bucket/no such key", err.text, 1, true)
    end)
  end)
end

each("moto", function() return parts.moto { auth = true } end, true)
each("s3rver", function() return parts.s3rver() end)

describe("transfers and what moto alone has", function()
  local moto, path
  setup(function()
    moto, path = parts.moto { auth = true }, parts.path(".object")
    parts.boto(moto, [[
s3.create_bucket(Bucket="bucket")
s3.create_bucket(Bucket="versioned")
s3.put_bucket_versioning(Bucket="versioned", VersioningConfiguration={"Status": "Enabled"})
]])
  end)
  teardown(function()
    moto:close()
    os.remove(path)
  end)

  it("gets a version, and says which one it made", function()
    local versions = lua(moto, [[
local first = assert(transfer.put { bucket = "versioned", key = "k", text = "one" })
local second = assert(transfer.put { bucket = "versioned", key = "k", text = "two" })
say { first = first.version, second = second.version,
  old = assert(transfer.get { bucket = "versioned", key = "k", version = first.version }).body }
]])
    assert.is_string(versions.first)
    assert.not_equal(versions.first, versions.second)
    assert.equal("one", versions.old)
  end)

  it("holds what boto3 has put against its checksum, of the whole or of the parts", function()
    for _, kind in ipairs { "CRC32", "CRC32C", "CRC64NVME", "SHA256" } do
      local put = pcall(parts.boto, moto, PYTHON .. [[
s3.put_object(Bucket="bucket", Key=args[0], Body=pattern(100000), ChecksumAlgorithm=args[0])
]], { kind })
      if put then -- boto3 can't make them all without awscrt
        local got = lua(moto, [[
local got = assert(transfer.get { bucket = "bucket", key = args[1] })
say { verified = got.verified, size = #got.body }
]], { kind })
        assert.same({ kind, 100000 }, { got.verified, got.size })
      end
    end
  end)

  it("puts with conditions, encryption and storage class", function()
    write(path, pattern(17 * MIB))
    local result = lua(moto, [[
local function put(more)
  local spec = { bucket = "bucket", key = "conditions", headers = more.headers }
  spec.text, spec.from = more.text, more.from
  return transfer.put(spec)
end
local headers = { ["If-None-Match"] = "*", ["x-amz-server-side-encryption"] = "AES256", ["x-amz-storage-class"] = "STANDARD_IA",
  ["x-amz-tagging"] = "a=b" }
local first = assert(put { from = args.path, headers = headers })
local _, again = put { text = "x", headers = { ["If-None-Match"] = "*" } }
say { parts = first.parts, checksum = first.checksum, code = again and again.code, name = again and again.name }
]], { path = path })
    assert.equal(4, result.parts)
    assert.same({ 412, "PreconditionFailed" }, { result.code, result.name })
    assert.same("AES256 STANDARD_IA b", parts.boto(moto, [[
head = s3.head_object(Bucket="bucket", Key="conditions")
print(head["ServerSideEncryption"], head["StorageClass"], s3.get_object_tagging(Bucket="bucket", Key="conditions")["TagSet"][0]["Value"])
]]))
  end)
end)
