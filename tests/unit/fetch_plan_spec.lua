-- What a plan fetches: checked, shown, compared, carried out by the reconciler's steps. Pure; fetching is in tests/native/fetch_spec.lua.
local address = require "appliance.fetch.address"
local plan = require "appliance.plan"
local reconcile = require "appliance.reconcile"
local show = require "appliance.plan.show"
local simulate = require "appliance.simulate"
local supervise = require "appliance.supervise"

local SUM <const> = ("ab"):rep(32)

local function some(name, more)
  local spec = { name = name, command = { "/bin/" .. name } }
  for field, value in pairs(more or {}) do spec[field] = value end
  return spec
end

local function normalised(parts) return assert(plan.normalise(plan.plan(parts), { profile = "site" })) end

local function faults_of(parts)
  local made, faults = plan.normalise(plan.plan(parts), { profile = "site" })
  assert.is_nil(made)
  local texts = {}
  for i, fault in ipairs(faults) do texts[i] = fault.text:match "^profile site: (.*)$" end
  return texts
end

describe("an address", function()
  it("is a path or a URI", function()
    assert.same({ scheme = "file", path = "/a b" }, address.parse "file:///a%20b")
    assert.same({ scheme = "file", path = "/a" }, address.parse "/a")
    assert.same({ scheme = "s3", url = "s3://b/k/x+y%20z" }, address.parse "s3a://b/k/x+y%20z")
    assert.same({ scheme = "https", url = "https://H:8443/x?y=z", user = "me:p@ss", host = "h:8443" },
      address.parse "HTTPS://me:p%40ss@H:8443/x?y=z")
    assert.same({ scheme = "http", url = "http://[fd00::1]/", host = "[fd00::1]" }, address.parse "http://[fd00::1]")
    assert.same({ "x.jar", "a b.jar", "c_d", "host" }, { address.name "s3://b/p/x.jar", address.name "file:///p/a%20b.jar",
      address.name "/p/c:d", address.name "https://host/p/host?name=/other" })
  end)

  it("is told what is wrong with it", function()
    for text, words in pairs {
      ["jars/x.jar"] = "is neither an absolute path nor a URI", ["gs://b/x.jar"] = "is behind gs://",
      ["s3:/b/k"] = "has not two slashes", ["s3:///k"] = "has not two slashes",
      ["s3://b"] = "names no object", ["s3://b/"] = "names no object", ["s3://b/dir/"] = "names no object",
      ["https:///x"] = "names no host", ["https://h/x#part"] = "has a fragment", ["https://h/a b"] = "must be escaped",
      ["file://host/x"] = "no absolute path", ["https://h\n/x"] = "control character",
    } do
      local found, problem = address.parse(text)
      assert.is_nil(found, text)
      assert.matches(words, problem, 1, true)
    end
  end)
end)

describe("a plan that fetches", function()
  it("says each object's source, hash and mode", function()
    local made = normalised { fetch = { ["jars/x.jar"] = { from = "s3://b/x.jar", sha256 = SUM:upper(), watch = true },
      ["/opt/data/y"] = "https://h/y" }, services = { some("a", { inputs = { "jars/x.jar", "/opt/data/y" } }), some "b" } }
    assert.same({ from = "s3://b/x.jar", sha256 = SUM, mode = 420, watch = true }, made.fetch["jars/x.jar"])
    assert.same({ from = "https://h/y", mode = 420 }, made.fetch["/opt/data/y"])
    assert.is_nil(made.services[2].inputs)
    assert.is_nil(normalised({ services = { some "a" } }).fetch)
  end)

  it("makes what no service names an input of all", function()
    local made = normalised { files = { f = "1" }, fetch = { x = "/x", y = "/y" },
      services = { some("a", { inputs = { "f", "x" } }), some "b" } }
    assert.same({ "f", "x", "y" }, made.services[1].inputs)
    assert.same({ "y" }, made.services[2].inputs)
  end)

  it("takes over what another plan fetches, changes it or takes it away", function()
    local base = plan.plan { fetch = { a = "/a", b = "/b", c = "/c" } }
    local made = normalised { base, fetch = { b = "/other", c = false } }
    assert.same({ a = { from = "/a", mode = 420 }, b = { from = "/other", mode = 420 } }, made.fetch)
  end)

  it("is told every fault at once", function()
    assert.same({
      "fetch ../x: may not hold \"..\"",
      "fetch .known/x: begins with a dot; such names are kept for what is known of the others",
      'fetch a: form is not known, did you mean "from"?',
      'fetch a: from is missing: an address, such as "s3://bucket/jars/x.jar"',
      "fetch b: from: gs://b/x is behind gs://; files come from s3://, https://, http://, file:// or a path, for example /data/x",
      "fetch c: from: https://(redacted)@h/x y has letters that must be escaped in a URL, such as a blank (%20)",
      "fetch c: mode is not a number such as 420 (0644 in octal)",
      "fetch c: sha256 is not the 64 hex digits that sha256sum prints",
      'fetch d: is a number; write { from = "s3://bucket/key" }',
      "fetch e: watch is a string; it takes true or false",
      "fetch f: is among `files` too; take another name for one of them",
      'fetch g: there is no kind "ja"; it takes "jar"',
      "service s: inputs: the plan has no file aa",
    }, faults_of { files = { f = "x" }, fetch = {
      ["../x"] = "/x", [".known/x"] = "/x", a = { form = "/x" }, b = "gs://b/x",
      c = { from = "https://me:word@h/x y", sha256 = "12", mode = 4095 }, d = 5, e = { from = "/x", watch = "yes" }, f = "/x",
      g = { from = "/x", kind = "ja" },
    }, services = { some("s", { inputs = { "aa" } }) } })
  end)

  it("is shown and compared without user, password and query", function()
    local one = normalised { fetch = { y = "s3://b/y",
      x = { from = "https://me:word@h/x?X-Amz-Signature=1", watch = true, sha256 = SUM } } }
    local text = plan.describe(one)
    assert.match("fetch x (mode 0644)\n  from     https://(redacted)@h/x?(redacted)  # watched: fetched again when it changes\n"
      .. "  sha256   " .. SUM, text, 1, true)
    assert.match("fetch y (mode 0644)\n  from     s3://b/y\n", text, 1, true)
    assert.same("https://(redacted)@h/x?(redacted)", plan.redacted(one).fetch.x.from)
    local other = normalised { fetch = { z = "s3://b/z", x = { from = "https://me:word@h/x?X-Amz-Signature=2", mode = 384 } } }
    assert.equal("~ fetch x: from: another user, password or query\n~ fetch x: sha256: " .. SUM .. " -> (none)\n"
      .. "~ fetch x: mode: 0644 -> 0600\n~ fetch x: watch: true -> (none)\n- fetch y\n+ fetch z from s3://b/z\n",
      plan.diff_text(plan.diff(one, other)))
    assert.equal("", plan.diff_text(plan.diff(one, one)))
    assert.is_nil(show.diff(normalised { services = {} }, normalised { services = {} }).fetch)
  end)
end)

describe("the steps of a plan that fetches", function()
  local function kinds(steps)
    local list = {}
    for i, step in ipairs(steps) do list[i] = ("%s %s"):format(step.kind, step.object or step.file or step.service) end
    return list
  end

  it("fetch before all else, and drop after all else", function()
    local one = normalised { files = { f = "1" }, fetch = { x = "/x", y = "/y" },
      services = { some("a", { inputs = { "x", "y", "f" } }) } }
    assert.same({ "fetch x", "fetch y", "write f", "declare a", "start a" }, kinds(reconcile.steps(nil, one)))
    local other = normalised { files = { f = "1" }, fetch = { x = "/other" },
      services = { some("a", { inputs = { "x", "f" } }), some "b" } }
    local steps = reconcile.steps(one, other)
    assert.same({ "fetch x", "declare b", "restart a", "start b", "drop y" }, kinds(steps))
    assert.equal("a: restarted, x changed", steps[3].log)
    assert.equal("x: fetched from /other", steps[1].log)
    assert.same({}, reconcile.steps(other, other))
  end)

  it("leave who reads what could not be fetched as it is, and try again with the next plan", function()
    local function planned(from) return normalised { fetch = { x = from, y = "/y" }, files = { f = from },
      services = { some("reads", { inputs = { "x", "f" } }), some("other", { inputs = { "y" } }) } } end
    local one, two = planned "/1", planned "/2"
    local restarted = {}
    local world = setmetatable({ log = function() end, restart = function(name) restarted[#restarted + 1] = name; return true end,
      fetch = function() return { x = "no such file" } end }, { __index = function() return function() return true end end })
    local failures = supervise.carry_out(reconcile.steps(one, two), world)
    assert.same({}, restarted)
    assert.equal("no such file", failures[1].err)
    local in_force = supervise.in_force(two, failures, one)
    assert.equal("/1", in_force.fetch.x.from)
    assert.equal("/y", in_force.fetch.y.from)
    assert.same({ "fetch x", "write f", "restart reads" }, kinds(reconcile.steps(in_force, two)))
  end)

  it("tell of changed layers by their origin, never by their text", function()
    local function with(text, more)
      return { spark = { layers = { ["hive-site.xml"] = { { origin = "HIVE_SITE_XML s3://b/h", text = text }, more } } } }
    end
    assert.same({ "HIVE_SITE_XML s3://b/h changed" }, reconcile.causes(with "password one", with "password two"))
    assert.same({ "m is new" }, reconcile.causes(with "one", with("one", { origin = "m", text = "x" })))
    assert.same({ "m is gone" }, reconcile.causes(with("one", { origin = "m", text = "x" }), with "one"))
  end)
end)

describe("a simulated node that fetches", function()
  local function profile(from)
    return { plan = function() return plan.plan { fetch = { x = { from = from or "s3://b/x", watch = true }, y = "s3://b/y" },
      services = { some("a", { inputs = { "x" } }), some("b", { inputs = { "y" }, change = "keep" }) } } end }
  end

  it("has it, and fetches again what is another version", function()
    local node <close> = simulate(profile(), {})
    assert.same({ x = "s3://b/x", y = "s3://b/y" }, node.fetched)
    node.new_version "x"
    node.new_version "y"                                      -- nobody watches that one
    node.pass(2)
    assert.same({ "x: fetched from s3://b/x", "a: restarted, x changed" }, node.decisions)
  end)

  it("goes on with what it has while the new version can't be had", function()
    local node <close> = simulate(profile(), {})
    node.fetch_fails("x", "access denied")
    node.new_version "x"
    node.pass(2)
    assert.same({ "not fetched: x: access denied" }, node.decisions)
    assert.equal(1, node.services.a.starts)
    node.fetch_fails("x", nil)
    node.new_version "x"
    node.pass(2)
    assert.equal(2, node.services.a.starts)
  end)

  it("does not start without", function()
    assert.error_matches(function() simulate(profile(), {}, { fetch_fails = { y = "no such bucket" } }) end, "y: no such bucket")
  end)
end)
