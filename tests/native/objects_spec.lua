-- What follows the objects of a running plan: a new version at the source, another try after a failure.
local fetch = require "appliance.fetch"
local file = require "appliance.core.file"
local file_server = require "file_server"
local objects = require "appliance.objects"
local task = require "appliance.task"

describe("objects of a plan", function()
  local server, state, told, following, watch, retry

  setup(function() server = file_server.start() end)
  teardown(function() server:__close() end)
  before_each(function()
    state = os.tmpname()
    os.remove(state)
    told = task.queue()
    following = objects.new(state, function() told:put(true) end)
    watch, retry = fetch.watch, objects.RETRY
    fetch.watch = function(list, changed, _, tell) return watch(list, changed, 0.02, tell) end
    objects.RETRY = 0.02
  end)
  after_each(function()
    following:close()
    fetch.watch, objects.RETRY = watch, retry
    file.remove_tree(state)
  end)

  --- Is there word of a change within half a second?
  local function is_told()
    local waiting <close> = task.start(told.get, told)
    return (waiting:join(0.5)) == true
  end

  local function brought(from)
    assert(fetch.all({ { from = from, to = state .. "/fetched/x", plan = "x" } }, { state_dir = state }))
  end

  it("are known by another version once their source has one, even if it changed before the first look", function()
    server:put("/x", "one")
    local from = server.base .. "/x"
    brought(from)
    server:put("/x", "two")
    following:follow({ x = { from = from, watch = true } }, {})
    assert.is_true(is_told())
    assert.matches('^etag "', following:version("x", from))
    assert.is_nil(following:version("x", "s3://another/x"))
    assert.is_nil(following:version("y", from))
    following:follow({ x = { from = from, watch = true, version = following:version("x", from) } }, {})
    assert.is_false(is_told())
  end)

  it("are watched only where the plan says so, and no longer than that", function()
    server:put("/x", "one")
    local from = server.base .. "/x"
    brought(from)
    following:follow({ x = { from = from, watch = true } }, {})
    following:follow({ x = { from = from } }, {})
    server:asked()
    server:put("/x", "two")
    assert.is_false(is_told())
    assert.same({}, server:asked())
  end)

  it("are tried again after a failure, and left alone after none", function()
    following:follow({ x = { from = "/there/is/none" } }, { { step = { kind = "fetch", object = "x" }, err = "no" } })
    assert.is_true(is_told())
    assert.equal("no", following:trouble("x").text)
    following:follow({ x = { from = "/there/is/none" } }, { { step = { kind = "write", file = "y" }, err = "no" } })
    assert.is_false(is_told())
    assert.is_nil(following:trouble "x")
  end)

  --- What `status` has of them, without the ages.
  local function shown(fetch_of_plan)
    local list = require("appliance.control.objects").of { state_dir = state, objects = following, plan = { fetch = fetch_of_plan } }
    for _, object in ipairs(list) do
      for _, age in ipairs { "fetched", "failed" } do
        if object[age] then assert.is_true(object[age] >= 0 and object[age] < 60) end
        object[age] = nil
      end
    end
    return list
  end

  it("are told by `status`, with what failed last", function()
    local address = server.base:gsub("//", "//me:word@") .. "/x?signature=1"
    server:put("/x?signature=1", "hello", { ["X-User"] = "me:word" })
    brought(address)
    local from = server.base:gsub("//", "//(redacted)@") .. "/x?(redacted)"
    local planned, failed = { x = { from = address, mode = 420, watch = true } }, { from = "s3://b/y" }
    following:took_copies { x = "the server is away" }
    following:follow({ x = planned.x }, { { step = { kind = "fetch", object = "y", entry = failed }, err = "no such object" } })
    local list = shown(planned)
    assert.matches("^etag %x+%.*$", list[1].version)
    list[1].version = nil
    assert.same({
      { name = "x", from = from, size = 5, watch = true, sha256 = "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824",
        error = "the copy of an earlier start is used: the server is away" },
      { name = "y", from = "s3://b/y", error = "no such object" },
    }, list)
  end)

  it("are told by `status` to have a source that can't be asked, until it can", function()
    server:put("/x", "one")
    local from = server.base .. "/x"
    brought(from)
    local heard <const> = task.queue()
    local changes = require "appliance.control.changes"
    local tell = changes.tell
    changes.tell = function() heard:put(true) end
    finally(function() changes.tell = tell end)
    following:took_copies { x = "why" }
    following:follow({ x = { from = from, watch = true } }, {})
    heard:get()
    assert.is_nil(shown({ x = { from = from } })[1].error, "the source was asked: the copy is what is there")
    server:put("/x", "one", { ["X-Status"] = "403" })
    heard:get()
    assert.matches("^can't be asked whether it has changed: access denied", shown({ x = { from = from } })[1].error)
    server:put("/x", "one")
    heard:get()
    assert.is_nil(shown({ x = { from = from } })[1].error)
  end)
end)
