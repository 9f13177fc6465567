local types = require "appliance.settings.types"

--- parse("size", "2g", { unit = "m" })
local function parse(kind, text, def) return types[kind](text, def or {}) end

local function refused(kind, text, def, why)
  local value, problem, example = parse(kind, text, def)
  assert.is_nil(value, kind .. " took " .. text)
  assert.truthy(problem:find(why, 1, true), problem)
  assert.is_string(example)
  if kind ~= "list" then assert.is_not_nil((parse(kind, example, def)), kind .. "'s own example is wrong: " .. example) end
end

describe("types", function()
  it("take `true` alone for the older switches, and never object", function()
    for _, on in ipairs { "true", "True", "TRUE" } do assert.is_true(parse("flag", on)) end
    for _, off in ipairs { "false", "yes", "1", "on", "enabled" } do assert.is_false(parse("flag", off)) end
  end)

  it("take the usual words for a boolean, and object to others", function()
    for _, on in ipairs { "true", "Yes", "ON", "1" } do assert.is_true(parse("boolean", on)) end
    for _, off in ipairs { "false", "No", "off", "0" } do assert.is_false(parse("boolean", off)) end
    refused("boolean", "maybe", nil, "neither true nor false")
    refused("boolean", "2", nil, "neither true nor false")
  end)

  it("take whole numbers within bounds", function()
    assert.equal(4, parse("integer", "4"))
    assert.equal(-1, parse("integer", "-1"))
    assert.equal("integer", math.type(parse("integer", "4")))
    refused("integer", "4.5", nil, "not a whole number")
    refused("integer", "0x10", nil, "not a whole number")
    refused("integer", "99999999999999999999", nil, "not a whole number")
    refused("integer", "0", { least = 1 }, "at least 1")
    refused("integer", "9", { most = 8 }, "at most 8")
  end)

  it("take ports", function()
    assert.equal(7077, parse("port", "7077"))
    assert.equal(0, parse("port", "0", { least = 0 }))
    refused("port", "0", nil, "at least 1")
    refused("port", "65536", nil, "not a port")
    refused("port", "tcp://10.0.0.1:7077", nil, "not a port")
  end)

  it("keep sizes as bytes", function()
    for text, bytes in pairs {
      ["2g"] = 2 << 30, ["512m"] = 512 << 20, ["1.5g"] = 3 << 29, ["64K"] = 65536, ["1t"] = 1 << 40, ["100"] = 100,
      ["2 GB"] = 2 << 30, ["2GiB"] = 2 << 30, ["10b"] = 10, ["0.5k"] = 512, ["2G"] = 2 << 30,
    } do assert.equal(bytes, parse("size", text), text) end
    assert.equal("integer", math.type(parse("size", "1.5g")))
    assert.equal(512 << 20, parse("size", "512", { unit = "m" }))
    assert.equal(512, parse("size", "512b", { unit = "m" }))
    for _, wrong in ipairs { "2x", "g", "-1g", "2gg", "two", "1e9", "9999999999p" } do refused("size", wrong, nil, "not a size") end
    refused("size", "512", { least = 1 << 20 }, "at least 1m")
  end)

  it("write sizes as Spark reads them, which knows no fractions", function()
    for bytes, text in pairs { [2 << 30] = "2g", [3 << 29] = "1536m", [1536] = "1536b", [2048] = "2k", [1 << 40] = "1t",
      [(1 << 20) + 1024] = "1025k" } do
      assert.equal(text, types.size_text(bytes))
    end
    for _, bytes in ipairs { 1, 1023, 4096, 3 << 29, 5 << 40 } do assert.equal(bytes, parse("size", types.size_text(bytes))) end
  end)

  it("keep time spans as seconds", function()
    for text, value in pairs { ["8s"] = 8, ["500ms"] = 0.5, ["2min"] = 120, ["2m"] = 120, ["1h"] = 3600, ["1d"] = 86400, ["15"] = 15,
      ["1.5 s"] = 1.5 } do
      assert.equal(value, parse("duration", text), text)
    end
    refused("duration", "8 sheep", nil, "not a time span")
    refused("duration", "-1s", nil, "not a time span")
    refused("duration", "1ms", { least = 0.1 }, "at least 100ms")
    assert.equal("500ms", types.duration_text(0.5))
    assert.equal("90s", types.duration_text(90))
    assert.equal("1500ms", types.duration_text(1.5))
  end)

  it("take shares of a whole", function()
    assert.equal(0.6, parse("fraction", "0.6"))
    assert.equal(0.6, parse("fraction", "60%"))
    assert.equal(0.5, parse("fraction", ".5"))
    refused("fraction", "6", nil, "between 0 and 1")
    refused("fraction", "half", nil, "between 0 and 1")
  end)

  it("name the nearest of an enum's words", function()
    local def = { values = { "text", "json" } }
    assert.equal("json", parse("enum", "JSON", def))
    refused("enum", "jsno", def, 'is none of text, json, did you mean "json"?')
    refused("enum", "xml", def, "is none of text, json")
  end)

  it("split lists at commas", function()
    assert.same({ "a", "b", "c" }, parse("list", " a, b,,c ,"))
    assert.same({ "/a.jar", "/b.jar" }, parse("list", "/a.jar,file:///b.jar", { of = "file" }))
    refused("list", "/a,b", { of = "path" }, 'has "b", which is not an absolute path')
  end)

  it("take hosts with ports, IPv6 in brackets", function()
    assert.same({ { host = "a", port = 2181 }, { host = "fe80::1", port = 2182 } }, parse("hosts", "a:2181, [fe80::1]:2182"))
    assert.same({ { host = "a", port = 2181 } }, parse("hosts", "a", { port = 2181 }))
    assert.equal("a:2181,[fe80::1]:2182", types.hosts_text(parse("hosts", "a:2181,[fe80::1]:2182")))
    refused("hosts", "a", nil, 'has "a", which is not host:port')
    refused("hosts", "fe80::1:2181", nil, "IPv6 goes in brackets")
    refused("hosts", "a:0", nil, "not host:port")
    refused("hosts", ",", nil, "names no host")
  end)

  it("take addresses without ports", function()
    assert.equal("10.0.0.5", parse("address", "10.0.0.5"))
    assert.equal("node-1.example.org", parse("address", "node-1.example.org"))
    assert.equal("::1", parse("address", "[::1]"))
    assert.equal("fe80::1%eth0", parse("address", "fe80::1%eth0"))
    refused("address", "a:7077", nil, "no port here")
    refused("address", "http://a", nil, "not a host name")
  end)

  it("take the list of masters as it is", function()
    assert.equal("spark://a:7077,b:7077", parse("masters", "spark://a:7077,b:7077"))
    assert.equal("spark://a:7077,b:7078", parse("masters", "spark://a,b:7078"))
    assert.equal("spark://a:7077,b:7077", parse("masters", "spark://a:7077,spark://b:7077"))
    assert.equal("spark://[fd00::5]:7077", parse("masters", "spark://[fd00::5]:7077"))
    refused("masters", "a:7077", nil, "does not begin with spark://")
    refused("masters", "local[*]", nil, "does not begin with spark://")
    refused("masters", "spark://a b:7077:1", nil, "not host:port")
  end)

  it("take files of this node by path or URI, and say what an object elsewhere would need", function()
    assert.equal("/etc/hive-site.xml", parse("file", "/etc/hive-site.xml"))
    assert.equal("/etc/hive site.xml", parse("file", "file:///etc/hive%20site.xml"))
    assert.equal("/etc/x", parse("file", "file://localhost/etc/x"))
    assert.equal("/etc/x", parse("file", "file:/etc/x"))
    refused("file", "file://etc/x", nil, "three slashes")
    refused("file", "s3://bucket/hive-site.xml", nil, "is an object behind s3://, and this reads only files of its own node: mount")
    refused("file", "hive-site.xml", nil, "neither an absolute path nor a file:// URI")
    refused("path", "var/lib", nil, "not an absolute path")
  end)

  it("know their own names", function()
    assert.is_true(types.known "size")
    assert.is_false(types.known "size_text")
    assert.is_false(types.known "known")
    assert.is_false(types.known "is_numeric")
    assert.is_false(types.known "sise")
    assert.is_false(types.known(nil))
  end)
end)
