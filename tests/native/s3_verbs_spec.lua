-- The verbs of appliance.s3 over a fake appliance.aws: what is asked, and what becomes of the answers. No request leaves this process.
local pages = require "appliance.s3.pages"
local task = require "appliance.task"

local HEAD <const> = '<?xml version="1.0" encoding="UTF-8"?>\n'
local XMLNS <const> = ' xmlns="http://s3.amazonaws.com/doc/2006-03-01/"'

local function list_page(inside) return HEAD .. "<ListBucketResult" .. XMLNS .. ">" .. inside .. "</ListBucketResult>" end

local function content(key, size)
  return ("<Contents><Key>%s</Key><LastModified>2026-01-31T23:59:59.000Z</LastModified><ETag>&quot;e&quot;</ETag><Size>%d</Size>"
    .. "<StorageClass>STANDARD</StorageClass></Contents>"):format(key, size or 1)
end

describe("a page of a listing", function()
  it("gives names as they are, not as they are written", function()
    local page = assert(pages.list(list_page [[
      <Name>bkt</Name><EncodingType>url</EncodingType><Prefix>a%2Bb+c</Prefix><Delimiter>%2F</Delimiter>
      <StartAfter>%01</StartAfter>
      <KeyCount>3</KeyCount><IsTruncated>true</IsTruncated><NextContinuationToken>x+y%2Bz=</NextContinuationToken>
      <Contents><Key>a%2Bb+c/%01%FF%25</Key><LastModified>2026-01-31T23:59:59.000Z</LastModified><ETag>"0123-4"</ETag>
        <Size>5000000000</Size>
        <StorageClass>GLACIER</StorageClass><ChecksumAlgorithm>CRC64NVME</ChecksumAlgorithm></Contents>
      <Contents><Key>a%2Bb+c/z</Key><Size>0</Size></Contents>
      <CommonPrefixes><Prefix>a%2Bb+c/d%2F</Prefix></CommonPrefixes>]], "s3://bkt/"))
    assert.same({
      { key = "a+b c/\1\xff%", size = 5000000000, modified = 1769903999, etag = "0123-4", storage_class = "GLACIER",
        checksum = "CRC64NVME" },
      { prefix = "a+b c/d/" },
      { key = "a+b c/z", size = 0 },
    }, page.entries)
    assert.same({ ["continuation-token"] = "x+y%2Bz=" }, page.next)
    assert.same({ "a+b c", "/", "\1" }, { page.prefix, page.delimiter, page.start_after })
  end)

  it("of a server that does not escape gives them as they stand", function()
    local page = assert(pages.list(list_page(content "a+b%20c" .. "<IsTruncated>false</IsTruncated>"), "s3://bkt/"))
    assert.equal("a+b%20c", page.entries[1].key)
    assert.is_nil(page.next)
  end)

  it("of versions has them all, newest first", function()
    local page = assert(pages.versions(HEAD .. "<ListVersionsResult" .. XMLNS .. [[><EncodingType>url</EncodingType>
      <IsTruncated>true</IsTruncated><NextKeyMarker>a+b</NextKeyMarker><NextVersionIdMarker>v+1</NextVersionIdMarker>
      <DeleteMarker><Key>a+b</Key><VersionId>3</VersionId><IsLatest>true</IsLatest></DeleteMarker>
      <Version><Key>a+b</Key><VersionId>2</VersionId><IsLatest>false</IsLatest><Size>7</Size></Version>
      <Version><Key>c</Key><VersionId>null</VersionId><IsLatest>true</IsLatest><Size>1</Size></Version>
      </ListVersionsResult>]], "s3://bkt/"))
    assert.same({ "a b:3:true:true", "a b:2:false:nil", "c:null:true:nil" }, {
      table.unpack((function()
        local out = {}
        for i, e in ipairs(page.entries) do
          out[i] = ("%s:%s:%s:%s"):format(e.key, e.version, tostring(e.latest), tostring(e.deleted))
        end
        return out
      end)()) })
    assert.same({ ["key-marker"] = "a b", ["version-id-marker"] = "v+1" }, page.next)
  end)

  it("that is none is told", function()
    local bad = {
      ["<html><body>hello</body></html>"] = "is this an S3 endpoint", ["not xml"] = "can't be read",
      [list_page "<IsTruncated>true</IsTruncated>"] = "NextContinuationToken",
      [list_page(content "a"):sub(1, -10)] = "can't be read",
    }
    for text, sentence in pairs(bad) do
      local page, err = pages.list(text, "s3://bkt/")
      assert.is_nil(page)
      assert.equal("protocol", err.kind)
      assert.matches("^s3://bkt/: .*" .. sentence, tostring(err))
    end
  end)
end)

describe("the answer to a batch of deletes", function()
  it("tells each key that is still there", function()
    assert.same({ { key = "a&b", version = "7", name = "AccessDenied", text = "Access Denied" } }, pages.deleted(HEAD .. "<DeleteResult" ..
      XMLNS .. "><Error><Key>a&amp;b</Key><VersionId>7</VersionId><Code>AccessDenied</Code><Message>Access Denied</Message></Error>" ..
      "</DeleteResult>", "s3://bkt/"))
    assert.same({}, pages.deleted(HEAD .. "<DeleteResult" .. XMLNS .. "/>", "s3://bkt/"))
  end)
end)

describe("the verbs of a client", function()
  local asked, answers, s3

  local function answer(body, headers, status) return { status = status or 200, headers = headers or {}, body = body or "" } end

  before_each(function()
    asked, answers = {}, {}
    package.loaded["appliance.aws"] = {
      request = function(spec)
        asked[#asked + 1] = spec
        local given = type(answers) == "function" and answers(spec) or table.remove(answers, 1)
        if not given then error("nothing more is expected: " .. spec.method .. " " .. tostring(spec.key)) end
        if given.err then return nil, given.err end
        return given
      end,
    }
    s3 = require "appliance.s3".client { region = "eu-west-1", request_payer = true }
  end)

  after_each(function() package.loaded["appliance.aws"] = nil end)

  it("get, head, put and delete objects", function()
    answers = { answer("text", { etag = '"e"', ["content-length"] = "4" }), answer("", { ["content-length"] = "99" }),
      answer("", { etag = '"n"', ["x-amz-version-id"] = "v2" }), answer("", { ["x-amz-delete-marker"] = "true" }, 204) }
    local got = assert(s3:get("s3://bkt/a//b?versionId=v1", { range = { 0, 3 } }))
    assert.same({ "text", 4, "e" }, { got.body, got.size, got.etag })
    assert.equal(99, assert(s3:head { bucket = "bkt", key = "k" }).size)
    assert.same({ etag = "n", version = "v2", size = 3 }, s3:put("s3://bkt/k", "abc", { if_none_match = "*" }))
    assert.same({ marker = true }, s3:delete "s3://bkt/k")
    assert.same({ "GET", "a//b", "v1", "bytes=0-3", "eu-west-1", true, "s3" }, { asked[1].method, asked[1].key, asked[1].query.versionId,
      asked[1].headers.Range, asked[1].region, asked[1].request_payer, asked[1].service })
    assert.same({ "PUT", "abc", "*" }, { asked[3].method, asked[3].body, asked[3].headers["If-None-Match"] })
  end)

  it("hand failures on, and refuse a bucket where an object is meant", function()
    answers = { { err = setmetatable({ kind = "missing", name = "NoSuchKey" }, { __tostring = function() return "not there" end }) } }
    local got, err = s3:get "s3://bkt/k"
    assert.is_nil(got)
    assert.equal("NoSuchKey", err.name)
    got, err = s3:get "s3://bkt/"
    assert.is_nil(got)
    assert.matches("this is a bucket", tostring(err))
    assert.error_matches(function() require "appliance.s3".client { regoin = "x" } end, "there is no field regoin, did you mean \"region\"")
  end)

  it("list over pages, and ask for the next while the last is looked at", function()
    answers = {
      answer(list_page(content "a" .. content "b" ..
        "<IsTruncated>true</IsTruncated><NextContinuationToken>t1</NextContinuationToken>")),
      answer(list_page "<IsTruncated>true</IsTruncated><NextContinuationToken>t2</NextContinuationToken>"),
      answer(list_page(content "c" .. "<IsTruncated>false</IsTruncated>")),
    }
    local keys = {}
    for entry in s3:list("s3://bkt/p", { delimiter = "/", start_after = "p0" }) do
      keys[#keys + 1] = entry.key
      if #keys == 1 then
        task.sleep(0)
        assert.equal(2, #asked)
      end
    end
    assert.same({ "a", "b", "c" }, keys)
    assert.same({ ["list-type"] = "2", ["encoding-type"] = "url", prefix = "p", delimiter = "/", ["start-after"] = "p0" }, asked[1].query)
    assert.same({ ["list-type"] = "2", ["encoding-type"] = "url", prefix = "p", delimiter = "/", ["continuation-token"] = "t2" },
      asked[3].query)
  end)

  it("list as many as are wanted, and no page more", function()
    answers = { answer(list_page(content "a" .. content "b" ..
      "<IsTruncated>true</IsTruncated><NextContinuationToken>t</NextContinuationToken>")) }
    assert.equal(2, #assert(s3:all("s3://bkt", { max = 2 })))
    assert.equal("2", asked[1].query["max-keys"])
    assert.equal(1, #asked)
    assert.same({}, s3:all("s3://bkt", { max = 0 }))
  end)

  it("tell a listing that breaks off, or that goes round in circles", function()
    answers = { answer(list_page(content "a" .. "<IsTruncated>true</IsTruncated><NextContinuationToken>t</NextContinuationToken>")),
      { err = { kind = "denied" } } }
    local seen = {}
    for entry, err in s3:list "s3://bkt" do seen[#seen + 1] = entry and entry.key or err.kind end
    assert.same({ "a", "denied" }, seen)
    answers = function()
      return answer(list_page(content "a" .. "<IsTruncated>true</IsTruncated><NextContinuationToken>t</NextContinuationToken>"))
    end
    local entries, err = s3:all "s3://bkt"
    assert.is_nil(entries)
    assert.matches("does not get on", tostring(err))
    for entry, problem in s3:list "nonsense" do
      assert.is_false(entry)
      assert.equal("invalid", problem.kind)
    end
  end)

  it("delete a thousand at a time, and by itself what XML can't say", function()
    local counts = {}
    answers = function(spec)
      if spec.method == "DELETE" then return answer("", {}, 204) end
      local n = select(2, spec.body:gsub("<Object>", ""))
      counts[#counts + 1] = n
      assert.same({ delete = "" }, spec.query)
      assert.is_true(spec.checksum_needed)
      return answer(HEAD .. "<DeleteResult>" .. (n == 1000 and "<Error><Key>k7</Key><Code>AccessDenied</Code><Message>no</Message></Error>"
        or "") .. "</DeleteResult>")
    end
    local names, told = {}, 0
    for i = 1, 2500 do names[i] = "k" .. i % 1000 end
    names[100] = "ctl\1"
    local result = s3:delete_many("bkt", names, { each = function(_, fault) told = told + (fault and 0 or 1) end })
    table.sort(counts)
    assert.same({ 499, 1000, 1000 }, counts)
    assert.equal(2498, result.deleted)
    assert.equal(2498, told)
    assert.same({ "k7", "AccessDenied", "no" }, { result.failed[1].key, result.failed[1].name, result.failed[1].text })
    local alone = {}
    for _, spec in ipairs(asked) do if spec.method == "DELETE" then alone[#alone + 1] = spec.key end end
    assert.same({ "ctl\1" }, alone)
  end)

  it("tell every key of a batch that failed as a whole", function()
    answers = { { err = setmetatable({ kind = "denied", name = "AccessDenied" }, { __tostring = function() return "may not" end }) } }
    local result = s3:delete_many("bkt", { "a", { key = "b", version = "1" } })
    assert.equal(0, result.deleted)
    assert.same({ { key = "a", name = "AccessDenied", text = "may not" }, { key = "b", version = "1", name = "AccessDenied",
      text = "may not" } }, result.failed)
  end)

  local COPIED <const> = HEAD .. "<CopyObjectResult><ETag>&quot;c&quot;</ETag></CopyObjectResult>"

  it("copy by one request, pinned to what was there", function()
    answers = { answer("", { etag = '"s"', ["content-length"] = "10", ["content-type"] = "text/plain", ["x-amz-meta-a"] = "1" }),
      answer(COPIED, { ["x-amz-version-id"] = "v" }) }
    assert.same({ etag = "c", version = "v", size = 10 }, s3:copy("s3://bkt/a b+c/ü?versionId=7", "s3://other/k"))
    assert.equal("7", asked[1].query.versionId)
    assert.same({ ["x-amz-copy-source"] = "/bkt/a%20b%2Bc/%C3%BC?versionId=7", ["x-amz-copy-source-if-match"] = '"s"' }, asked[2].headers)
    assert.is_true(asked[2].may_fail_in_200)
  end)

  it("copy what a listing has told of without looking at it first, unless more must be known", function()
    answers = { answer(COPIED), answer("", { etag = '"s"', ["content-length"] = "10", ["content-type"] = "a/b" }), answer(COPIED) }
    local known = { size = 10, etag = "listed" }
    assert(s3:copy("s3://bkt/k", "s3://other/k", { known = known }))
    assert.equal('"listed"', asked[1].headers["x-amz-copy-source-if-match"])
    assert(s3:copy("s3://bkt/k", "s3://other/k", { known = known, cache_control = "no-store" }))
    assert.same({ "HEAD", "a/b" }, { asked[2].method, asked[3].headers["Content-Type"] })
  end)

  it("copy with new metadata, and keep what nobody spoke of", function()
    answers = { answer("", { etag = '"s"', ["content-length"] = "10", ["content-type"] = "text/plain", ["x-amz-meta-a"] = "1" }),
      answer(COPIED) }
    assert(s3:copy("s3://bkt/k", "s3://bkt/k", { cache_control = "no-store", tags = {} }))
    assert.same({ "REPLACE", "text/plain", "no-store", "1", "REPLACE" }, { asked[2].headers["x-amz-metadata-directive"],
      asked[2].headers["Content-Type"], asked[2].headers["Cache-Control"], asked[2].headers["x-amz-meta-a"],
      asked[2].headers["x-amz-tagging-directive"] })
  end)

  local function parts_server(fail)
    return function(spec)
      local query = spec.query or {}
      if spec.method == "HEAD" then
        return answer("", { etag = '"s"', ["content-length"] = "25", ["content-type"] = "a/b", ["x-amz-tagging-count"] = "1" })
      elseif query.tagging then
        return answer(HEAD .. "<Tagging><TagSet><Tag><Key>t</Key><Value>1</Value></Tag></TagSet></Tagging>")
      elseif query.uploads then
        return answer(HEAD .. "<InitiateMultipartUploadResult><UploadId>up</UploadId></InitiateMultipartUploadResult>")
      elseif query.partNumber then
        if fail == query.partNumber then
          return { err = setmetatable({ kind = "conflict" }, { __tostring = function() return "changed" end }) }
        end
        return answer(HEAD .. "<CopyPartResult><ETag>&quot;p" .. query.partNumber .. "&quot;</ETag></CopyPartResult>")
      elseif spec.method == "DELETE" then
        return answer("", {}, 204)
      end
      return answer(HEAD .. "<CompleteMultipartUploadResult><ETag>&quot;all-3&quot;</ETag></CompleteMultipartUploadResult>")
    end
  end

  it("copy what is too large for one request by parts", function()
    answers = parts_server()
    local seen
    assert.same({ etag = "all-3", size = 25 }, s3:copy("s3://bkt/a", "s3://bkt/b", { one_request = 20, part = 10, if_none_match = "*",
      progress = function(done, total) seen = done .. "/" .. total end }))
    assert.equal("25/25", seen)
    local ranges = {}
    for _, spec in ipairs(asked) do
      if spec.query and spec.query.partNumber then
        ranges[tonumber(spec.query.partNumber)] = spec.headers["x-amz-copy-source-range"]
        assert.equal('"s"', spec.headers["x-amz-copy-source-if-match"])
      elseif spec.query and spec.query.uploads then
        assert.same({ "a/b", "t=1" }, { spec.headers["Content-Type"], spec.headers["x-amz-tagging"] })
        assert.is_nil(spec.headers["If-None-Match"])
      end
    end
    assert.same({ "bytes=0-9", "bytes=10-19", "bytes=20-24" }, ranges)
    local last = asked[#asked]
    assert.equal("*", last.headers["If-None-Match"])
    assert.matches("<PartNumber>1</PartNumber><ETag>&quot;p1&quot;</ETag></Part><Part><PartNumber>2</PartNumber>", last.body, 1, true)
  end)

  it("give a copy by parts up when one of them fails", function()
    answers = parts_server "2"
    local done, err = s3:copy("s3://bkt/a", "s3://bkt/b", { one_request = 20, part = 10 })
    assert.is_nil(done)
    assert.equal("conflict", err.kind)
    require "appliance.s3.copy".settle(5)
    assert.same({ "DELETE", "up" }, { asked[#asked].method, asked[#asked].query.uploadId })
  end)

  it("give a copy by parts up when its task is cancelled", function()
    local serve = parts_server()
    answers = function(spec)
      if spec.query and spec.query.partNumber then task.sleep(1000) end
      return serve(spec)
    end
    local copying = task.start(function() s3:copy("s3://bkt/a", "s3://bkt/b", { one_request = 20, part = 10 }) end)
    while not (asked[#asked] and asked[#asked].query and asked[#asked].query.partNumber) do task.sleep(0) end
    copying:cancel()
    assert.is_true(require "appliance.s3.copy".settle(5))
    assert.same({ "DELETE", "up" }, { asked[#asked].method, asked[#asked].query.uploadId })
  end)

  it("read and write tags", function()
    answers = { answer(HEAD .. "<Tagging><TagSet><Tag><Key>a</Key><Value>1 &amp; 2</Value></Tag></TagSet></Tagging>"), answer(), answer() }
    assert.same({ a = "1 & 2" }, s3:tags "s3://bkt/k")
    assert.is_true(s3:set_tags("s3://bkt/k", { b = "3" }, { version = "v" }))
    assert.is_true(s3:delete_tags "s3://bkt/k")
    assert.same({ tagging = "", versionId = "v" }, asked[2].query)
    assert.equal("DELETE", asked[3].method)
  end)

  it("list buckets over pages", function()
    local page = HEAD .. "<ListAllMyBucketsResult><Buckets><Bucket><Name>%s</Name><CreationDate>2026-01-31T23:59:59.000Z</CreationDate>"
      .. "</Bucket></Buckets>%s</ListAllMyBucketsResult>"
    answers = { answer(page:format("one", "<ContinuationToken>t</ContinuationToken>")), answer(page:format("two", "")) }
    assert.same({ { name = "one", created = 1769903999 }, { name = "two", created = 1769903999 } }, s3:buckets())
    assert.equal("t", asked[2].query["continuation-token"])
  end)

  it("refuse a presigned URL for longer than there are", function()
    local url, err = s3:presign("GET", "s3://bkt/k", 8 * 86400)
    assert.is_nil(url)
    assert.matches("7 days", tostring(err))
    assert.error_matches(function() s3:presign("POST", "s3://bkt/k", 1) end, "GET, PUT, HEAD or DELETE")
  end)

  it("warn of a presigned URL that ends with its credentials", function()
    local expires = os.time() + 1000
    package.loaded["appliance.credentials"] = { get = function() return { expires = expires } end }
    answers = { { url = "https://x/" }, { url = "https://x/" } }
    local url, warning = s3:presign("GET", "s3://bkt/k", 3600)
    assert.equal("https://x/", url)
    assert.matches("ends with the credentials that signed it, in %d+ s and not in 3600 s", warning)
    assert.same({ "https://x/" }, { s3:presign("PUT", "s3://bkt/k", 60, { content_type = "a/b" }) })
    assert.same({ "PUT", 60, "a/b" }, { asked[2].method, asked[2].presign, asked[2].headers["Content-Type"] })
    package.loaded["appliance.credentials"] = nil
  end)

  it("encrypt with a key of one's own", function()
    answers = { answer("", { etag = '"e"' }) }
    assert(s3:put("s3://bkt/k", "x", { sse_c = ("k"):rep(32) }))
    assert.same({ "AES256", "a2tra2tra2tra2tra2tra2tra2tra2tra2tra2tra2s=", "mT2HRsMGJ5IX5C+0rreZ8Q==" }, {
      asked[1].headers["x-amz-server-side-encryption-customer-algorithm"],
      asked[1].headers["x-amz-server-side-encryption-customer-key"],
      asked[1].headers["x-amz-server-side-encryption-customer-key-md5"] })
  end)
end)
