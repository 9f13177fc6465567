-- `spark-appliance s3` as people use it, against moto, which checks every signature.
local awkward = require "awkward_keys"
local json = require "appliance.json"
local parts = require "aws_parts"

describe("spark-appliance s3", function()
  local moto, directory

  -- -> code, stdout, stderr
  local function s3(...)
    local ran = parts.run({ os.getenv "APPLIANCE", "s3", ... }, { env = moto.env })
    return ran.code, ran.out, ran.err
  end

  local function must(...)
    local code, out, err = s3(...)
    if code ~= 0 then error(("%s ended with %d:\n%s%s"):format(table.concat({ ... }, " "), code, out, err), 2) end
    assert.equal("", err)
    return out
  end

  local function write(name, text)
    os.execute("mkdir -p '" .. (directory .. "/" .. name):match "^(.*)/" .. "'")
    local file <close> = assert(io.open(directory .. "/" .. name, "wb"))
    file:write(text)
  end

  local function read(name)
    local file <close> = io.open(directory .. "/" .. name, "rb")
    return file and file:read "a"
  end

  local function lines(text)
    local list = {}
    for line in text:gmatch "[^\n]+" do list[#list + 1] = line end
    table.sort(list)
    return list
  end

  local function in_bucket(bucket)
    local keys = {}
    for line in must("ls", "-r", "--json", "s3://" .. bucket):gmatch "[^\n]+" do keys[#keys + 1] = json.decode(line).key end
    table.sort(keys)
    return keys
  end

  setup(function()
    moto = parts.moto { auth = true }
    directory = parts.path ".d"
    os.execute("mkdir " .. directory)
    parts.boto(moto, 'for bucket in ("one", "tree", "copy", "keys", "synced", "gone", "odd"): s3.create_bucket(Bucket=bucket)')
  end)

  teardown(function()
    moto:close()
    os.execute("rm -rf " .. directory)
  end)

  it("copies a file there and back, and shows it", function()
    write("file.txt", "hello\n")
    local path = directory .. "/file.txt"
    assert.equal(("upload: %s to s3://one/file.txt\n"):format(path), must("cp", path, "s3://one"))
    must("cp", "--quiet", "--metadata", "a=1,b=2", "--metadata", "c=3", "--content-type", "x/y", path, "s3://one/dir/other name")
    assert.equal("hello\n", must("cat", "s3://one/file.txt"))
    assert.equal("hello\nhello\n", must("cat", "s3://one/file.txt", "s3://one/dir/other name"))
    assert.equal("ell", must("cat", "--range", "1-3", "s3://one/file.txt"))
    assert.matches("^%d+%-%d+%-%d+ %d+:%d+:%d+          6 file.txt\n$", must("ls", "s3://one/file"))
    assert.matches("^                           PRE dir/\n%d.* file.txt\n$", must("ls", "s3://one/"))
    assert.matches("6 Bytes dir/other name\n.*Total Objects: 2\n   Total Size: 12 Bytes\n$",
      must("ls", "-r", "--human-readable", "--summarize", "one"))
    assert.matches("^%d+%-%d+%-%d+ %d+:%d+:%d+ one\n", must "ls")
    local stat = json.decode(must("stat", "--json", "s3://one/dir/other name"))
    assert.same({ 6, "x/y", { a = "1", b = "2", c = "3" } }, { stat.size, stat.content_type, stat.metadata })
    assert.equal("text/plain", json.decode(must("stat", "--json", "s3://one/file.txt")).content_type)
    assert.matches("\nSize +6 %(6 B%)\n", must("stat", "s3://one/file.txt"))
    must("cp", "s3://one/dir/other name", directory .. "/back/again")
    assert.equal("hello\n", read "back/again")
    must("cp", "s3://one/file.txt", directory .. "/back")
    assert.equal("hello\n", read "back/file.txt")
  end)

  it("copies from stdin and to stdout", function()
    local text = ("0123456789abcdef"):rep(100000)
    local ran = parts.run({ os.getenv "APPLIANCE", "s3", "cp", "-", "s3://one/piped" }, { env = moto.env, stdin = text })
    assert.same({ 0, "" }, { ran.code, ran.err })
    assert.equal(text, must("cp", "s3://one/piped", "-"))
    assert.equal(#text, json.decode(must("stat", "--json", "s3://one/piped")).size)
  end)

  it("tells what failed, does the rest, and leaves no half of a file", function()
    local _
    local code, out, err = s3("cat", "s3://one/missing", "s3://one/file.txt")
    assert.same({ 1, "hello\n" }, { code, out })
    assert.matches("^s3://one/missing: .*404", err)
    code, _, err = s3("cp", "s3://one/missing", directory .. "/not/there")
    assert.equal(1, code)
    assert.matches("^download failed: s3://one/missing to ", err)
    assert.is_nil(read "not/there")
    assert.equal("", parts.run({ "find", directory .. "/not", "-type", "f" }, {}).out)
    code, _, err = s3("cp", directory .. "/none", "s3://one/x")
    assert.equal(1, code)
    assert.matches("none: .*[Nn]o such file", err)
    code, _, err = s3("ls", "s3://nobody-has-this")
    assert.equal(1, code)
    assert.matches("NoSuchBucket", err)
    assert.equal(1, (s3("ls", "s3://one/nothing/begins/so")))
    assert.equal(1, (s3("stat", "s3://one/missing")))
    code, _, err = s3("cp", directory, "s3://one/x")
    assert.equal(64, code)
    assert.matches("is a directory: %-r", err)
    code, _, err = s3("cp", "--if-none-match", directory .. "/file.txt", "s3://one/")
    assert.equal(1, code)
    assert.matches("412", err)
    code, out = s3("cp", "--json", "s3://one/missing", directory .. "/x")
    assert.equal(1, code)
    assert.matches('"action":"download"', out, 1, true)
    assert.matches("404", json.decode(out).error)
  end)

  it("copies, moves and deletes whole trees", function()
    for i = 1, 150 do write(("tree/%d/%03d"):format(i % 7, i), ("x"):rep(i)) end
    assert.equal(150, #lines(must("cp", "-r", directory .. "/tree", "s3://tree/a")))
    assert.equal(150, #in_bucket "tree")
    assert.equal(150, #lines(must("cp", "-r", "s3://tree/a", "s3://copy/b/")))
    must("cp", "-r", "--quiet", "--jobs", "5", "s3://copy/b", directory .. "/again")
    assert.equal("", parts.run({ "diff", "-r", directory .. "/tree", directory .. "/again" }, {}).out)
    assert.equal(22, #lines(must("rm", "-r", "--dry-run", "--exclude", "*", "--include", "1/*", "s3://copy/b")))
    assert.equal(150, #in_bucket "copy")
    assert.equal(22, #lines(must("rm", "-r", "--exclude", "*", "--include", "1/*", "s3://copy/b")))
    assert.equal(128, #lines(must("mv", "-r", "s3://copy/b", "s3://copy/c")))
    assert.equal(128, #in_bucket "copy")
    must("mv", directory .. "/again/1/001", "s3://copy/moved")
    assert.is_nil(read "again/1/001")
    must("mv", "s3://copy/moved", directory .. "/moved")
    assert.equal("x", read "moved")
    assert.equal(128, #lines(must("rm", "-r", "s3://copy/")))
    assert.same({}, in_bucket "copy")
  end)

  it("carries every key from bucket to bucket, and lists and deletes it", function()
    parts.boto(moto, [=[
for key in json.loads(args[0]): s3.put_object(Bucket="keys", Key=key, Body=key.encode())
]=], { json.encode(awkward) })
    must("cp", "-r", "--quiet", "s3://keys/", "s3://odd/")
    assert.equal("well", parts.boto(moto, [=[
keys = json.loads(args[0])
for key in keys: assert s3.get_object(Bucket="odd", Key=key)["Body"].read() == key.encode(), key
print("well")
]=], { json.encode(awkward) }))
    local sorted = table.move(awkward, 1, #awkward, 1, {})
    table.sort(sorted)
    assert.same(sorted, in_bucket "odd")
    for _, key in ipairs(awkward) do
      if not key:find("versionId", 1, true) then assert.equal(key, must("cat", "s3://odd/" .. key)) end
    end
    must("rm", "-r", "--quiet", "s3://odd/")
    assert.same({}, in_bucket "odd")
  end)

  it("writes no key outside the directory, and tells each that no file can have", function()
    local code, out, err = s3("cp", "-r", "s3://keys/", directory .. "/safe")
    assert.equal(1, code)
    local bad = 0
    for _, key in ipairs(awkward) do
      local path = require "appliance.s3.names".path(key)
      if not path or key:sub(-1) == "/" then bad = bad + 1 end
    end
    assert.equal(bad, select(2, err:gsub("refused: ", "")))
    assert.matches("s3://keys/%.%./up: refused: the key would leave the directory by its %.%.", err)
    assert.equal(#awkward - bad, select(2, out:gsub("download: ", "")))
    for _, key in ipairs(awkward) do
      if require "appliance.s3.names".path(key) and key:sub(-1) ~= "/" then assert.equal(key, read("safe/" .. key)) end
    end
    assert.is_nil(read "up")
    assert.is_nil(read "safe/lead")
  end)

  it("syncs both ways, and only what changed", function()
    for _, name in ipairs { "a", "b/c", "b/d", "b.txt" } do write("source/" .. name, name) end
    local from, to = directory .. "/source", "s3://synced/at"
    assert.equal(4, #lines(must("sync", "--dry-run", from, to)))
    assert.same({}, in_bucket "synced")
    assert.equal(4, #lines(must("sync", from, to)))
    assert.equal("", must("sync", from, to))
    write("source/b/c", "other size")
    os.remove(from .. "/a")
    assert.same({ ("upload: %s/b/c to %s/b/c"):format(from, to) }, lines(must("sync", from, to)))
    assert.same({ ("delete: %s/a"):format(to) }, lines(must("sync", "--delete", from, to)))
    -- Files that come from S3 have the time of their object, so that all is the same on both sides.
    local back = directory .. "/back-again"
    assert.equal(3, #lines(must("sync", to, back)))
    assert.equal("", parts.run({ "diff", "-r", from, back }, {}).out)
    assert.equal("", must("sync", "--exact-timestamps", to, back))
    assert.equal("", must("sync", back, to))
    write("back-again/more", "x")
    assert.same({ ("delete: %s/more"):format(back) }, lines(must("sync", "--delete", to, back)))
    assert.is_nil(read "back-again/more")
    assert.equal(3, #lines(must("sync", to, "s3://synced/twin")))
    assert.equal("", must("sync", to, "s3://synced/twin"))
    local code, _, err = s3("sync", directory .. "/nowhere", to)
    assert.equal(1, code)
    assert.matches("nowhere", err)
  end)

  it("empties nothing for a source that is not there", function()
    local kept = directory .. "/kept"
    write("kept/one", "1")
    local code, out, err = s3("sync", "--delete", "s3://synced/no-such", kept)
    assert.same({ 1, "" }, { code, out })
    assert.matches("s3://synced/no%-such/: there is nothing, and %-%-delete would empty ", err)
    assert.equal("1", io.lines(kept .. "/one")())
  end)

  it("deletes nothing when it can't see the whole source", function()
    write("blind/x/1", "1")
    write("blind/y", "2")
    must("sync", "--quiet", directory .. "/blind", "s3://gone/")
    os.execute(("rm -r '%s/blind/x' && ln -s nowhere '%s/blind/x'"):format(directory, directory))
    local code, out, err = s3("sync", "--delete", directory .. "/blind", "s3://gone/")
    assert.same({ 1, "" }, { code, out })
    assert.matches("blind/x", err)
    assert.same({ "x/1", "y" }, in_bucket "gone")
  end)

  it("gives up what it has begun when it is interrupted", function()
    assert.same("130 0 ''", parts.boto(moto, [[
import signal, subprocess, time
run = subprocess.Popen([os.environ["APPLIANCE"], "s3", "cp", "-", "s3://gone/broken"], stdin=subprocess.PIPE, stderr=subprocess.PIPE)
run.stdin.write(bytes(24 << 20))
run.stdin.flush()
for _ in range(300):
    if s3.list_multipart_uploads(Bucket="gone").get("Uploads"): break
    time.sleep(0.05)
else: sys.exit("no upload was begun")
run.send_signal(signal.SIGINT)
said = run.stderr.read().decode()
print(run.wait(), len(s3.list_multipart_uploads(Bucket="gone").get("Uploads", [])), repr(said))
]]))
  end)

  it("shows how far it is on a terminal, and nothing of it elsewhere", function()
    local said = parts.boto(moto, [[
import pty, subprocess
master, slave = pty.openpty()
run = subprocess.Popen([os.environ["APPLIANCE"], "s3", "cp", "-", "s3://gone/seen"], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                       stderr=slave, env=dict(os.environ, TERM="xterm"))
os.close(slave)
run.stdin.write(bytes(12 << 20))
run.stdin.flush()
text = b""
while b"/s" not in text: text += os.read(master, 65536)
run.stdin.close()
said = run.stdout.read()
print(json.dumps([run.wait(), text.decode(), said.decode()]))
]])
    local code, line, out = table.unpack(json.decode(said))
    assert.same({ 0, "upload: - to s3://gone/seen\n" }, { code, out })
    assert.matches("\r\27%[K[%d.]+ [KMG]?i?B [%d.]+ [KMG]?i?B/s", line)
  end)

  it("carries files of awkward names", function()
    local names = { "a b", "a+b", "a*b?[c]", "100%2F", "ü", "日本語", "tab\there", "ctl\1\127",
      "=;:@,$&'\"<>", " blanks ", "\\back", "..dots.." }
    for _, name in ipairs(names) do
      local file <close> = assert(io.open(directory .. "/" .. name, "wb"))
      file:write(name)
    end
    os.execute(("mkdir '%s/awkward' && cd '%s' && mv -- %s awkward/"):format(directory, directory, (function()
      local quoted = {}
      for i, name in ipairs(names) do quoted[i] = "'./" .. name:gsub("'", "'\\''") .. "'" end
      return table.concat(quoted, " ")
    end)()))
    must("cp", "-r", "--quiet", directory .. "/awkward", "s3://gone/awk")
    assert.equal("well", parts.boto(moto, [=[
for name in json.loads(args[0]): assert s3.get_object(Bucket="gone", Key="awk/" + name)["Body"].read() == name.encode(), name
print("well")
]=], { json.encode(names) }))
    must("cp", "-r", "--quiet", "s3://gone/awk", directory .. "/awkward-back")
    assert.equal("", parts.run({ "diff", "-r", directory .. "/awkward", directory .. "/awkward-back" }, {}).out)
    assert.equal("", must("sync", "--delete", "s3://gone/awk", directory .. "/awkward-back"))
  end)

  it("says why it leaves out what is no file, and goes on", function()
    write("mixed/file", "x")
    os.execute(("cd '%s/mixed' && mkfifo pipe && ln -s nowhere link"):format(directory))
    local code, out, err = s3("cp", "-r", directory .. "/mixed", "s3://gone/mixed")
    assert.equal(1, code)
    assert.matches("mixed/link: a link to what is not there", err, 1, true)
    assert.matches("mixed/pipe: this is a pipe or a device, and only files are copied", err, 1, true)
    assert.matches("to s3://gone/mixed/file\n", out, 1, true)
    must("cp", "-r", "--quiet", "--exclude", "pipe", "--exclude", "link", directory .. "/mixed", "s3://gone/mixed")
    must("sync", "--quiet", "--exclude", "pipe", "--exclude", "link", directory .. "/mixed", "s3://gone/mixed2")
  end)

  it("refuses an endpoint that is none, without asking anybody", function()
    for url, why in pairs { minio = "must begin with https:// or http://", ["http://h:99999"] = "port" } do
      local code, _, err = s3("ls", "--endpoint-url", url, "s3://one")
      assert.equal(64, code)
      assert.matches(("spark-appliance s3 ls: --endpoint-url: endpoint '%s': "):format(url), err, 1, true)
      assert.matches(why, err, 1, true)
      assert.is_nil(err:find("traceback", 1, true))
    end
  end)

  it("makes URLs", function()
    -- moto can't check these: s3_verbs_spec.lua holds them against botocore's.
    assert.matches("^http://127.0.0.1:%d+/one/file%.txt%?.*X%-Amz%-Expires=120&.*\n$",
      must("presign", "--expires", "2min", "s3://one/file.txt"))
  end)

  it("ends quietly when nobody reads", function()
    local ran = parts.run({ "sh", "-c", "{ $APPLIANCE s3 cat s3://one/piped; echo $? >&2; } | head -c 10" }, { env = moto.env })
    assert.same({ "0123456789", "0\n" }, { ran.out, ran.err })
    ran = parts.run({ "sh", "-c", "{ $APPLIANCE s3 ls -r s3://tree; echo $? >&2; } | head -n 1" }, { env = moto.env })
    assert.matches("^[^\n]+\n$", ran.out)
    assert.equal("0\n", ran.err)
  end)
end)
