--- docs/edge-cases.md names real tests: each is in the file that the page says, and runs.
local CASES <const> = 43

local function text_of(path)
  local file <close> = assert(io.open(path, "rb"))
  return file:read "a"
end

--- A test of a cmocka program is written and registered; one of busted is an `it`.
local function has_test(path, name)
  local text = text_of("tests/" .. path)
  if path:find "%.lua$" then return text:find('it("' .. name .. '"', 1, true) ~= nil end
  local written = text:find("\nstatic void " .. name .. "(void **", 1, true)
  local list = text:match "\nint main.*$" or ""
  return written ~= nil and list:find("%(" .. name .. "[,)]") ~= nil
end

--- { number, tests = { { path, name }, ... } } of each row
local function rows()
  local found = {}
  for line in text_of "docs/edge-cases.md":gmatch "[^\n]+" do
    local number, shown = line:match "^| (%d+) |.*| (.-) |$"
    if number then
      local tests = {}
      for entry in (shown .. ";"):gmatch "%s*(.-);" do
        local path, name = entry:match "^`([%w_/.]+)` (.+)$"
        tests[#tests + 1] = { path = path or entry, name = name }
      end
      found[#found + 1] = { number = math.tointeger(number), tests = tests }
    end
  end
  return found
end

describe("docs/edge-cases.md", function()
  it("has every case once, in order", function()
    local numbers, expected = {}, {}
    for i, row in ipairs(rows()) do numbers[i] = row.number end
    for i = 1, CASES do expected[i] = i end
    assert.same(expected, numbers)
  end)

  it("names a test for each case, and only tests that exist and run", function()
    local missing = {}
    for _, row in ipairs(rows()) do
      assert.is_true(#row.tests > 0)
      for _, test in ipairs(row.tests) do
        if not test.name or not has_test(test.path, test.name) then
          missing[#missing + 1] = ("case %d: %s %s"):format(row.number, test.path, test.name)
        end
      end
    end
    assert.same({}, missing)
  end)
end)
