-- The list of ZooKeeper servers: as people write it, as libzookeeper takes it.
local list = require "appliance.zk.list"

describe("the list of ZooKeeper servers", function()
  it("is host:port, with 2181 where no port is given, and one chroot for all", function()
    local parsed = list.parse "10.0.0.1:2182,10.0.0.2/a/b"
    assert.same({ { host = "10.0.0.1", port = 2182 }, { host = "10.0.0.2", port = 2181 } }, parsed.hosts)
    assert.equal("/a/b", parsed.chroot)
    assert.equal("10.0.0.1:2182,10.0.0.2:2181", parsed.text)
    assert.equal("", list.parse("10.0.0.1/").chroot)
    assert.equal("", list.parse("10.0.0.1").chroot)
  end)

  it("takes IPv6 addresses in brackets, which the library does not", function()
    local parsed = list.parse "[::1]:2182,[fe80::1%eth0]"
    assert.equal("::1:2182,fe80::1%eth0:2181", parsed.text)
    assert.is_false(parsed.has_names)
  end)

  it("knows names from addresses: they have to be looked up first", function()
    local parsed = list.parse " zk1.example.org , 10.0.0.1:1"
    assert.is_true(parsed.has_names)
    assert.is_nil(parsed.text)
    assert.equal("zk1.example.org", parsed.hosts[1].host)
  end)

  it("keeps what a name stood for while it can't be looked up", function()
    local hosts = list.parse("a,b,10.0.0.3").hosts
    local names = { a = { "10.0.0.1" } }
    local function resolve(name) return names[name], not names[name] and name .. ": no name server answered" or nil end
    local known = {}
    local function look()
      local found, fault = list.look_up(hosts, resolve, known)
      return list.text(found), fault
    end
    local text, fault = look()
    assert.equal("10.0.0.1:2181,10.0.0.3:2181", text)
    assert.equal("b: no name server answered", fault)
    names.b = { "10.0.0.2", "10.0.0.3" }
    assert.equal("10.0.0.1:2181,10.0.0.2:2181,10.0.0.3:2181", (look()))
    names.a = nil
    text, fault = look()
    assert.equal("10.0.0.1:2181,10.0.0.2:2181,10.0.0.3:2181", text)
    assert.equal("a: no name server answered", fault)
    names.a = { "10.0.0.9" }
    assert.equal("10.0.0.9:2181,10.0.0.2:2181,10.0.0.3:2181", (look()))
  end)

  it("may be empty: servers come later", function()
    assert.equal("", list.parse("").text)
    assert.equal("/x", list.parse("/x").chroot)
  end)

  it("says which entry is none", function()
    for _, text in ipairs { "a:b", "a:0", "a:65536", "a:1:2", "[::1", "a;b", "a:-1" } do
      local parsed, fault = list.parse(text)
      assert.is_nil(parsed, text)
      assert.equal(text .. " is not host:port", fault)
    end
    assert.is_nil((list.parse "a//b"))
  end)
end)
