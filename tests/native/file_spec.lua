local file = require "appliance.core.file"
local task = require "appliance.task"

local function temporary()
  local path = os.tmpname()
  os.remove(path)
  assert(file.make_dirs(path .. "/a/b", tonumber("700", 8)))
  return setmetatable({ path = path }, { __close = function() assert(file.remove_tree(path)) end })
end

describe("a file", function()
  it("is replaced whole, with its mode, and nothing beside it", function()
    local dir <close> = temporary()
    local path = dir.path .. "/x"
    for _, durable in ipairs { true, false } do
      assert.is_true(file.replace(path, "one\n", tonumber("600", 8), durable))
      assert.same("one\n", file.read(path))
      assert.same(tonumber("600", 8), file.stat(path).mode)
      assert.same({ "a", "x" }, file.list(dir.path))
    end
  end)

  it("is replaced whatever its name is", function()
    local dir <close> = temporary()
    local name = ("n"):rep(252) .. "\u{20ac}"
    assert.is_true(file.replace(dir.path .. "/" .. name, "one"))
    assert.is_true(file.replace(dir.path .. "/" .. name, "two", nil, true))
    assert.same("two", file.read(dir.path .. "/" .. name))
    assert.same({ "a", name }, file.list(dir.path))
  end)

  it("stays as it was when it can't be replaced", function()
    local dir <close> = temporary()
    local ok, err = file.replace(dir.path .. "/none/x", "text")
    assert.is_nil(ok)
    assert.same("missing", err.kind)
    assert.matches("none/x", tostring(err))
  end)

  it("is refused when it is larger than the ceiling", function()
    local dir <close> = temporary()
    file.replace(dir.path .. "/x", ("x"):rep(100))
    local text, err = file.read(dir.path .. "/x", 50)
    assert.is_nil(text)
    assert.same("invalid", err.kind)
  end)

  it("locks a directory without making a file in it", function()
    local dir <close> = temporary()
    local before = file.list(dir.path)
    local held = assert(file.lock(dir.path))
    local second, err = file.lock(dir.path)
    assert.is_nil(second)
    assert.equal("conflict", err.kind)
    assert.same(before, file.list(dir.path))
    held:close()
  end)

  it("is locked by one only, until closed", function()
    local dir <close> = temporary()
    local path = dir.path .. "/lock"
    local held = assert(file.lock(path))
    local second, err = file.lock(path)
    assert.is_nil(second)
    assert.same("conflict", err.kind)
    held:close()
    local again <close> = assert(file.lock(path))
    assert.is_truthy(again)
  end)

  it("tree goes whole, links are not followed", function()
    local dir <close> = temporary()
    file.replace(dir.path .. "/keep", "kept")
    os.execute(("ln -s %s %s"):format(dir.path .. "/keep", dir.path .. "/a/b/link"))
    assert.is_true(file.remove_tree(dir.path .. "/a"))
    assert.same({ "keep" }, file.list(dir.path))
    assert.is_true(file.remove_tree(dir.path .. "/a"))
  end)

  it("tree may be as deep as it is allowed to be, and what is deeper is refused in words", function()
    local dir <close> = temporary()
    local deep = {}
    for i = 1, 64 do deep[i] = ("level-%02d"):format(i) end
    assert(file.make_dirs(dir.path .. "/top/" .. table.concat(deep, "/", 1, 63)))
    assert(file.remove_tree(dir.path .. "/top"))
    assert(file.make_dirs(dir.path .. "/top/" .. table.concat(deep, "/")))
    local ok, err = file.remove_tree(dir.path .. "/top")
    assert.is_nil(ok)
    assert.matches("top/level%-01.*: more than 64 levels deep", tostring(err))
    assert(file.remove_tree(dir.path .. "/top/level-01"))
  end)

  it("replaced by many at once is always one of their texts", function()
    local dir <close> = temporary()
    local path, size = dir.path .. "/x", 1 << 18
    local writers = task.group()
    for i = 1, 24 do
      writers:start(function() assert(file.replace(path, ("%x"):format(i % 16):rep(size))) end)
    end
    assert(writers:wait())
    local text = assert(file.read(path))
    assert.same(size, #text)
    assert.same(text:sub(1, 1):rep(size), text)
    assert.same({ "a", "x" }, file.list(dir.path))
  end)

  it("may be given up while a helper thread works on it", function()
    local dir <close> = temporary()
    local t = task.start(function() return file.replace(dir.path .. "/x", ("x"):rep(1 << 20)) end)
    task.sleep(0)
    t:cancel()
    assert.is_nil((t:join()))
    for _ = 1, 10000 do                                       -- nobody waits for the thread any more, but it does its work
      if file.stat(dir.path .. "/x") then break end
      task.sleep(0.002)
    end
    assert.same(1 << 20, file.stat(dir.path .. "/x").size)
  end)

  it("has a fingerprint", function()
    assert.same("cbf29ce484222325", file.fingerprint "")       -- FNV's own offset basis
    assert.same("af63dc4c8601ec8c", file.fingerprint "a")      -- from its authors' test vectors
  end)
end)
