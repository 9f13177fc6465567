local tree = require "appliance.aws.tree"
local xml = require "appliance.xml"

describe("an answer of AWS as a table", function()
  local function value(text) return tree.value(assert(xml.parse(text))) end

  it("has texts as they are", function()
    assert.same({ A = "1", B = "", C = " x " }, value "<r><A>1</A><B/><C> x </C></r>")
    assert.same("plain", value "<r>plain</r>")
  end)

  it("has lists where AWS has them, of any length", function()
    assert.same({ L = { "a" } }, value "<r><L><member>a</member></L></r>")
    assert.same({ L = { { K = "1" }, { K = "2" } } }, value "<r><L><item><K>1</K></item><item><K>2</K></item></L></r>")
    assert.same({ HostedZones = { { Id = "/z" } } }, value "<r><HostedZones><HostedZone><Id>/z</Id></HostedZone></HostedZones></r>")
    assert.same({ reservationSet = {} }, value "<r><reservationSet/></r>")
  end)

  it("has one value for each name, or a list of them", function()
    assert.same({ A = { "1", "2", "3" }, B = "x" }, value "<r><A>1</A><B>x</B><A>2</A><A>3</A></r>")
    assert.same({ A = { { x = "1" }, { x = "2" } }, B = "" }, value "<r><A><x>1</x></A><B/><A><x>2</x></A></r>")
  end)

  it("makes lists of what may be one", function()
    assert.same({}, tree.list(nil))
    assert.same({}, tree.list "")
    assert.same({}, tree.list {})
    assert.same({ "x" }, tree.list "x")
    assert.same({ { K = "1" } }, tree.list { K = "1" })
    assert.same({ "a", "b" }, tree.list { "a", "b" })
  end)

  it("is what stands inside the result of an action", function()
    assert.same({ Account = "1" },
      tree.result("<XResponse><XResult><Account>1</Account></XResult><ResponseMetadata/></XResponse>", "X", "s X"))
    assert.same({ reservationSet = {}, requestId = "r" },
      tree.result("<XResponse><requestId>r</requestId><reservationSet/></XResponse>", "X", "ec2 X"))
    assert.same({}, tree.result("<XResponse><XResult/></XResponse>", "X", "s X"))
    local none, err = tree.result("<YResponse/>", "X", "s X")
    assert.is_nil(none)
    assert.same("protocol", err.kind)
    assert.matches("s X: the answer is <YResponse>", tostring(err))
    none, err = tree.result("junk", "X", "s X")
    assert.is_nil(none)
    assert.matches("s X: the answer is no XML", tostring(err))
  end)
end)
