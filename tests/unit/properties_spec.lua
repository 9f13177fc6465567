local json = require "appliance.json"
local properties = require "appliance.render.properties"

local golden = (os.getenv "APPLIANCE_SOURCE" or ".") .. "/tests/golden/render/"

local function read(name)
  local file <close> = assert(io.open(golden .. name, "rb"))
  return file:read "a"
end

local function parsed(text) return properties.map(assert(properties.parse(text))) end

local function again(key, value, separator)
  return parsed(properties.render({ items = { { key = key, value = value } } }, separator))[key]
end

describe("properties, read", function()
  it("are what Java makes of the same text", function()
    assert.same(json.decode(read "java.properties.json"), parsed(read "java.properties"))
  end)

  it("take key=value, key: value and key value", function()
    assert.same({ a = "1", b = "2", c = "3" }, parsed "a=1\nb: 2\nc 3\n")
  end)

  it("end lines at LF, CR and CRLF", function()
    assert.same({ a = "1", b = "2", c = "3", d = "4" }, parsed "a 1\r\nb 2\rc 3\nd 4")
  end)

  it("let the last of two equal keys win", function()
    assert.same({ a = "2" }, parsed "a 1\na 2\n")
  end)

  it("keep comments and blank lines with the key below them", function()
    local document = assert(properties.parse "# head\n\n! why\na 1\nb 2\n# end\n")
    assert.same({ "# head", "", "! why" }, document.items[1].above)
    assert.same({}, document.items[2].above)
    assert.same({ "# end" }, document.below)
  end)

  it("take no comment for one inside a continued line", function()
    assert.same({ a = "1, # no comment" }, parsed "a 1, \\\n   # no comment\n")
  end)

  it("know the line a key stands on", function()
    local document = assert(properties.parse "\n# x\na 1\\\n2\nb 3")
    assert.equal(3, document.items[1].line)
    assert.equal(5, document.items[2].line)
  end)

  it("refuse \\u without four digits, with file and line", function()
    local document, err = properties.parse("a 1\nb \\u00g0\n", "/conf/spark-defaults.conf")
    assert.is_nil(document)
    assert.equal("invalid", err.kind)
    assert.equal("/conf/spark-defaults.conf:2: \\u needs four hex digits behind it; a backslash itself is written \\\\", tostring(err))
  end)

  it("refuse a file beyond the ceiling", function()
    local document, err = properties.parse(("x"):rep(properties.CEILING + 1), "big")
    assert.is_nil(document)
    assert.match("^big: %d+ bytes, more than", err.text)
  end)

  it("are not fooled by a byte order mark", function()
    assert.same({ a = "1" }, parsed "\xEF\xBB\xBFa 1\n")
  end)

  it("turn bytes that are no UTF-8 into U+FFFD, as Java's reader does", function()
    assert.same({ a = "\u{FFFD}x\u{FFFD}" }, parsed "a \xFFx\xC3")
  end)

  it("are read in time that grows with their length only", function()
    local started = os.clock()
    assert(properties.parse(("\\\n"):rep(100000)))
    assert(properties.parse("a " .. ("\\u00e9"):rep(100000)))
    assert(properties.parse(("a b\\\n"):rep(50000)))
    assert(properties.parse(("\xFF"):rep(100000)))
    assert.is_true(os.clock() - started < 2)
  end)
end)

describe("properties, written", function()
  local awkward = {
    "", " ", "  two  ", "=", ":x", "a=b", "#no comment", "!x", "\\", "\\\\", "a\\", "a\\ ", "tab\tnew\nreturn\rfeed\f", "\0\1\31\127",
    "café", "€", "😀", "\\u0041", "ends in backslash\\", "C:\\x\\ny", "a, \\\nb", "\u{FEFF}x", "\u{FFFD}", "$x ${y} %d{yy}",
  }

  it("come back the same, as keys and as values, in both forms", function()
    for _, text in ipairs(awkward) do
      assert.equal(text, again("key", text), ("value %q"):format(text))
      assert.equal(text, again("key", text, " "), ("value %q behind a blank"):format(text))
      assert.equal("value", again(text, "value"), ("key %q"):format(text))
      assert.equal("value", again(text, "value", " "), ("key %q before a blank"):format(text))
    end
  end)

  it("keep a lone surrogate as Java has it", function()
    local document = assert(properties.parse "a \\ud83d.\\ude00\n")
    assert.equal("a \\ud83d.\\ude00\n", properties.render(document, " "))
  end)

  it("are ASCII, so that readers of Latin-1 and of UTF-8 see the same", function()
    assert.equal("a=caf\\u00e9 \\ud83d\\ude00\n", properties.render { items = { { key = "a", value = "café 😀" } } })
  end)

  it("leave ordinary values readable", function()
    local text = properties.render({ items = { { key = "spark.driver.extraJavaOptions", value = "-Dx=y -Dz=#1 -XX:+UseSerialGC" } } }, " ")
    assert.equal("spark.driver.extraJavaOptions -Dx=y -Dz=#1 -XX:+UseSerialGC\n", text)
  end)

  it("keep comments, blank lines and order", function()
    local text = "# head\n\n! why\nb 1\na 2\n# end\n"
    assert.equal(text, properties.render(assert(properties.parse(text)), " "))
  end)

  it("say numbers and booleans as Spark reads them, and nothing else", function()
    assert.equal("true", properties.text(true))
    assert.equal("2", properties.text(2.0))
    assert.equal("0.6", properties.text(0.6))
    assert.equal("4294967296", properties.text(1 << 32))
    assert.is_nil(properties.text(0 / 0))
    assert.is_nil(properties.text(math.huge))
    assert.is_nil(properties.text {})
  end)
end)
