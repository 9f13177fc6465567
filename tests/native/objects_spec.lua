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
    fetch.watch = function(list, changed) return watch(list, changed, 0.02) end
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
    following:follow({ x = { from = "/there/is/none" } }, { { step = { kind = "write", file = "y" }, err = "no" } })
    assert.is_false(is_told())
  end)
end)
