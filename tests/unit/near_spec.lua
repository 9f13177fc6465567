local near = require "appliance.near"

describe("near", function()
  it("finds a name one slip away: left out, added, changed, swapped", function()
    local commands = { "status", "start", "stop", "plan", "logs" }
    assert.equal("status", near.best("statu", commands))
    assert.equal("status", near.best("statuss", commands))
    assert.equal("status", near.best("stazus", commands))
    assert.equal("status", near.best("sttaus", commands))
    assert.equal("plan", near.best("paln", commands))
  end)

  it("ignores case", function()
    assert.equal("START_MASTER", near.best("start_master", { "STOP_TIMEOUT", "START_MASTER" }))
    assert.equal("START_MASTER", near.best("Start_Mastr", { "START_MASTER" }))
  end)

  it("allows two slips from eight letters on, one below", function()
    assert.equal("WORKER_MEMORY", near.best("WORKR_MEMROY", { "WORKER_MEMORY" }))
    assert.is_nil(near.best("stadxs", { "status" }))
    assert.is_nil(near.best("WRKR_MMRY", { "WORKER_MEMORY" }))
  end)

  it("takes no other name for a word of one or two letters", function()
    assert.is_nil(near.best("a", { "b" }))
    assert.equal("UI", near.best("ui", { "UX", "UI" }))
  end)

  it("takes the nearest; of equals the first by alphabet", function()
    assert.equal("MASTER_PORT", near.best("MASTER_PORTS", { "MASTER_POST", "MASTER_PORT" }))
    assert.equal("abcd", near.best("abce", { "abcf", "abcd" }))
    assert.equal("abcd", near.best("abce", { "abcd", "abcf" }))
  end)

  it("takes iterators with state", function()
    assert.equal("STATE_DIR", near.best("STATEDIR", pairs { STATE_DIR = 1, LOG_DIR = 2 }))
    assert.equal("ab1", near.best("ab2", ("ab1 xyz"):gmatch "%S+"))
  end)

  it("says nothing rather than nonsense", function()
    assert.is_nil(near.best("PATH", { "HOME", "LANG" }))
    assert.equal("", near.hint("zzz", { "abc" }))
    assert.equal(', did you mean "abc"?', near.hint("abd", { "abc" }))
  end)

  it("is the textbook distance within its limit", function()
    local function plain(a, b)                               -- the whole matrix, no bounds
      local d = {}
      for i = 0, #a do d[i] = { [0] = i } end
      for j = 0, #b do d[0][j] = j end
      for i = 1, #a do
        for j = 1, #b do
          d[i][j] = math.min(d[i - 1][j] + 1, d[i][j - 1] + 1, d[i - 1][j - 1] + (a:byte(i) == b:byte(j) and 0 or 1))
          if i > 1 and j > 1 and a:byte(i) == b:byte(j - 1) and a:byte(i - 1) == b:byte(j) then
            d[i][j] = math.min(d[i][j], d[i - 2][j - 2] + 1)
          end
        end
      end
      return d[#a][#b]
    end
    math.randomseed(7)
    local function word()
      local t = {}
      for i = 1, math.random(0, 7) do t[i] = ("abc"):sub(math.random(3)):sub(1, 1) end
      return table.concat(t)
    end
    for _ = 1, 3000 do
      local a, b, limit = word(), word(), math.random(0, 3)
      local want = plain(a, b)
      assert.equal(want <= limit and want or nil, near.distance(a, b, limit), a .. " " .. b)
    end
  end)
end)
