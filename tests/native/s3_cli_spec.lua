-- `spark-appliance s3` against tests/support/fault_s3.py: a server that checks signatures and fails as it is told.
local http = require "appliance.http"
local json = require "appliance.json"
local parts = require "aws_parts"
local task = require "appliance.task"

describe("spark-appliance s3 and a server that fails", function()
  local server, base, directory, env

  local function told(method, what, text)
    return assert(http.request { url = base .. "/-/" .. what, method = method, body = text, no_proxy = true }).body
  end

  local function steps(...) told("PUT", "steps", json.encode(json.array { ... })) end

  local function seen(method, path)
    local count = 0
    for _, request in ipairs(json.decode(told("GET", "log"))) do
      if request.method == method and request.path == path then count = count + 1 end
    end
    return count
  end

  local function s3(...)
    local ran = parts.run({ os.getenv "APPLIANCE", "s3", ... }, { env = env })
    return ran.code, ran.out, ran.err
  end

  local function write(name, text)
    local file <close> = assert(io.open(directory .. "/" .. name, "wb"))
    file:write(text)
  end

  local function here() return parts.run({ "ls", "-A", directory }, {}).out end

  -- Starts the command, and interrupts it when `ready` says so -> its exit code, what it said
  local function interrupted(ready, ...)
    local words = {}
    for i, word in ipairs { os.getenv "APPLIANCE", "s3", ... } do words[i] = "'" .. word .. "'" end
    local vars = {}
    for name, value in pairs(env) do vars[#vars + 1] = ("%s='%s'"):format(name, value) end
    local pipe = assert(io.popen(("env %s %s 2>&1 & echo $!; wait $!; echo \"=$?\""):format(table.concat(vars, " "),
      table.concat(words, " "))))
    local pid = pipe:read "l"
    for _ = 1, 1000 do
      if ready() then break end
      task.sleep(0.02)
    end
    os.execute("kill -INT " .. pid)
    local text = pipe:read "a"
    pipe:close()
    local said, code = text:match "^(.*)=(%d+)\n$"
    return tonumber(code), said
  end

  setup(function()
    server = assert(io.popen("exec python3 -IS tests/support/fault_s3.py --stay", "r"))
    base = "http://127.0.0.1:" .. server:read("l"):match("^plain (%d+)")
    env = { AWS_ACCESS_KEY_ID = "test", AWS_SECRET_ACCESS_KEY = "secret", AWS_REGION = "us-east-1", AWS_ENDPOINT_URL = base,
      AWS_EC2_METADATA_DISABLED = "true", HOME = "/nonexistent" }
  end)

  teardown(function()
    told("PUT", "quit")
    server:close()
  end)

  before_each(function()
    told("DELETE", "")
    directory = parts.path ".d"
    os.execute("mkdir " .. directory)
  end)

  after_each(function() os.execute("rm -r " .. directory) end)

  it("does the rest when one of many fails, and tells that one", function()
    for _, name in ipairs { "a", "b", "c" } do
      write(name, name)
      told("PUT", "object/bkt/p/" .. name, name)
    end
    steps { on = "GET /bkt/p/b", times = 10, status = 403, code = "AccessDenied" }
    local code, out, err = s3("cp", "-r", "s3://bkt/p", directory .. "/to")
    assert.equal(1, code)
    assert.equal(2, select(2, out:gsub("download: ", "")))
    assert.matches("^download failed: s3://bkt/p/b to .*/to/b: s3://bkt/p/b: access denied %(403 AccessDenied%)", err)
    assert.equal("a\nc\n", parts.run({ "ls", "-A", directory .. "/to" }, {}).out)
    steps { on = "PUT /bkt/up/b", times = 10, status = 403, code = "AccessDenied" }
    code, out, err = s3("cp", "-r", directory .. "/", "s3://bkt/up")
    assert.equal(1, code)
    assert.equal(4, select(2, out:gsub("upload: ", "")))                 -- a, c, to/a, to/c
    assert.matches("^upload failed: .*/b to s3://bkt/up/b: ", err)
  end)

  it("keeps the source of a move that failed", function()
    write("a", "text")
    steps { on = "PUT /bkt/a", times = 10, status = 403, code = "AccessDenied" }
    local code, _, err = s3("mv", directory .. "/a", "s3://bkt/a")
    assert.equal(1, code)
    assert.matches("^move failed: ", err)
    assert.equal("a\n", here())
  end)

  it("stops deleting in a sync whose listing breaks off", function()
    for i = 1, 5 do told("PUT", "object/bkt/src/" .. i, "x") end
    told("PUT", "set", json.encode { page = 2 })
    os.execute("mkdir " .. directory .. "/t")
    write("t/1x", "only here, before the place where it breaks off")
    write("t/9", "only here, behind it")
    steps({ on = "GET /bkt", times = 1, late = 0 }, { on = "GET /bkt", times = 1, status = 403, code = "AccessDenied" })
    local code, out, err = s3("sync", "--delete", "s3://bkt/src", directory .. "/t")
    assert.equal(1, code)
    assert.matches("access denied", err)
    assert.matches("delete: .*/t/1x", out)
    assert.is_nil(out:find("/t/9", 1, true))
    assert.equal("1\n2\n9\n", parts.run({ "ls", "-A", directory .. "/t" }, {}).out)
  end)

  it("takes an error inside a 200 for an error, and tries the copy again", function()
    told("PUT", "object/bkt/from", "text")
    steps { on = "PUT /bkt/to", times = 1, status = 200, code = "InternalError" }
    assert.equal(0, (s3("cp", "s3://bkt/from", "s3://bkt/to")))
    assert.equal(2, seen("PUT", "/bkt/to"))
    assert.equal("text", told("GET", "object/bkt/to"))
  end)

  it("tells each key of a batch that is still there", function()
    told("PUT", "object/bkt/p/a", "x")
    told("PUT", "object/bkt/p/b", "x")
    steps { on = "POST /bkt", status = 200, headers = { ["Content-Type"] = "application/xml" },
      body = "<DeleteResult><Error><Key>p/b</Key><Code>AccessDenied</Code><Message>Access Denied</Message></Error></DeleteResult>" }
    local code, out, err = s3("rm", "-r", "s3://bkt/p")
    assert.same({ 1, "delete: s3://bkt/p/a\n", "s3://bkt/p/b: not deleted: Access Denied\n" }, { code, out, err })
  end)

  it("leaves no file when a download is interrupted, nor of one that breaks off", function()
    told("PUT", "object/bkt/big", ("x"):rep(3 << 20))
    write("big", "what was there before")
    steps { on = "GET /bkt/big", times = 20, stall = 1 << 20 }
    local code, said = interrupted(function() return seen("GET", "/bkt/big") > 0 end, "cp", "s3://bkt/big", directory .. "/big")
    assert.same({ 130, "" }, { code, said })
    assert.equal("big\n", here())
    local file <close> = assert(io.open(directory .. "/big"))
    assert.equal("what was there before", file:read "a")
  end)

  it("makes URLs that a server takes, for as long as they say", function()
    told("PUT", "object/bkt/a+b%20c", "text")
    local _, url = s3("presign", "s3://bkt/a+b c")
    assert.equal("text", assert(http.request { url = url:gsub("\n", ""), no_proxy = true }).body)
    _, url = s3("presign", "--method", "PUT", "--expires", "10min", "s3://bkt/new")
    assert.equal(200, assert(http.request { url = url:gsub("\n", ""), method = "PUT", body = "by url", no_proxy = true }).status)
    assert.equal("by url", told("GET", "object/bkt/new"))
    _, url = s3("presign", "s3://bkt/new")
    assert.equal(403, assert(http.request { url = url:gsub("/new", "/old"):gsub("\n", ""), no_proxy = true }).status)
  end)

  it("says who is not known, and asks nobody without keys", function()
    env.AWS_SECRET_ACCESS_KEY = "wrong"
    local code, _, err = s3("cat", "s3://bkt/a")
    env.AWS_SECRET_ACCESS_KEY = "secret"
    assert.equal(1, code)
    assert.matches("SignatureDoesNotMatch", err)
    env.AWS_ACCESS_KEY_ID = nil
    code, _, err = s3("cat", "s3://bkt/a")
    env.AWS_ACCESS_KEY_ID = "test"
    assert.equal(1, code)
    assert.matches("^s3://bkt/a: ", err)
  end)
end)
