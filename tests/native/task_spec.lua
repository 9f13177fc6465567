local task = require "appliance.task"

describe("a task", function()
  it("hands its results to whoever joins it", function()
    local t = task.start(function(a, b) return a + b, "sum" end, 1, 2)
    assert.same({ true, 3, "sum" }, { t:join() })
    assert.same({ true, 3, "sum" }, { t:join() })
    assert.is_false(t:is_alive())
  end)

  it("hands its error to whoever joins it", function()
    local t = task.start("failing", function() error({ kind = "invalid", code = 7 }) end)
    local ok, err = t:join()
    assert.is_nil(ok)
    assert.same(7, err.code)
  end)

  it("waits while others run", function()
    local order = {}
    local a = task.start(function() task.sleep(0.02); order[#order + 1] = "a" end)
    local b = task.start(function() task.sleep(0.001); order[#order + 1] = "b" end)
    a:join(); b:join()
    assert.same({ "b", "a" }, order)
  end)

  it("closes what it left open when it is cancelled, with its waits", function()
    local closed = {}
    local t = task.start(function()
      local _ <close> = setmetatable({}, { __close = function() closed[#closed + 1] = "outer" end })
      local _ <close> = setmetatable({}, { __close = function() closed[#closed + 1] = "inner" end })
      task.sleep(1000)
    end)
    task.sleep(0)
    t:cancel()
    assert.same({ "inner", "outer" }, closed)
    local ok, err = t:join()
    assert.is_nil(ok)
    assert.same("cancelled", err.kind)
  end)

  it("gives __close the error it failed with, and keeps it as its outcome", function()
    local seen
    local t = task.start("failing", function()
      local _ <close> = setmetatable({}, { __close = function(_, err) seen = err end })
      error("broken", 0)
    end)
    local _, err = t:join()
    assert.same("broken", seen)
    assert.same("broken", err)
  end)

  it("can't wait in a __close, and says so in words", function()
    local said
    local t = task.start(function()
      local _ <close> = setmetatable({}, { __close = function() said = select(2, pcall(task.sleep, 0.01)) end })
      task.sleep(1000)
    end)
    task.sleep(0)
    t:cancel()
    assert.matches("can't wait here", said)
  end)

  it("can't wait in a coroutine of its own, and says so", function()
    local t = task.start(function() return select(2, coroutine.resume(coroutine.create(function() task.sleep(0) end))) end)
    local _, said = t:join()
    assert.matches("start a task instead", said)
  end)

  it("waits inside pcall, and in a generic for", function()
    local t = task.start(function()
      local ok = pcall(function() task.sleep(0.001); error("later") end)
      local n = 0
      for _ in function() task.sleep(0.001); n = n + 1; return n < 3 and n or nil end do end
      return ok, n
    end)
    assert.same({ true, false, 3 }, { t:join() })
  end)

  it("is closed at the end of a block that holds it", function()
    local t
    do
      local held <close> = task.start(function() task.sleep(1000) end)
      t = held
      task.sleep(0)
    end
    assert.is_false(t:is_alive())
  end)

  it("tells when it did not end in time, and goes on", function()
    local t <close> = task.start(function() task.sleep(1000) end)
    local ok, err = t:join(0.01)
    assert.is_nil(ok)
    assert.same("timeout", err.kind)
    assert.is_true(t:is_alive())
  end)

  it("takes as many arguments as there are", function()
    local many = {}
    for i = 1, 5000 do many[i] = i end
    local t = task.start(function(...) return select("#", ...), (select(5000, ...)) end, table.unpack(many))
    assert.same({ true, 5000, 5000 }, { t:join() })
  end)

  it("may sleep for ever, which is no short time", function()
    for _, seconds in ipairs { math.huge, 1e300, 1e12 } do
      local t <close> = task.start(function() task.sleep(seconds) end)
      assert.is_nil(t:join(0.001))
      assert.is_true(t:is_alive())
      local ok = t:join(0 / 0)
      assert.is_nil(ok)
    end
    task.sleep(0 / 0)
    task.sleep(-1)
  end)

  it("is not waited for when the limit has passed already", function()
    local t <close> = task.start(function() task.sleep(1000) end)
    local ok, err = t:join(-0.001)
    assert.is_nil(ok)
    assert.same("timeout", err.kind)
  end)

  it("may cancel itself", function()
    local t
    t = task.start(function() t:cancel(); return "never" end)
    local ok, err = t:join()
    assert.is_nil(ok)
    assert.same("cancelled", err.kind)
  end)
end)

describe("a task that computes for ever", function()
  local function ended(f)
    local t = task.start("greedy", f)
    local ok, err = t:join(30)
    assert.is_nil(ok)
    return tostring(err)
  end

  it("is ended, with its file and line", function()
    assert.matches("task_spec.lua:%d+: computed for", ended(function() while true do end end))
  end)

  it("is ended in a pcall in a loop", function()
    assert.matches("computed for", ended(function()
      while true do pcall(function() while true do end end) end
    end))
  end)

  it("is ended in a coroutine in a loop", function()
    assert.matches("computed for", ended(function()
      while true do coroutine.wrap(function() while true do end end)() end
    end))
  end)

  it("gets an error under a C function that can't yield", function()
    assert.matches("computed for", ended(function()
      table.sort({ 3, 2, 1 }, function() while true do end end)
    end))
  end)
end)

describe("within", function()
  it("returns the results", function() assert.same({ 1, 2 }, { task.within(5, function() return 1, 2 end) }) end)

  it("cancels what takes too long", function()
    local closed = false
    local ok, err = task.within(0.01, function()
      local _ <close> = setmetatable({}, { __close = function() closed = true end })
      task.sleep(1000)
    end)
    assert.is_nil(ok)
    assert.same("timeout", err.kind)
    assert.is_true(closed)
  end)
end)

describe("a group", function()
  it("waits for all", function()
    local done = 0
    local g <close> = task.group()
    for i = 1, 3 do g:start(function() task.sleep(i / 1000); done = done + 1 end) end
    assert.is_true(g:wait())
    assert.same(3, done)
  end)

  it("ends together with the first that fails", function()
    local g <close> = task.group()
    local other = g:start(function() task.sleep(1000) end)
    g:start(function() error("no", 0) end)
    local ok, err = g:wait()
    assert.is_nil(ok)
    assert.same("no", err)
    assert.is_false(other:is_alive())
  end)
end)

describe("a queue", function()
  it("keeps the order and wakes who waits", function()
    local q, got = task.queue(), {}
    local t = task.start(function() for v in function() return q:get() end do got[#got + 1] = v end end)
    for i = 1, 3 do q:put(i) end
    task.sleep(0)
    q:put(4)
    q:close()
    t:join()
    assert.same({ 1, 2, 3, 4 }, got)
  end)

  it("has a limit when asked", function()
    local q = task.queue(1)
    assert.is_true(q:put("a"))
    assert.is_false(q:put("b"))
  end)

  it("loses nothing when the one it woke is cancelled", function()
    local q = task.queue()
    local first = task.start(function() return q:get() end)
    local second = task.start(function() return q:get() end)
    task.sleep(0)
    q:put("value")
    first:cancel()
    assert.same({ true, "value" }, { second:join(5) })
  end)
end)

it("leaves no task behind", function() assert.same(0, task.count()) end)
