-- The pure parts of the S3 verbs and of `s3`: names, dates, headers, bodies, filters, what a sync decides, the line of progress.
local bodies = require "appliance.s3.bodies"
local dates = require "appliance.s3.dates"
local headers = require "appliance.s3.headers"
local names = require "appliance.s3.names"
local sync = require "appliance.s3.sync"
local uri = require "appliance.s3.uri"

describe("a client", function()
  it("names the field that it has not, and the one that was meant", function()
    local client = require("appliance.s3").client
    local _, err = pcall(client, { endpont = "http://h" })
    assert.matches('client: there is no field endpont, did you mean "endpoint"?', err, 1, true)
    _, err = pcall(client, { region = 1 })
    assert.matches("client: region: string expected, got number", err, 1, true)
  end)
end)

describe("an address", function()
  it("is taken apart at the first slash, and the key is kept to the byte", function()
    local keys = { "k", "a//b", "/lead", "../up", ".", "a+b", "a b", "100%", "%2F", "ü/é", "a?b", "a#b", "tab\there", "end/", "*",
      "s3://x/y", "v?versionId=", "nul\0inside" }
    for _, key in ipairs(keys) do assert.same({ bucket = "bkt", key = key }, uri.parse("s3://bkt/" .. key)) end
    assert.same({ bucket = "b.u-ck_et", key = "" }, uri.parse "s3a://b.u-ck_et")
    assert.same({ bucket = "bkt", key = "" }, uri.parse "S3N://bkt/")
    assert.same({ bucket = "bkt", key = "k", version = "a.b-c" }, uri.parse "s3://bkt/k?versionId=a.b-c")
    assert.same({ bucket = "bkt", key = "k?versionId=1", version = "2" }, uri.parse "s3://bkt/k?versionId=1?versionId=2")
    assert.equal("s3://bkt/a//b?versionId=7", uri.format("bkt", "a//b", "7"))
  end)

  it("is refused with a sentence", function()
    local faults = {
      ["http://b/k"] = "begins with s3://", ["s3://"] = "no name of a bucket", ["s3://a b/k"] = "no name of a bucket",
      ["s3://arn:aws:s3:::b/k"] = "ARNs are not taken", ["s3://bkt/" .. ("k"):rep(1025)] = "longer than 1,024 bytes",
    }
    for text, sentence in pairs(faults) do
      local place, err = uri.parse(text)
      assert.is_nil(place)
      assert.equal("invalid", err.kind)
      assert.matches(sentence, tostring(err))
    end
    assert.is_false(uri.is "a:/b")
    assert.is_true(uri.is "s3a://x")
  end)

  it("is escaped as AWS wants it, and read from listings as forms write it", function()
    assert.equal("a//b%20c%2B%2A~-._%C3%BC", uri.escape "a//b c+*~-._ü")
    assert.equal("a%2Fb", uri.escape("a/b", true))
    assert.equal("a b+c%\1/ü", uri.unescape "a+b%2Bc%25%01/%c3%BC")
  end)

  it("moves no cursor when it is shown", function()
    assert.equal("a\\x1b[2Jb", uri.shown "a\27[2Jb")
    assert.equal("ü €", uri.shown "ü €")
    assert.equal("a\\xff", uri.shown "a\xff")
  end)
end)

describe("dates", function()
  it("are read and written", function()
    assert.equal(1769903999, dates.iso "2026-01-31T23:59:59.000Z")
    assert.equal(951782400, dates.iso "2000-02-29T00:00:00Z")
    assert.equal(1769903999, dates.http "Sat, 31 Jan 2026 23:59:59 GMT")
    assert.equal("2026-01-31T23:59:59Z", dates.written(1769903999))
    assert.is_nil(dates.iso "yesterday")
    assert.is_nil(dates.http "Sat, 31 Foo 2026 23:59:59 GMT")
    assert.is_nil(dates.http(nil))
  end)
end)

describe("headers", function()
  it("say what is written", function()
    assert.same({
      ["Content-Type"] = "text/plain", ["x-amz-storage-class"] = "STANDARD_IA", ["x-amz-server-side-encryption"] = "aws:kms",
      ["x-amz-server-side-encryption-aws-kms-key-id"] = "key", ["x-amz-meta-one"] = "1", ["x-amz-tagging"] = "a=b%20c&d=%26",
      ["If-None-Match"] = "*", ["If-Match"] = '"abc"', Expires = "Thu, 01 Jan 1970 00:00:10 GMT",
    }, headers.write { content_type = "text/plain", storage_class = "STANDARD_IA", sse_kms_key_id = "key", metadata = { One = 1 },
      tags = { d = "&", a = "b c" }, if_none_match = "*", if_match = "abc", expires = 10 })
  end)

  it("say what is read", function()
    assert.equal("bytes=0-9", headers.read({ range = { 0, 9 } }).Range)
    assert.equal("bytes=5-", headers.read({ range = { 5 } }).Range)
    assert.equal("bytes=-100", headers.read({ range = { -100 } }).Range)
    assert.equal('"x"', headers.read({ if_none_match = '"x"' })["If-None-Match"])
  end)

  it("let no metadata through that would become another header", function()
    assert.error_matches(function() headers.write { metadata = { a = "1\r\nb: 2" } } end, "no line breaks")
    assert.error_matches(function() headers.write { metadata = { ["a b"] = "1" } } end, "letters, digits")
  end)

  it("bring metadata outside ASCII there and back", function()
    local written = headers.write({ metadata = { n = "Größe = 3?" } })["x-amz-meta-n"]
    assert.is_nil(written:find "[\x80-\xff]")
    assert.equal("Größe = 3?", headers.object({ ["x-amz-meta-n"] = written }, 200).metadata.n)
    assert.equal("ü", headers.object({ ["x-amz-meta-n"] = "=?UTF-8?B?w7w=?=" }, 200).metadata.n)
  end)

  it("of an answer are an object", function()
    local object = headers.object({ etag = '"abc-2"', ["content-length"] = "7", ["last-modified"] = "Sat, 31 Jan 2026 23:59:59 GMT",
      ["x-amz-version-id"] = "v", ["content-range"] = "bytes 0-6/100", ["x-amz-checksum-crc64nvme"] = "AAA=",
      ["x-amz-checksum-type"] = "FULL_OBJECT" }, 206)
    assert.same({ "abc-2", 7, 1769903999, "v", 100, "crc64nvme:AAA=" },
      { object.etag, object.size, object.modified, object.version, object.total, object.checksum })
    assert.is_true(headers.object({ etag = '"a"' }, 304).unchanged)
  end)
end)

describe("bodies", function()
  it("escape what XML would lose", function()
    assert.matches('<Key>a&amp;&lt;&gt;&quot;&#13;&#10;ü</Key><VersionId>v</VersionId>',
      bodies.delete { { key = 'a&<>"\r\nü', version = "v" } }, 1, true)
    assert.matches("<TagSet><Tag><Key>a</Key><Value>1</Value></Tag><Tag><Key>b</Key><Value>&lt;</Value></Tag></TagSet>",
      bodies.tags { b = "<", a = "1" }, 1, true)
    assert.matches("<Part><PartNumber>1</PartNumber><ETag>&quot;e&quot;</ETag></Part>",
      bodies.complete { { number = 1, etag = "e" } }, 1, true)
  end)

  it("know what XML can't say at all", function()
    for _, key in ipairs { "a\1", "a\0", "\xff", "\xEF\xBF\xBF" } do assert.is_false(bodies.can_hold(key)) end
    for _, key in ipairs { "a", "a\n\t\r", "ü€😀", "a//b" } do assert.is_true(bodies.can_hold(key)) end
  end)
end)

describe("base64", function()
  local decode = require "appliance.s3.base64".decode
  it("is read, or refused", function()
    for text, bytes in pairs { [""] = "", ["YQ=="] = "a", ["YWI="] = "ab", ["YWJj"] = "abc", ["AP+/\nAA=="] = "\0\xff\xbf\0" } do
      assert.equal(bytes, decode(text))
    end
    for _, text in ipairs { "YQ", "Y===", "YQ=a", "Y!==" } do assert.is_nil(decode(text)) end
  end)
end)

describe("a key as a file", function()
  it("stays below its directory", function()
    for _, key in ipairs { "a", "a/b", "..a/b..", "a b", "*", "ü" } do assert.equal(key, (names.path(key))) end
    local faults = {
      [""] = "nothing is left", ["../x"] = "leave the directory", ["a/../../x"] = "leave the directory", [".."] = "leave the directory",
      ["a/.."] = "leave the directory", ["/etc/passwd"] = "absolute", ["a//b"] = "empty part", ["./a"] = "a part %.",
      ["a/./b"] = "a part %.",
      ["a\0b"] = "NUL",
    }
    for key, sentence in pairs(faults) do
      local path, why = names.path(key)
      assert.is_nil(path)
      assert.matches(sentence, why)
    end
  end)

  it("is the only one, where A is a", function()
    local taken = {}
    assert.is_nil(names.claim(taken, "Read.me", true))
    assert.matches("that of Read.me", names.claim(taken, "read.ME", true))
    assert.is_nil(names.claim(taken, "Read.me", true))
    assert.is_nil(names.claim({ ["Read.me"] = "Read.me" }, "read.ME", false))
  end)
end)

describe("--exclude and --include", function()
  it("are obeyed in their order, the last that fits", function()
    local wanted = names.filter { { "exclude", "*" }, { "include", "*.txt" }, { "exclude", "b/[!a-c].txt" }, { "include", "?.md" } }
    for path, is in pairs { ["a/x.txt"] = true, ["a.bin"] = false, ["b/a.txt"] = true, ["b/d.txt"] = false, ["ü.md"] = true,
      ["ab.md"] = false } do
      assert.equal(is, wanted(path))
    end
    assert.is_true(names.filter(nil) "anything")
    assert.is_true(names.filter { { "exclude", "a.b(%" } } "axb(%")
    assert.is_false(names.filter { { "exclude", "a.b(%-[]" } } "a.b(%-[]")
  end)
end)

describe("a sync", function()
  local function walk(list)
    local i = 0
    return function()
      i = i + 1
      return list[i]
    end
  end

  local function decide(source, target, how)
    local out = {}
    for step in sync.steps(walk(source), walk(target), how or {}) do
      local entry = step.source or step.target or step.entry
      out[#out + 1] = table.concat({ step.what, entry.path, step.why }, " ")
    end
    return out
  end

  local function entry(path, size, modified) return { path = path, size = size or 1, modified = modified or 100 } end

  it("copies what is missing, has another size or is newer", function()
    assert.same({ "copy a missing", "copy c size", "copy d newer" }, decide(
      { entry "a", entry "b", entry("c", 2), entry("d", 1, 200), entry("e", 1, 50) },
      { entry "b", entry "c", entry "d", entry "e", entry "f" }))
  end)

  it("deletes when asked, and only then", function()
    local source, target = { entry "b" }, { entry "a", entry "b", entry "c" }
    assert.same({}, decide(source, target))
    assert.same({ "delete a", "delete c" }, decide(source, target, { delete = true }))
  end)

  it("deletes nothing when the source has nothing", function()
    assert.same({ "failed " }, decide({}, { entry "a", entry "b" }, { delete = true, empty = "there is nothing" }))
    assert.same({}, decide({}, {}, { delete = true, empty = "there is nothing" }))
    assert.same({}, decide({}, { entry "a" }))
  end)

  it("deletes nothing once it can't see the whole source", function()
    assert.same({ "delete a", "failed m/" }, decide({ entry "b", { path = "m/", failure = "denied" } },
      { entry "a", entry "b", entry "m/x", entry "z" }, { delete = true }))
  end)

  it("compares as it is told", function()
    local source, target = { entry("a", 1, 50.7), entry("b", 1, 200) }, { entry("a", 1, 100), entry("b", 1, 100) }
    assert.same({}, decide(source, target, { size_only = true }))
    assert.same({ "copy a time", "copy b newer" }, { decide(source, target, { exact_timestamps = true })[1], decide(source, target)[1] })
    assert.is_nil(sync.differs(entry("a", 1, 100.9), entry("a", 1, 100), {}))
  end)

  it("tells what it can't see of the target, and goes on", function()
    assert.same({ "failed x", "copy b missing" }, decide({ entry "b" }, { { path = "x", failure = "no file" } }, { delete = true }))
  end)
end)

describe("the parts of a copy", function()
  local copy = require "appliance.s3.copy"
  it("cover it without a gap, and are 10,000 at most", function()
    assert.same({ { number = 1, first = 0, last = 4 }, { number = 2, first = 5, last = 9 }, { number = 3, first = 10, last = 10 } },
      copy.parts(11, 5))
    local parts = copy.parts(48 << 40)
    assert.is_true(#parts <= 10000)
    assert.equal((48 << 40) - 1, parts[#parts].last)
  end)
end)

describe("the line of progress", function()
  local line = require "appliance.cli.s3.progress".line
  it("has bytes, a bar, the rate and the time left", function()
    assert.equal("1.0 MiB of 4.0 MiB [=====>              ] 2.0 MiB/s, 1.5 s left",
      line { done = 1 << 20, total = 4 << 20, rate = 2 << 20, files = 1, ended = 0 })
    assert.equal("0 B of ~0 B [>                   ], 0 of ~2 files",
      line { done = 0, total = 0, growing = true, files = 2, ended = 0 })
    assert.equal("4.0 MiB of 4.0 MiB [====================] 2.0 MiB/s, 3 of 3 files",
      line { done = 4 << 20, total = 4 << 20, rate = 2 << 20, files = 3, ended = 3 })
    assert.equal("1.0 KiB 1.0 KiB/s", line { done = 1024, rate = 1024, files = 1, ended = 0 })
  end)
end)

describe("the s3 command", function()
  local function run(...)
    local out = { "", "" }
    local term = require "appliance.cli.terminal".new {
      write = function(fd, text)
        out[fd] = out[fd] .. text
        return true
      end,
      isatty = function() return false end, environ = {},
    }
    return require "appliance.cli".run_with(term, "s3", ...), out[1], out[2]
  end

  it("helps with each of its commands", function()
    local code, text = run "--help"
    assert.equal(0, code)
    for name in ("ls cat cp mv rm sync presign stat"):gmatch "%S+" do
      assert.matches("\n  " .. name .. " ", text)
      local help_code, help = run(name, "--help")
      assert.equal(0, help_code)
      assert.matches("^usage: spark%-appliance s3 " .. name, help)
      assert.matches("--endpoint-url", help, 1, true)
      for _, line in ipairs { help:match "[^\n]+" } do assert.is_true(#line <= 140, line) end
    end
  end)

  it("says what is wrong with its words", function()
    local faults = {
      { { "lss" }, 'there is no lss, did you mean "ls"%?' }, { { "cp", "a" }, "something is missing" },
      { { "cat" }, "something is missing" }, { { "cp", "a", "b", "c" }, '"c" is too much' },
      { { "cp", "a", "b" }, "one of the two must be in S3" }, { { "mv", "s3://bkt/a", "-" }, "what is moved must have a name" },
      { { "cp", "-r", "-", "s3://bkt/a" }, "%- is one object" }, { { "cp", "s3://bkt", "x" }, "the source is a bucket" },
      { { "cp", "-r", "s3://bkt/a", "s3://bkt/a/b" }, "inside the source" }, { { "rm", "s3://bkt" }, "%-r deletes all that is in it" },
      { { "sync", "a", "b" }, "one of the two must be in S3" }, { { "presign", "--expires", "8d", "s3://bkt/k" }, "7 days" },
      { { "presign", "--method", "POST", "s3://bkt/k" }, "GET, PUT, HEAD or DELETE" },
      { { "cp", "--metadata", "x", "a", "s3://bkt/k" }, "NAME=VALUE" },
      { { "cp", "--sse", "xor", "a", "s3://bkt/k" }, "AES256 or aws:kms" },
      { { "cat", "--range", "x", "s3://bkt/k" }, "FIRST%-LAST" }, { { "ls", "--nonsense" }, "unknown option" },
      { { "cp", "--part-size", "x", "a", "s3://bkt/k" }, "%-%-part%-size" }, { { "rm", "x" }, "begins with s3://" },
      { { "cp", "--part-size", "1m", "a", "s3://bkt/k" }, "%-%-part%-size 1m" },
      { { "cp", "--metadata-directive", "MERGE", "s3://bkt/a", "s3://bkt/k" }, "COPY or REPLACE" },
      { { "cp", "--sse-c", "/nonexistent", "a", "s3://bkt/k" }, "nonexistent" },
    }
    for _, fault in ipairs(faults) do
      local code, out, err = run(table.unpack(fault[1]))
      assert.equal(64, code, table.concat(fault[1], " "))
      assert.equal("", out)
      assert.matches(fault[2], err)
    end
  end)
end)
