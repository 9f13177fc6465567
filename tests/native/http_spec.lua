-- appliance.http, as a task uses it, against tests/support/fault_server.py.
local http = require "appliance.http"
local task = require "appliance.task"

describe("an HTTP request", function()
  local server, base

  setup(function()
    server = assert(io.popen("exec python3 -IS tests/support/fault_server.py --stay", "r"))
    base = "http://127.0.0.1:" .. server:read("l"):match("^plain (%d+)")
  end)

  teardown(function()
    http.request { url = base .. "/quit", no_proxy = true }
    server:close()
  end)

  local function request(path, options)
    options = options or {}
    options.url, options.no_proxy = base .. path, true
    return http.request(options)
  end

  it("gives status, headers and body", function()
    local answer = assert(request "/interim")
    assert.same(200, answer.status)
    assert.same("after", answer.body)
    assert.same("yes", answer.headers["x-final"])
    assert.matches("^127%.0%.0%.1:%d+$", answer.address)
    assert.is_true(answer.seconds > 0)
    assert.same(503, assert(request "/status/503?body=x").status)
  end)

  it("sends method, headers and body as given", function()
    local answer = assert(request("/echo", { method = "POST", body = "a\0b", headers = { ["X-One"] = "1", ["X-Two"] = { "2", "3" } } }))
    assert.matches("^POST /echo HTTP/1.1\r\n", answer.body)
    assert.matches("X%-One: 1\r\n", answer.body)
    assert.matches("X%-Two: 2\r\nX%-Two: 3\r\n", answer.body)
    assert.matches("Content%-Length: 3\r\n", answer.body)
    assert.matches("\r\n\r\na%zb$", answer.body)
  end)

  it("says in words why there is no answer", function()
    local answer, err = request("/silent", { first_byte_timeout = 0.05 })
    assert.is_nil(answer)
    assert.same("timeout", err.kind)
    assert.same("first_byte_timeout", err.failure)
    assert.is_true(err.transient)
    assert.matches("took the request, but no answer came within 0.05 s", tostring(err))
    answer, err = request("/bytes/2000", { ceiling = 1000 })
    assert.is_nil(answer)
    assert.same("too_large", err.failure)
    assert.is_false(err.transient)
  end)

  it("raises what is the caller's mistake", function()
    assert.error_matches(function() http.request {} end, "url: a string is needed")
    assert.error_matches(function() request("/", { headers = { a = "1\r\nb: 2" } }) end, "header a: the value holds a line break")
    assert.error_matches(function() request("/", { headers = { a = {} , b = true } }) end, "headers: b: a string expected")
    assert.error_matches(function() request("/", { timeout = "1" }) end, "timeout: number expected")
    local answer, err = http.request { url = "gopher://x/" }
    assert.is_nil(answer)
    assert.same("invalid", err.kind)
  end)

  it("waits as a task, beside others, and ends with it", function()
    local order = {}
    local function note(path)
      local answer = assert(request(path))
      order[#order + 1] = answer.body
    end
    local slow = task.start(note, "/late?after=0.1")
    local quick = task.start(note, "/status/200?body=quick")
    local stopped = task.start(function() request "/silent" end)
    assert(quick:join())
    stopped:cancel()
    assert(slow:join())
    assert.same({ "quick", "late" }, order)
  end)
end)
