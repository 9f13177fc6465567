-- The servers and clients that the other specs of this folder are held against, each by itself.
local parts = require "aws_parts"

-- What every server must do when boto3 writes and reads: awkward keys, a listing of them, an upload in parts.
local round = [[
s3.create_bucket(Bucket="parts")
keys = ["plain", "a b+c/ä/%25=@:", "dots/./../x", "//double//slash"] if args[0] == "all" else ["plain", "a b+c/ä/=@:"]
for key in keys:
    s3.put_object(Bucket="parts", Key=key, Body=key.encode())
    assert s3.get_object(Bucket="parts", Key=key)["Body"].read() == key.encode(), key
assert sorted(o["Key"] for o in s3.list_objects_v2(Bucket="parts")["Contents"]) == sorted(keys)
upload = s3.create_multipart_upload(Bucket="parts", Key="big")["UploadId"]
done = [{"PartNumber": n, "ETag": s3.upload_part(Bucket="parts", Key="big", UploadId=upload, PartNumber=n, Body=bytes([n]) * size)["ETag"]}
        for n, size in ((1, 5 << 20), (2, 10))]
s3.complete_multipart_upload(Bucket="parts", Key="big", UploadId=upload, MultipartUpload={"Parts": done})
body = s3.get_object(Bucket="parts", Key="big")["Body"].read()
assert body == b"\1" * (5 << 20) + b"\2" * 10
print("well")
]]

-- The code a listing of buckets is refused with, by a client with that environment.
local function refused_with(server, env)
  return parts.boto(server, [[
try:
    print(s3.list_buckets())
except ClientError as error:
    print(error.response["Error"]["Code"])
]], {}, env)
end

describe("moto that checks signatures", function()
  local moto
  setup(function() moto = parts.moto { auth = true } end)
  teardown(function() moto:close() end)

  it("takes what boto3 signs, whatever the key of the object", function()
    assert.same("well", parts.boto(moto, round, { "all" }))
  end)

  it("refuses a signature made with another secret", function()
    assert.same("SignatureDoesNotMatch", refused_with(moto, { AWS_SECRET_ACCESS_KEY = "wrong" }))
  end)

  it("refuses keys it never gave out", function()
    assert.same("InvalidAccessKeyId", refused_with(moto, { AWS_ACCESS_KEY_ID = "AKIAEXAMPLE" }))
  end)

  it("knows each checksum as boto3 does", function()
    assert.same("well", parts.boto(moto, [[
s3.create_bucket(Bucket="sums")
for name in ("CRC32", "CRC32C", "CRC64NVME", "SHA1", "SHA256"):
    s3.put_object(Bucket="sums", Key=name, Body=b"123456789", ChecksumAlgorithm=name)
    head = s3.head_object(Bucket="sums", Key=name, ChecksumMode="ENABLED")
    assert "Checksum" + name in head, (name, head)
    assert s3.get_object(Bucket="sums", Key=name, ChecksumMode="ENABLED")["Body"].read() == b"123456789"
assert s3.head_object(Bucket="sums", Key="CRC64NVME", ChecksumMode="ENABLED")["ChecksumCRC64NVME"] == "rosUhgp5mIg="
print("well")
]]))
  end)
end)

describe("moto that takes any signature", function()
  it("is there for its other services", function()
    local moto <close> = parts.moto()
    assert.same("123456789012", parts.boto(moto, [[ print(boto3.client("sts").get_caller_identity()["Account"]) ]]))
  end)
end)

describe("s3rver", function()
  local s3rver
  setup(function() s3rver = parts.s3rver() end)
  teardown(function() s3rver:close() end)

  it("takes what boto3 signs", function()
    assert.same("well", parts.boto(s3rver, round, { "some" }))
  end)

  -- It parses a signature of version 4 and doesn't compute it: only moto proves that ours is right.
  it("refuses keys it doesn't know", function()
    assert.same("InvalidAccessKeyId", refused_with(s3rver, { AWS_ACCESS_KEY_ID = "AKIAEXAMPLE" }))
  end)
end)

describe("The fake metadata service", function()
  it("gives boto3 the keys of a role, and tells what it was asked", function()
    local imds <close> = parts.fake_imds { role = "node" }
    assert.same("ASIA True", parts.boto(imds, [[
import urllib.request
provider = botocore.session.get_session().get_component("credential_provider").get_provider("iam-role")
keys = provider.load()
open_ = urllib.request.build_opener(urllib.request.ProxyHandler({})).open
counts = json.load(open_(os.environ["AWS_EC2_METADATA_SERVICE_ENDPOINT"] + "/test/counts"))
print(keys.access_key[:4], counts["token"] >= 1 and counts["document"] >= 1)
]], {}, { AWS_DEFAULT_REGION = "us-east-1" }))
  end)
end)
