-- Objects of many sizes there and back between ours and boto3, each with what the other wrote: in one piece, in parts, from a pipe, and
-- with every checksum boto3 can give an object. moto checks every signature; s3rver knows nothing of checksums.
local parts = require "aws_parts"

local MIB <const> = 1 << 20
-- Nothing, a byte, and what is just below, at and above the lengths of parts.
local SIZES <const> = { 0, 1, 5 * MIB - 1, 5 * MIB, 8 * MIB + 1, 16 * MIB, 33 * MIB + 7 }

-- What every script of boto3 here begins with: the bytes of an object of that size, none of whose parts is like another.
local bytes_of = [[
def bytes_of(size):
    block = b"".join(i.to_bytes(4, "big") for i in range(1 << 18))
    return b"".join(n.to_bytes(8, "big") + block[8:] for n in range((size >> 20) + 1))[:size]
def same(got, size):
    want = bytes_of(size)
    assert len(got) == size, (len(got), size)
    assert got == want, next(i for i in range(size) if got[i] != want[i])
]]

local function read(path)
  local file <close> = assert(io.open(path, "rb"))
  return file:read "a"
end

for name, start in pairs { ["moto"] = function() return parts.moto { auth = true } end, ["s3rver"] = parts.s3rver } do
  describe("Between us and boto3, through " .. name, function()
    local server, directory

    local function boto(script, args) return parts.boto(server, bytes_of .. script, args) end

    local function s3(...)
      local ran = parts.run({ os.getenv "APPLIANCE", "s3", ... }, { env = server.env })
      if ran.code ~= 0 then error(("%s ended with %d:\n%s"):format(table.concat({ ... }, " "), ran.code, ran.err), 2) end
      assert.same("", ran.err)
      return ran.out
    end

    setup(function()
      server = start()
      directory = parts.path(".d")
      os.execute("mkdir " .. directory)
      boto [[
s3.create_bucket(Bucket="ours")
s3.create_bucket(Bucket="theirs")
]]
      boto([[
for size in args[1:]:
    open(args[0] + "/" + size, "wb").write(bytes_of(int(size)))
]], { directory, table.unpack(SIZES) })
    end)

    teardown(function()
      server:close()
      os.execute("rm -rf " .. directory)
    end)

    it("comes what we send: files of every size", function()
      for _, size in ipairs(SIZES) do
        s3("cp", ("%s/%d"):format(directory, size), ("s3://ours/file-%d"):format(size))
      end
      boto([[
for size in map(int, args):
    same(s3.get_object(Bucket="ours", Key="file-%d" % size, ChecksumMode="ENABLED")["Body"].read(), size)
]], SIZES)
    end)

    it("comes what we send: from a pipe, whose length nobody knows", function()
      for _, size in ipairs(SIZES) do
        -- Through cat, or the descriptor would be a file after all.
        local ran = parts.run({ "sh", "-c", 'cat "$1" | "$2" s3 cp - "$3"', "-", ("%s/%d"):format(directory, size), os.getenv "APPLIANCE",
          ("s3://ours/pipe-%d"):format(size) }, { env = server.env })
        assert.same({ 0, "" }, { ran.code, ran.err })
      end
      boto([[
for size in map(int, args):
    same(s3.get_object(Bucket="ours", Key="pipe-%d" % size, ChecksumMode="ENABLED")["Body"].read(), size)
]], SIZES)
    end)

    it("comes what boto3's transfer manager sends, to a file and to stdout", function()
      boto([[
for size in map(int, args):
    s3.upload_fileobj(io.BytesIO(bytes_of(size)), "theirs", "file-%d" % size)
]], SIZES)
      for _, size in ipairs(SIZES) do
        local address = ("s3://theirs/file-%d"):format(size)
        s3("cp", address, directory .. "/got")
        assert.is_true(read(directory .. "/got") == read(("%s/%d"):format(directory, size)))
        assert.is_true(s3("cat", address) == read(directory .. "/got"))
      end
    end)
  end)
end

describe("Checksums that boto3 gives an object, through moto", function()
  local moto, directory

  setup(function()
    moto = parts.moto { auth = true }
    directory = parts.path(".d")
    os.execute("mkdir " .. directory)
    parts.boto(moto, [[ s3.create_bucket(Bucket="sums") ]])
  end)

  teardown(function()
    moto:close()
    os.execute("rm -rf " .. directory)
  end)

  local function fetched(key)
    local ran = parts.run({ os.getenv "APPLIANCE", "s3", "cp", "--quiet", "s3://sums/" .. key, directory .. "/got" }, { env = moto.env })
    return ran.code, ran.err
  end

  for _, sum in ipairs { "CRC32", "CRC32C", "CRC64NVME", "SHA1", "SHA256" } do
    it("let " .. sum .. " be read, of one piece and of parts", function()
      parts.boto(moto, bytes_of .. [[
from boto3.s3.transfer import TransferConfig
name, path = args
open(path, "wb").write(bytes_of(12 << 20))
s3.put_object(Bucket="sums", Key=name, Body=bytes_of(12 << 20), ChecksumAlgorithm=name)
s3.upload_file(path, "sums", name + "-parts", ExtraArgs={"ChecksumAlgorithm": name}, Config=TransferConfig(multipart_chunksize=5 << 20))
]], { sum, directory .. "/sent" })
      for _, key in ipairs { sum, sum .. "-parts" } do
        assert.same({ 0, "" }, { fetched(key) })
        assert.is_true(read(directory .. "/got") == read(directory .. "/sent"))
      end
    end)
  end

  it("are CRC64NVME of the whole object in what we send, and boto3 finds them right", function()
    parts.boto(moto, bytes_of .. [[
open(args[0], "wb").write(bytes_of(20 << 20))
]], { directory .. "/sent" })
    for _, size in ipairs { 1000, 20 * MIB } do
      local ran = parts.run({ "sh", "-c", 'head -c "$1" "$2" >"$3" && exec "$4" s3 cp --quiet "$3" "s3://sums/ours-$1"', "-", size,
        directory .. "/sent", directory .. "/piece", os.getenv "APPLIANCE" }, { env = moto.env })
      assert.same({ 0, "" }, { ran.code, ran.err })
    end
    assert.same("well", parts.boto(moto, bytes_of .. [[
from awscrt import checksums
for size in map(int, args):
    head = s3.head_object(Bucket="sums", Key="ours-%d" % size, ChecksumMode="ENABLED")
    want = base64.b64encode(checksums.crc64nvme(bytes_of(20 << 20)[:size]).to_bytes(8, "big")).decode()
    assert head["ChecksumCRC64NVME"] == want, (size, head, want)
print("well")
]], { 1000, 20 * MIB }))
  end)
end)
