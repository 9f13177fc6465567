--- The profile worked through in docs/profiles.md, and the spec the page gives for it, as they stand there.
local function blocks(path)
  local file <close> = assert(io.open(path, "rb"))
  local found = {}
  for block in file:read "a":gmatch "```lua\n(.-)```" do
    local name = block:match "^%-%- (%S+)\n"
    if name then found[name] = block end
  end
  return found
end

local page = blocks "docs/profiles.md"
local directory = os.tmpname()
os.remove(directory)
assert(os.execute("mkdir " .. directory))
local profile_path = directory .. "/cache-node.lua"
do
  local file <close> = assert(io.open(profile_path, "w"))
  file:write(page["cache-node.lua"])
end

describe("docs/profiles.md", function()
  teardown(function()
    os.remove(profile_path)
    os.remove(directory)
  end)

  -- A spec finds the profiles beside itself.
  assert(load(page["cache-node_spec.lua"], "@" .. directory .. "/cache-node_spec.lua", "t", _ENV))()

  it("names every word there is, and no other", function()
    local file <close> = assert(io.open("docs/profiles.md", "rb"))
    local text = file:read "a":match "## The words(.-)\nA service says"
    local words = {}
    for cells in text:gmatch "\n| (`[^|]*) |" do
      for word in cells:gmatch "`([%a_]+)" do words[word] = true end
    end
    local env = require "appliance.words".environment("/nowhere", function() return nil, "nothing" end)
    for word in pairs(words) do assert.is_not_nil(env[word], word) end
    for _, word in ipairs { "profile", "plan", "service", "properties", "xml", "text", "setting", "size", "tcp", "http", "line", "node",
      "spark" } do
      assert.is_true(words[word], word)
    end
  end)
end)
