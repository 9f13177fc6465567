local json = require "appliance.json"

describe("json", function()
  describe("encode", function()
    it("sorts keys, so that equal values give equal texts", function()
      assert.equal('{"a":1,"b":[true,false,null],"c":{"d":"e"}}',
        json.encode { c = { d = "e" }, b = { true, false, json.null }, a = 1 })
    end)

    it("writes an empty table as an object unless it is marked", function()
      assert.equal('{"list":[],"table":{}}', json.encode { list = json.array(), table = {} })
    end)

    it("escapes what must be escaped and nothing else", function()
      assert.equal([["a\"b\\c\u0000\u001f\n\t\r\b\f/é"]], json.encode 'a"b\\c\0\31\n\t\r\b\f/é')
    end)

    it("replaces bytes that are not UTF-8", function()
      assert.equal('"a\u{FFFD}b\u{FFFD}\u{FFFD}é"', json.encode "a\xffb\xc3\xc3é")
      assert.equal('"\u{FFFD}"', json.encode "\xc3")
      assert.equal('"\u{FFFD}\u{FFFD}\u{FFFD}"', json.encode "\xed\xa0\x80", "a surrogate half is no character")
    end)

    it("writes numbers that read back the same", function()
      for _, value in ipairs { 0, -1, 1 << 62, math.mininteger, 0.1, 1 / 3, 1e300, -2.5e-7, 3.0 } do
        assert.equal(value, json.decode(json.encode(value)))
      end
      assert.equal("[1,0.25,1e+300]", json.encode { 1, 0.25, 1e300 })
    end)

    it("writes lines for people when asked", function()
      assert.equal('{\n  "a": [\n    1,\n    2\n  ],\n  "b": {}\n}', json.encode({ a = { 1, 2 }, b = {} }, "  "))
    end)

    it("raises where JSON has no form", function()
      local loop = {}
      loop[1] = loop
      assert.has_error(function() json.encode(0 / 0) end)
      assert.has_error(function() json.encode(print) end)
      assert.has_error(function() json.encode { [2] = 1 } end)
      assert.error_matches(function() json.encode(loop) end, "contains itself")
    end)
  end)

  describe("decode", function()
    it("reads every kind of value", function()
      assert.same({ a = { 1, 2.5, "x", true, false }, b = {}, c = -3 },
        json.decode ' { "a" : [1, 2.5,"x",true,false] , "b":{}, "c":-3 }\n')
      assert.equal(json.null, json.decode "null")
      assert.equal("integer", math.type(json.decode "12"))
      assert.equal("float", math.type(json.decode "12.0"))
      assert.equal("float", math.type(json.decode "123456789012345678901234567890"))
    end)

    it("keeps an empty array an array", function()
      assert.equal('{"a":[],"o":{}}', json.encode(json.decode '{"o":{},"a":[]}'))
    end)

    it("reads escapes, surrogate pairs, and lone halves as U+FFFD", function()
      assert.equal('"\\/\b\f\n\r\té😀', json.decode [["\"\\\/\b\f\n\r\t\u00e9\ud83d\ude00"]])
      assert.equal("\u{FFFD}x", json.decode [["\ud83dx"]])
      assert.equal("\u{FFFD}A", json.decode [["\ud83d\u0041"]])
      assert.equal("\u{FFFD}", json.decode [["\ude00"]])
      assert.equal("a\0b", json.decode [["a\u0000b"]])
    end)

    it("refuses what is not JSON, with line and column", function()
      for text, why in pairs {
        [""] = "line 1, column 1", ["[1,]"] = "column 4", ["{"] = "a key", ['{"a" 1}'] = '":"', ["[1"] = '"]"',
        ["01"] = "follows", ["1 2"] = "follows", ["tru"] = "not a value", ["nulll"] = "follows", [".5"] = "not a value",
        ["1."] = "follows", ["+1"] = "not a value", ["-"] = "not a value", ['"abc'] = "no end", ['"a\nb"'] = "control character",
        ['"\\x"'] = "unknown escape", ['"\\u12g4"'] = "four hexadecimal", ["1e400"] = "too large", ["{a:1}"] = "a key",
        ["[1,\n 2,\n x]"] = "line 3, column 2", ["'a'"] = "not a value", ["NaN"] = "not a value",
      } do
        local value, err = json.decode(text)
        assert.is_nil(value, text)
        assert.truthy(err:find(why, 1, true), text .. " -> " .. err)
      end
    end)

    it("is bounded in depth", function()
      assert.truthy(json.decode(("["):rep(64) .. ("]"):rep(64)))
      local value, err = json.decode(("["):rep(100000))
      assert.is_nil(value)
      assert.matches("deeper than 64", err)
    end)

    it("survives any bytes", function()
      math.randomseed(11)
      local letters = '{}[]",:\\u0123e+-.tfn \n\0'
      for _ = 1, 20000 do
        local t = {}
        for i = 1, math.random(0, 12) do
          local at = math.random(#letters)
          t[i] = letters:sub(at, at)
        end
        local text = table.concat(t)
        local value, err = json.decode(text)
        if value == nil then assert.is_string(err, text) else assert.same(value, json.decode(json.encode(value))) end
      end
    end)
  end)
end)
