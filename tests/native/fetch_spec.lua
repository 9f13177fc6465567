-- appliance.fetch against tests/support/file_server.py and fault_server.py.
local address = require "appliance.fetch.address"
local digest = require "appliance.native.aws".digest
local fetch = require "appliance.fetch"
local file = require "appliance.core.file"
local file_server = require "file_server"
local task = require "appliance.task"

local HELLO <const> = "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824"  -- of "hello"

describe("fetching", function()
  local server, home

  setup(function() server = file_server.start() end)
  teardown(function() server:__close() end)
  before_each(function()
    home = os.tmpname()
    os.remove(home)
    server:asked()
  end)
  after_each(function() file.remove_tree(home) end)

  local function to(name) return home .. "/fetched/" .. name end
  local function state() return { state_dir = home } end

  --- Every file below home that is no record.
  local function there()
    local names, pipe = {}, assert(io.popen(("find %s -type f ! -path '*/.known/*' 2>/dev/null | sort"):format(home)))
    for name in pipe:lines() do names[#names + 1] = name:sub(#home + 2) end
    pipe:close()
    return names
  end

  local function texts(faults)
    local list = {}
    for i, fault in ipairs(faults) do list[i] = tostring(fault) end
    return list
  end

  it("brings files from the web and from the disk, with their modes", function()
    server:put("/a.jar", "hello")
    assert(file.make_dirs(home))
    assert(file.replace(home .. "/source", "from the disk", 420, false))
    local ok, report = fetch.all({
      { from = server.base .. "/a.jar", to = to "jars/a.jar", sha256 = HELLO:upper() },
      { from = "file://" .. home .. "/source", to = to "b", mode = 384 },
      { from = home .. "/source", to = to "c" },
    }, state())
    assert.is_true(ok)
    assert.equal(5, report[to "jars/a.jar"].size)
    assert.equal("hello", file.read(to "jars/a.jar"))
    assert.equal("from the disk", file.read(to "b"))
    assert.same({ 420, 384, 420 }, { file.stat(to "jars/a.jar").mode, file.stat(to "b").mode, file.stat(to "c").mode })
    assert.same({ "fetched/b", "fetched/c", "fetched/jars/a.jar", "source" }, there())
  end)

  it("does not fetch again what is the same, and asks not even that when the hash is given", function()
    server:put("/a", "hello")
    server:put("/hashed", "hello")
    server:put("/untagged", "hello", { ["X-Plain"] = "1" })
    local list = { { from = server.base .. "/a", to = to "a" }, { from = server.base .. "/hashed", to = to "hashed", sha256 = HELLO },
                   { from = server.base .. "/untagged", to = to "untagged" } }
    assert(fetch.all(list, state()))
    local first = server:asked()
    table.sort(first)
    assert.same({ "GET /a 200", "GET /hashed 200", "GET /untagged 200" }, first)
    local _, report = assert(fetch.all(list, state()))
    local second = server:asked()
    table.sort(second)
    assert.same({ "GET /a 304", "GET /untagged 200" }, second)
    assert.is_true(report[to "a"].kept)
    assert.is_nil(report[to "untagged"].kept)
  end)

  it("fetches again what is another version, what somebody changed here, and what comes from elsewhere", function()
    server:put("/a", "hello")
    local entry = { from = server.base .. "/a", to = to "a" }
    assert(fetch.all({ entry }, state()))
    server:put("/a", "other")
    assert(fetch.all({ entry }, state()))
    assert.equal("other", file.read(to "a"))
    assert(file.replace(to "a", "mine, and longer", 420, false))
    assert(fetch.all({ entry }, state()))
    assert.equal("other", file.read(to "a"))
    server:put("/b", "elsewhere")
    assert(fetch.all({ { from = server.base .. "/b", to = to "a" } }, state()))
    assert.equal("elsewhere", file.read(to "a"))
  end)

  it("puts nothing in its place when one of them can't be had, and tells of all that can't", function()
    server:put("/good", "good")
    server:put("/changed", "other")
    server:put("/secret", "x", { ["X-User"] = "me:word" })
    local base = server.base
    local ok, faults = fetch.all({
      { from = base .. "/good", to = to "good" }, { from = base .. "/none", to = to "none", name = "EXT_JARS" },
      { from = base .. "/changed", to = to "changed", sha256 = HELLO }, { from = base .. "/secret", to = to "secret" },
      { from = "/there/is/no/such", to = to "disk" }, { from = home, to = to "folder" },
    }, state())
    assert.is_nil(ok)
    assert.same({
      "EXT_JARS " .. base .. "/none: there is no such file: correct the address (404)",
      base .. "/changed: its SHA-256 is d9298a10d1b0735837dc4bd85dac641b0f3cef27a47e5d53a54f2f3f5b2fcffa, and " .. HELLO
        .. " was asked for: it is damaged or has been changed; correct sha256 if the change is meant",
      base .. "/secret: user and password are missing or wrong: give them as https://NAME:PASSWORD@host/ (401)",
      "/there/is/no/such: No such file or directory",
    }, table.move(texts(faults), 1, 4, 1, {}))
    assert.equal(5, #faults)
    assert.same({}, there())
  end)

  it("brings a file whose name leaves no room for more", function()
    server:put("/a", "hello")
    local long = to(("n"):rep(255))
    assert(fetch.all({ { from = server.base .. "/a", to = long } }, state()))
    assert.equal("hello", file.read(long))
  end)

  it("takes a jar only where one is wanted, and looks at the copy of an earlier start, too", function()
    server:put("/page.jar", "<html>sorry</html>")
    server:put("/whole.jar", "PK\3\4 and more")
    local page = { from = server.base .. "/page.jar", to = to "page.jar" }
    local whole = { from = server.base .. "/whole.jar", to = to "whole.jar", kind = "jar" }
    assert(fetch.all({ page, whole }, state()))
    page.kind = "jar"
    for _, known in ipairs { state(), { state_dir = home .. "/other" } } do
      local ok, faults = fetch.all({ page, whole }, known)
      assert.is_nil(ok)
      assert.same({ page.from .. ': it is no jar (a jar is a ZIP archive, and this begins with "<html>sorry</htm", as a web page does); '
        .. "correct the address, or put a whole one there" }, texts(faults))
    end
    assert.equal("<html>sorry</html>", file.read(to "page.jar"))
  end)

  it("keeps what is there when a later fetch fails, and takes those that are whole if asked to", function()
    server:put("/a", "one")
    server:put("/b", "one")
    local list = { { from = server.base .. "/a", to = to "a" }, { from = server.base .. "/b", to = to "b" } }
    assert(fetch.all(list, state()))
    server:put("/a", "two")
    server:put("/b", "", { ["X-Status"] = "403" })
    assert.is_nil((fetch.all(list, state())))
    assert.same({ "one", "one" }, { file.read(to "a"), file.read(to "b") })
    local ok, faults = fetch.all(list, { state_dir = home, partial = true })
    assert.is_nil(ok)
    assert.matches("/b: access denied: is a presigned address too old", tostring(faults[1]))
    assert.same({ "two", "one" }, { file.read(to "a"), file.read(to "b") })
  end)

  it("uses the copy of an earlier start while the server is away, but not when it says no", function()
    server:put("/a", "one")
    local entry = { from = server.base .. "/a", to = to "a" }
    assert(fetch.all({ entry }, state()))
    server:put("/a", "two", { ["X-Fail"] = "9" })
    local ok, report = fetch.all({ entry }, { state_dir = home, seconds = 1 })
    assert.is_true(ok)
    assert.matches("the server is not well %(503%)", tostring(report[to "a"].stale))
    assert.equal("one", file.read(to "a"))
    server:put("/a", "", { ["X-Status"] = "404" })
    assert.is_nil((fetch.all({ entry }, state())))
  end)

  it("tries again after a server's bad moment", function()
    server:put("/a", "at last", { ["X-Fail"] = "2" })
    assert(fetch.all { { from = server.base .. "/a", to = to "a" } })
    assert.same({ "GET /a 503", "GET /a 503", "GET /a 200" }, server:asked())
    assert.equal("at last", file.read(to "a"))
  end)

  it("follows redirects, without taking the password to another host", function()
    local other <close> = file_server.start()
    server:put("/secret", "for me", { ["X-User"] = "me:a b" })
    server:put("/near", "", { ["X-Redirect"] = "secret" })
    other:put("/open", "for all")
    server:put("/far", "", { ["X-Redirect"] = other.base .. "/open" })
    server:put("/round", "", { ["X-Redirect"] = "/round" })
    server:put("/imds", "", { ["X-Redirect"] = "http://169.254.1.1/latest/" })
    server:put("/disk", "", { ["X-Redirect"] = "file:///etc/passwd" })
    local with_user = "http://me:a%20b@127.0.0.1:" .. server.port
    assert(fetch.all { { from = with_user .. "/near", to = to "near" }, { from = with_user .. "/far", to = to "far" } })
    assert.same({ "for me", "for all" }, { file.read(to "near"), file.read(to "far") })
    for path, words in pairs { round = "redirects more than 5 times", imds = "redirects to a link%-local address",
                               disk = "redirects to something that is neither https nor http" } do
      local ok, faults = fetch.all { { from = with_user .. "/" .. path, to = to "x" } }
      assert.is_nil(ok)
      assert.matches(words, tostring(faults[1]))
      assert.is_nil(tostring(faults[1]):find("a b", 1, true))
    end
  end)

  it("stops at a ceiling, and leaves nothing when a server breaks off", function()
    local pipe = assert(io.popen("exec python3 -IS tests/support/fault_server.py --stay", "r"))
    local base = "http://127.0.0.1:" .. pipe:read("l"):match("^plain (%d+)")
    local ok, faults = fetch.all({ { from = base .. "/bytes/2000", to = to "large", ceiling = 1000 },
      { from = base .. "/chunked/200000", to = to "chunked", ceiling = 1000 },
      { from = base .. "/cut/10?announce=100", to = to "cut" } }, { seconds = 20 })
    require("appliance.http").request { url = base .. "/quit", no_proxy = true }
    pipe:close()
    assert.is_nil(ok)
    assert.matches("larger than the 1000 bytes it may have", tostring(faults[1]))
    assert.matches("larger than the 1000 bytes it may have", tostring(faults[2]))
    assert.matches("the connection ended after 10 of 100 bytes", tostring(faults[3]))
    assert.same({}, there())
  end)

  it("trusts the authorities of SSL_CERT_FILE, and is not led from TLS to plain text", function()
    assert(file.make_dirs(home))
    assert(os.execute(("openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=here "
      .. "-addext subjectAltName=IP:127.0.0.1 -keyout %s/key.pem -out %s/here.pem 2>/dev/null"):format(home, home)))
    local pipe = assert(io.popen(("exec python3 -IS tests/support/fault_server.py --stay --tls here %s/here.pem %s/key.pem"):format(
      home, home)))
    local plain, port = pipe:read("l"):match "^plain (%d+) here (%d+)"
    local base = "https://127.0.0.1:" .. port
    local function get(path) return fetch.all({ { from = base .. path, to = to "x" } }, { seconds = 5 }) end
    local ok, unknown = get "/bytes/10"
    local host = require "appliance.core.host"
    host.setenv("SSL_CERT_FILE", home .. "/here.pem")
    local known = get "/bytes/10"
    local _, led = get("/redirect?to=http://127.0.0.1:" .. plain .. "/bytes/10")
    host.setenv("SSL_CERT_FILE", "")
    require("appliance.http").request { url = "http://127.0.0.1:" .. plain .. "/quit", no_proxy = true }
    pipe:close()
    assert.is_nil(ok)
    assert.matches("certificate", tostring(unknown[1]))
    assert.is_true(known)
    assert.equal(10, #file.read(to "x"))
    assert.matches("it redirects from https to http, which is not followed: give the address it leads to", tostring(led[1]))
  end)

  it("leaves nothing when it is cancelled", function()
    local pipe = assert(io.popen("exec python3 -IS tests/support/fault_server.py --stay", "r"))
    local base = "http://127.0.0.1:" .. pipe:read("l"):match("^plain (%d+)")
    local running = task.start(fetch.all, { { from = base .. "/slow/100000?piece=10&every=0.02", to = to "slow" } })
    for _ = 1, 2000 do
      if there()[1] then break end
      task.sleep(0.01)
    end
    assert.same({ "fetched/.slow.new" }, there())
    running:cancel()
    assert.same({}, there())
    require("appliance.http").request { url = base .. "/quit", no_proxy = true }
    pipe:close()
  end)

  it("looks at its sources and tells of a new version once", function()
    server:put("/a", "one")
    local log = package.loaded["appliance.core.log"]
    local said = {}
    local function say(text) said[#said + 1] = text end
    package.loaded["appliance.core.log"] = { info = say, warn = say }
    finally(function() package.loaded["appliance.core.log"] = log end)
    local changes = task.queue()
    local watching <close> = task.start(fetch.watch, { { from = server.base .. "/a", object = "a" } }, function(entry, version)
      changes:put { entry.object, version }
    end, 0.02)
    local function await_look()
      for _ = 1, 2000 do
        if #server:asked() > 1 then return end
        task.sleep(0.01)
      end
    end
    await_look()
    server:put("/a", "two")
    local change = changes:get()
    assert.equal("a", change[1])
    assert.matches('^etag "', change[2])
    await_look()
    assert.equal(0, changes:length())
    server:put("/a", "", { ["X-Status"] = "404" })
    await_look()
    server:put("/a", "two")
    await_look()
    await_look()
    assert.equal(2, #said)
    assert.matches("/a: can't be asked whether it has changed: there is no such file", said[1])
    assert.matches("/a: can be asked again", said[2])
    assert.is_true(watching:is_alive())
  end)

  it("hashes on a helper thread, and says what it can't read", function()
    assert(file.make_dirs(home))
    assert(file.replace(home .. "/x", "hello", 420, false))
    assert.same({ size = 5, sha256 = HELLO }, digest.file { path = home .. "/x" })
    assert.same({ size = 5, sha256 = HELLO }, digest.file { path = home .. "/y", from = home .. "/x", mode = 256, sync = true })
    assert.equal(256, file.stat(home .. "/y").mode)
    local seen, err = digest.file { path = home }
    assert.is_nil(seen)
    assert.equal(home .. ": not a file", tostring(err))
    seen, err = digest.file { path = home .. "/nowhere/y", from = home .. "/x" }
    assert.is_nil(seen)
    assert.matches("^create .*/nowhere/y: No such file", tostring(err))
    assert.error_matches(function() digest.file {} end, "path: a string is needed")
  end)

  it("shows no secret of an address", function()
    assert.equal("https://(redacted)@h:1/x?(redacted)", address.shown "https://me:word@h:1/x?X-Amz-Signature=1")
    assert.equal("s3://b/k?versionId=1", address.shown "s3://b/k?versionId=1")
  end)
end)
