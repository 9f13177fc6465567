-- appliance.s3 against moto, which checks every signature, and against s3rver; boto3 reads what we wrote and writes what we read.
-- The verbs run in the program (spark-appliance lua), so that each server has a process and an environment of its own.
local awkward = require "awkward_keys"
local json = require "appliance.json"
local parts = require "aws_parts"

-- Runs a script with `s3` (the default client) and `args` -> what it printed. A second result of print is not needed: json is there.
local function lua(server, script, args, env)
  local path = parts.path(".lua")
  local file <close> = assert(io.open(path, "wb"))
  file:write([[
local s3, json = require "appliance.s3", require "appliance.json"
local args = json.decode((...))
local function say(value) require("appliance.core.host").write(1, json.encode(value)) end
]], script)
  file:close()
  local with = {}
  for name, value in pairs(server.env) do with[name] = value end
  for name, value in pairs(env or {}) do with[name] = value end
  local ran = parts.run({ os.getenv "APPLIANCE", "lua", path, json.encode(args or {}) }, { env = with })
  os.remove(path)
  if ran.code ~= 0 then error(("ended with %d:\n%s"):format(ran.code, ran.err), 2) end
  return ran.out ~= "" and json.decode(ran.out) or nil
end

local function sorted(list)
  local copy = table.move(list, 1, #list, 1, {})
  table.sort(copy)
  return copy
end

describe("S3 by moto", function()
  local moto
  setup(function()
    moto = parts.moto { auth = true }
    parts.boto(moto, [[
for bucket in ("ours", "theirs", "many", "versioned", "copies"): s3.create_bucket(Bucket=bucket)
s3.put_bucket_versioning(Bucket="versioned", VersioningConfiguration={"Status": "Enabled"})
]])
  end)
  teardown(function() moto:close() end)

  it("gets every key as it was meant: written by us, read by boto3", function()
    lua(moto, [[
for i, key in ipairs(args) do assert(s3.put({ bucket = "ours", key = key }, "body of " .. i, { metadata = { number = i } })) end
]], awkward)
    assert.same("well", parts.boto(moto, [=[
keys = json.loads(args[0])
for i, key in enumerate(keys, 1):
    got = s3.get_object(Bucket="ours", Key=key)
    assert got["Body"].read() == b"body of %d" % i, key
    assert got["Metadata"] == {"number": str(i)}, key
listed = [o["Key"] for page in s3.get_paginator("list_objects_v2").paginate(Bucket="ours") for o in page["Contents"]]
assert sorted(listed) == sorted(keys), (set(listed) ^ set(keys))
print("well")
]=], { json.encode(awkward) }))
  end)

  it("gets every key as it was meant: written by boto3, read, listed and deleted by us", function()
    parts.boto(moto, [[
for i, key in enumerate(json.loads(args[0]), 1): s3.put_object(Bucket="theirs", Key=key, Body=b"body of %d" % i)
]], { json.encode(awkward) })
    local listed = lua(moto, [[
for i, key in ipairs(args) do
  local got = assert(s3.get { bucket = "theirs", key = key })
  assert(got.body == "body of " .. i, key)
  assert(assert(s3.head { bucket = "theirs", key = key }).size == #got.body, key)
  assert(assert(s3.copy({ bucket = "theirs", key = key }, { bucket = "copies", key = key })).etag == got.etag, key)
end
local keys = {}
for entry, err in s3.list("s3://theirs", { page = 7 }) do keys[#keys + 1] = assert(entry, err).key end
local copied = assert(s3.all "s3://copies")
for i, entry in ipairs(copied) do assert(entry.key == keys[i], entry.key) end
local result = s3.delete_many("theirs", keys)
assert(result.deleted == #args and #result.failed == 0)
assert(#assert(s3.all "s3://theirs") == 0)
say(keys)
]], awkward)
    assert.same(sorted(awkward), sorted(listed))
  end)

  it("lists 2,500 keys over pages, and below a delimiter", function()
    parts.boto(moto, [[
from concurrent.futures import ThreadPoolExecutor
with ThreadPoolExecutor(8) as pool:
    list(pool.map(lambda i: s3.put_object(Bucket="many", Key="p/%d/%04d" % (i % 3, i), Body=b"x" * (i % 5)), range(2500)))
]])
    local seen = lua(moto, [[
local count, bytes, last, in_order = 0, 0, "", true
for entry, err in s3.list "s3://many/p/" do
  assert(entry, err)
  count, bytes, in_order, last = count + 1, bytes + entry.size, in_order and last < entry.key, entry.key
end
local prefixes = {}
for entry, err in s3.list("s3://many/p/", { delimiter = "/" }) do prefixes[#prefixes + 1] = assert(entry, err).prefix end
say { count = count, bytes = bytes, in_order = in_order, prefixes = prefixes, some = #assert(s3.all("s3://many/", { max = 1234 })),
  after = #assert(s3.all("s3://many/p/1/", { start_after = "p/1/2400" })) }
]])
    assert.same({ count = 2500, bytes = 5000, in_order = true, prefixes = { "p/0/", "p/1/", "p/2/" }, some = 1234, after = 33 }, seen)
    assert.same({ deleted = 2500, left = 0 }, lua(moto, [[
local next_entry = s3.list "s3://many/"
local result = s3.delete_many("many", function()
  local entry = next_entry()
  return entry and entry.key
end)
say { deleted = result.deleted, left = #assert(s3.all "s3://many/") }
]]))
  end)

  it("knows versions, and the marks of what was deleted", function()
    local seen = lua(moto, [[
local first = assert(s3.put("s3://versioned/a b", "1"))
local second = assert(s3.put("s3://versioned/a b", "22"))
local gone = assert(s3.delete "s3://versioned/a b")
assert(gone.marker and not s3.get "s3://versioned/a b")
assert(s3.get("s3://versioned/a b?versionId=" .. first.version).body == "1")
local versions = {}
for entry, err in s3.list("s3://versioned/", { versions = true, page = 1 }) do
  assert(entry, err)
  versions[#versions + 1] = { entry.key, entry.version, entry.latest, entry.deleted or false, entry.size }
end
assert(s3.delete("s3://versioned/a b", { version = gone.version }))
local whole = {}
for i, entry in ipairs(assert(s3.all("s3://versioned/", { versions = true }))) do
  whole[i] = { key = entry.key, version = entry.version }
end
say { versions = #versions, top = versions[1][4], latest = versions[1][3], back = s3.get("s3://versioned/a b").body,
  named = { versions[1][2] == gone.version, versions[2][2] == second.version, versions[3][2] == first.version },
  deleted = s3.delete_many("versioned", whole).deleted, left = #assert(s3.all("s3://versioned/", { versions = true })) }
]])
    assert.same({ versions = 3, top = true, latest = true, back = "22", named = { true, true, true }, deleted = 2, left = 0 }, seen)
  end)

  it("keeps to conditions", function()
    assert.same({ "412", "412", "304", "ok", "missing" }, lua(moto, [[
local put = assert(s3.put("s3://ours/cond", "1"))
local _, exists = s3.put("s3://ours/cond", "2", { if_none_match = "*" })
local _, changed = s3.get("s3://ours/cond", { if_match = "0123" })
local same = assert(s3.get("s3://ours/cond", { if_none_match = put.etag }))
local got = assert(s3.get("s3://ours/cond", { if_match = put.etag }))
local _, missing = s3.head "s3://ours/nothing/here"
say { tostring(exists.code), tostring(changed.code), tostring(same.unchanged and 304), got.body == "1" and "ok", missing.kind }
]]))
  end)

  it("brings what describes an object there and back, through a copy too", function()
    local seen = lua(moto, [[
assert(s3.put("s3://ours/described", "x", { content_type = "a/b", cache_control = "no-store", content_encoding = "zz",
  content_disposition = "inline", content_language = "de", metadata = { one = "1", umlaut = "Größe" }, tags = { t = "a b+c" },
  storage_class = "STANDARD_IA", sse = "AES256" }))
local function look(key)
  local h = assert(s3.head("s3://ours/" .. key))
  return { h.content_type, h.cache_control, h.content_encoding, h.content_disposition, h.content_language, h.metadata.one,
    h.metadata.umlaut, assert(s3.tags("s3://ours/" .. key)).t }
end
assert(s3.copy("s3://ours/described", "s3://ours/copied"))
assert(s3.copy("s3://ours/described", "s3://ours/changed", { content_type = "c/d" }))
assert(s3.set_tags("s3://ours/changed", { t = "new" }))
local class = s3.head("s3://ours/described").storage_class
assert(s3.delete_tags "s3://ours/described")
say { look "copied", look "changed", class, next(s3.tags "s3://ours/described") == nil }
]])
    assert.same({ "a/b", "no-store", "zz", "inline", "de", "1", "Größe", "a b+c" }, seen[1])
    assert.same({ "c/d", "no-store", "zz", "inline", "de", "1", "Größe", "new" }, seen[2])
    assert.same({ "STANDARD_IA", true }, { seen[3], seen[4] })
  end)

  it("copies by parts", function()
    parts.boto(moto, [[s3.put_object(Bucket="ours", Key="big", Body=os.urandom(11 << 20), ContentType="a/b", Metadata={"m": "1"})]])
    lua(moto, [[
local progress
local done = assert(s3.copy("s3://ours/big", "s3://copies/big +", { one_request = 1 << 20, part = 5 << 20,
  progress = function(d, t) progress = d .. "/" .. t end }))
assert(done.etag:match "%-3$", done.etag)
assert(progress == (11 << 20) .. "/" .. (11 << 20), progress)
]])
    assert.same("well", parts.boto(moto, [[
one, other = s3.get_object(Bucket="ours", Key="big"), s3.get_object(Bucket="copies", Key="big +")
assert one["Body"].read() == other["Body"].read()
assert other["ContentType"] == "a/b" and other["Metadata"] == {"m": "1"}, other
assert "Uploads" not in s3.list_multipart_uploads(Bucket="copies")
print("well")
]]))
  end)

  it("signs URLs as boto3 does", function()
    local urls = lua(moto, [[
say { assert(s3.presign("GET", "s3://ours/a//b +ü?", 60)), assert(s3.presign("PUT", "s3://ours/k", 604800, { sse_c = ("k"):rep(32) })),
  assert(s3.presign("DELETE", "s3://ours/k", 1, { version = "v/1" })),
  assert(s3.presign("GET", "s3://ours/k", 60, { response = { ["content-type"] = "a/b" } })) }
]])
    -- moto can't check these. botocore signs the same at the same time: what differs is only in which order the query is written.
    assert.same("well", parts.boto(moto, [=[
import datetime, botocore.auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from urllib.parse import urlsplit, parse_qs, urlencode
ssec = {"x-amz-server-side-encryption-customer-algorithm": "AES256",
        "x-amz-server-side-encryption-customer-key": base64.b64encode(b"k" * 32).decode(),
        "x-amz-server-side-encryption-customer-key-MD5": base64.b64encode(hashlib.md5(b"k" * 32).digest()).decode()}
keys = Credentials(os.environ["AWS_ACCESS_KEY_ID"], os.environ["AWS_SECRET_ACCESS_KEY"])
for url, method, headers in zip(json.loads(args[0]), ("GET", "PUT", "DELETE", "GET"), ({}, ssec, {}, {})):
    parts = urlsplit(url)
    query = {name: values[0] for name, values in parse_qs(parts.query).items()}
    ours = {name: value for name, value in query.items() if not name.startswith("X-Amz-")}
    now = datetime.datetime.strptime(query["X-Amz-Date"], "%Y%m%dT%H%M%SZ")
    botocore.auth.get_current_datetime = lambda *a, **k: now
    request = AWSRequest(method=method, url="%s://%s%s" % (parts.scheme, parts.netloc, parts.path), params=ours, headers=headers)
    botocore.auth.S3SigV4QueryAuth(keys, "s3", "us-east-1", expires=int(query["X-Amz-Expires"])).add_auth(request)
    theirs = {name: values[0] for name, values in parse_qs(urlsplit(request.url).query).items()}
    assert theirs == query, (theirs, query)
    assert urlsplit(request.url).path == parts.path
print("well")
]=], { json.encode(urls) }))
  end)

  it("says who may not, and lists buckets", function()
    local seen = lua(moto, [[
local names = {}
for i, bucket in ipairs(assert(s3.buckets())) do names[i] = bucket.name end
local _, none = s3.get "s3://no-such-bucket/x"
say { names, none.name }
]])
    local denied = lua(moto, [[
local _, err = s3.get "s3://ours/plain"
say { err.kind, err.name }
]], {}, { AWS_SECRET_ACCESS_KEY = "wrong" })
    assert.same({ "copies", "many", "ours", "theirs", "versioned" }, sorted(seen[1]))
    assert.same({ "NoSuchBucket", "denied", "SignatureDoesNotMatch" }, { seen[2], table.unpack(denied) })
  end)
end)

describe("S3 by s3rver", function()
  local server
  setup(function()
    server = parts.s3rver()
    parts.boto(server, 's3.create_bucket(Bucket="ours")')
  end)
  teardown(function() server:close() end)

  it("reads, writes, lists, copies and deletes", function()
    -- It keeps objects as files, and cleans paths up: keys that no file can have are not asked of it. Nor are pages: their tokens it makes
    -- by DES, which the OpenSSL of today refuses.
    local keys = { "plain", "a b", "a+b", "a*b", "a=b@c:d", "100%", "%2F%25", "ü/é", "日本語", "d/e/f" }
    assert.same(sorted(keys), lua(server, [[
for _, key in ipairs(args) do
  assert(s3.put({ bucket = "ours", key = key }, key, { content_type = "a/b", metadata = { m = "1" } }))
  local got = assert(s3.get { bucket = "ours", key = key })
  assert(got.body == key and got.content_type == "a/b" and got.metadata.m == "1", key)
end
local listed = {}
for entry, err in s3.list "s3://ours/" do listed[#listed + 1] = assert(entry, err).key end
table.sort(listed)
assert(#assert(s3.all("s3://ours/d/", { delimiter = "/" })) == 1)
assert(s3.copy("s3://ours/a b", "s3://ours/copy"))
assert(s3.get("s3://ours/copy", { range = { 1, 2 } }).body == " b")
assert(s3.delete "s3://ours/copy")
assert(s3.delete_many("ours", args).deleted == #args)
assert(#assert(s3.all "s3://ours/") == 0)
say(listed)
]], keys))
  end)
end)
