local strict = require "appliance.strict"

describe("strict", function()
  local function run(text, globals)
    local ok, err = pcall(load(text, "=x", "t", strict.globals(globals)))
    return not ok and err or nil
  end

  it("tells an undeclared name that is read, with the near one", function()
    assert.equal("x:2: tostrin: no such word; did you mean tostring?", run("\nreturn tostrin(5)", { tostring = tostring }))
    assert.equal("x:1: wibble: no such word", run("return wibble", {}))
  end)

  it("asks for local where one is set", function()
    assert.equal("x:1: count is a global here, which one part would set and another trip over: write `local count`", run("count = 1", {}))
    assert.is_nil(run("count = 1", { count = 0 }))
  end)

  it("makes lazy names once and says why others are withheld", function()
    local made = 0
    local env = strict.guard({}, function(name)
      if name ~= "lazy" then return nil end
      made = made + 1
      return {}
    end, function() return {} end, { os = "not here" })
    assert.equal(env.lazy, env.lazy)
    assert.equal(1, made)
    assert.has_error(function() return env.os end, "os is not there: not here")
  end)

  it("none of our modules makes a global", function()
    local before = {}
    for name in pairs(_G) do before[name] = true end
    for _, module in ipairs { "settings", "profile", "words", "budget", "settings.reference", "plan", "reconcile", "json", "merge" } do
      require("appliance." .. module)
    end
    for name in pairs(_G) do assert.is_true(before[name], name) end
  end)
end)
