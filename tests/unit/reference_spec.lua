local docs = require "appliance.settings.docs"
local reference = require "appliance.settings.reference"
local types = require "appliance.settings.types"

local function read(path)
  local file <close> = assert(io.open(path, "rb"))
  return file:read "a"
end

describe("settings reference", function()
  it("has every setting once, with a text", function()
    local schema, seen = reference.schema(), {}
    for _, group in ipairs(docs.groups) do
      for i = 2, #group do
        assert.is_nil(seen[group[i]], group[i] .. " stands twice")
        assert.is_table(schema[group[i]], group[i] .. " is no setting")
        seen[group[i]] = true
      end
    end
    for name in pairs(schema) do
      assert.is_true(seen[name], name .. " stands in no group")
      assert.is_string(docs.settings[name], name .. " has no text")
    end
    for name in pairs(docs.settings) do assert.is_table(schema[name], name .. " has a text but is no setting") end
  end)

  it("explains every type and no alias that is none", function()
    for name in pairs(types) do
      if types.known(name) then assert.is_string(docs.types[name], name) end
    end
    for alias in pairs(docs.aliases) do assert.truthy(reference.one(alias), alias) end
  end)

  it("answers for names, aliases and files", function()
    assert.truthy(reference.one "WORKER_CORES":find "^WORKER_CORES\n    Cores the worker offers")
    assert.equal(reference.one "WORKER_CORES", reference.one "SPARK_WORKER_CORES")
    assert.equal(reference.one "WORKER_CORES", reference.one "SPARK_WORKER_CORES_FILE")
    assert.same({ nil, 'WORKR_CORES: there is no such setting, did you mean "WORKER_CORES"?' }, { reference.one "WORKR_CORES" })
  end)

  it("fits a terminal", function()
    for line in reference.text():gmatch "[^\n]+" do assert.is_true(#line <= 100, line) end
  end)

  it("is what docs/settings.md says (build/spark-appliance settings --markdown writes it)", function()
    assert.equal(reference.markdown(), read "docs/settings.md")
  end)
end)
