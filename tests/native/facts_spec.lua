local facts = require "appliance.facts"
local same = require "appliance.same"

describe("two values of a fact", function()
  it("are the same when their content is", function()
    assert.is_true(same({ a = { 1, 2 } }, { a = { 1, 2 } }))
    assert.is_false(same({ a = { 1, 2 } }, { a = { 1 } }))
    assert.is_false(same({ a = 1 }, { a = 1, b = 2 }))
    assert.is_false(same({ a = 1, b = 2 }, { a = 1 }))
    assert.is_false(same(1, { 1 }))
  end)
end)

local task = require "appliance.core.task"

describe("facts", function()
  it("are there when every source has told its first value", function()
    local sources = {
      now = facts.source("at once", function(emit) emit(1) end),
      later = facts.source("after a while", function(emit) task.sleep(0.005); emit { 2 } end),
      plain = 3,
    }
    local followed <close> = facts.follow(sources)
    assert.same({ now = 1, later = { 2 }, plain = 3 }, followed:first(sources, 30))
  end)

  it("tell which changed, once, and only when the content did", function()
    local go = task.queue()
    local sources = { a = facts.source("a", function(emit)
      emit { 1 }; go:get(); emit { 1 }; emit { 2 }
      go:get()
    end) }
    local followed <close> = facts.follow(sources)
    followed:first(sources, 30)
    go:put(true)
    assert.same({ "a" }, followed:next())
    assert.same({ a = { 2 } }, followed.values)
    assert.same(0, followed.changes:length())
  end)

  it("that can't be had are all told, with the reason or the limit", function()
    local sources = {
      broken = facts.source("the moon", function() return nil, "it is day" end),
    }
    local followed <close> = facts.follow(sources)
    local values, faults = followed:first(sources, 30)
    assert.is_nil(values)
    assert.same({ "fact broken (the moon): it is day" }, faults)
    local slow = { slow = facts.source("the sun", function() task.sleep(1000) end) }
    local waiting <close> = facts.follow(slow)
    assert.matches("fact slow %(the sun%): nothing was learned within 0.01 s", select(2, waiting:first(slow, 0.01))[1])
  end)
end)

describe("a fact that tells nothing", function()
  it("is missing, and stands for no other one", function()
    local sources = {
      empty = facts.source("the void", function(emit) pcall(emit); emit(nil) end),
      slow = facts.source("the sun", function() task.sleep(1000) end),
    }
    local followed <close> = facts.follow(sources)
    local values, faults = followed:first(sources, 0.01)
    assert.is_nil(values)
    assert.same(2, #faults)
    assert.matches("fact empty %(the void%): .*facts_spec.lua:%d+: fact empty: nil is no value", faults[1])
  end)
end)

describe("a fact whose source breaks", function()
  it("is missing, with the error as the reason", function()
    local sources = { broken = facts.source("the moon", function() error("fell down", 0) end) }
    local followed <close> = facts.follow(sources)
    local values, faults = followed:first(sources, 30)
    assert.is_nil(values)
    assert.same({ "fact broken (the moon): fell down" }, faults)
  end)

  it("is missing too when the error can't be told", function()
    local untellable = setmetatable({}, { __tostring = error })
    local sources = {
      empty = facts.source("one", function() error(nil) end),
      raised = facts.source("one", function() error(untellable) end),
      returned = facts.source("one", function() return nil, untellable end),
    }
    for name, reason in pairs {
      empty = "it broke without a reason",
      raised = "an error that can't say what it is about",
      returned = "an error that can't say what it is about",
    } do
      local only = { [name] = sources[name] }
      local followed <close> = facts.follow(only)
      assert.same({ ("fact %s (one): %s"):format(name, reason) }, select(2, followed:first(only, 30)))
    end
  end)
end)
