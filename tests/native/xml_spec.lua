-- The reader in C (module appliance.xml) and what makes Hadoop's files of it.
local merge = require "appliance.merge"
local reader = require "appliance.xml"
local xml = require "appliance.render.xml"

local function site(body) return "<?xml version=\"1.0\"?>\n<configuration>\n" .. body .. "\n</configuration>\n" end

local function property(name, value, more)
  return ("<property><name>%s</name><value>%s</value>%s</property>"):format(name, value, more or "")
end

local function items(text)
  local document = assert(xml.parse(text, "core-site.xml"))
  local list = {}
  for i, item in ipairs(document.items) do list[i] = { item.key, item.value } end
  return list
end

local function refusal(text)
  local document, err = xml.parse(text, "core-site.xml")
  assert.is_nil(document)
  assert.equal("invalid", err.kind)
  return tostring(err)
end

describe("the XML reader", function()
  it("gives elements, attributes, text and comments in order", function()
    assert.same({
      name = "a", line = 1, attributes = { x = "1 & 2" },
      "t < ", { name = "b", line = 2, "<raw>" }, { comment = " c " }, { name = "d", line = 2 },
    }, reader.parse '<!-- before --><a x="1 &amp; 2">t &lt; <b\n><![CDATA[<raw>]]></b><!-- c --><d/></a>')
  end)

  it("joins text across entities and CDATA", function()
    assert.same({ name = "a", line = 1, "1<2&3<b>4é" }, reader.parse "<a>1&lt;2&amp;3<![CDATA[<b>]]>4&#233;</a>")
  end)

  it("reads the encodings that documents declare", function()
    assert.same({ name = "a", line = 1, "é" }, reader.parse "<?xml version='1.0' encoding='ISO-8859-1'?><a>\xE9</a>")
    assert.same({ name = "a", line = 1, "é" }, reader.parse("\xFF\xFE" .. ("<a>\xE9</a>"):gsub(".", "%0\0")))
  end)

  it("refuses a DOCTYPE in words, whatever it would declare", function()
    for _, doctype in ipairs {
      "<!DOCTYPE a>", '<!DOCTYPE a SYSTEM "http://127.0.0.1:1/x.dtd">', '<!DOCTYPE a [<!ENTITY x "y">]>',
      '<!DOCTYPE a [<!ENTITY x SYSTEM "file:///etc/passwd">]>',
      '<!DOCTYPE a [<!ENTITY x "xxxxxxxxxx"><!ENTITY y "&x;&x;&x;"><!ENTITY z "&y;&y;&y;">]>',
    } do
      local root, err = reader.parse(doctype .. "<a>&x;</a>")
      assert.is_nil(root)
      assert.equal("line 1: a DOCTYPE is not accepted: take it out, and write what its entities stand for", err.text)
    end
  end)

  it("knows no entity beyond the five of XML", function()
    local root, err = reader.parse "<a>\n&nbsp;</a>"
    assert.is_nil(root)
    assert.match("^line 2: Entity 'nbsp' not defined", err.text)
    assert.is_nil((reader.parse "<a b='&foo;'/>"))
  end)

  it("tells what is not well-formed, and the line", function()
    for text, said in pairs {
      [""] = "^empty", ["<a>\n<b></a>"] = "^line 2: ", ["<a/><b/>"] = "^line 1: ", ["<a>\1</a>"] = "^line 1: ", ["<a>\xE9</a>"] = "UTF%-8",
      ["x"] = "^line 1: ", ["<a b=1/>"] = "^line 1: ",
    } do
      local root, err = reader.parse(text)
      assert.is_nil(root)
      assert.match(said, err.text)
    end
  end)

  it("keeps to its limits", function()
    local root, err = reader.parse(("<a>"):rep(33) .. ("</a>"):rep(33))
    assert.is_nil(root)
    assert.equal("line 1: elements are nested deeper than the limit", err.text)
    assert.is_table(reader.parse(("<a>"):rep(32) .. ("</a>"):rep(32)))
    assert.is_nil((reader.parse("<a><b/></a>", { depth = 1 })))
    root, err = reader.parse("<a>" .. ("x"):rep(100) .. "</a>", { ceiling = 50 })
    assert.is_nil(root)
    assert.equal("107 bytes, more than the 50 it may have", err.text)
    root, err = reader.parse("<a>" .. ("<b/>"):rep(200001) .. "</a>")
    assert.is_nil(root)
    assert.match("more than the limit allows", err.text)
  end)
end)

describe("the XML writer", function()
  it("escapes so that the reader gives the same back, in elements and attributes", function()
    for _, text in ipairs { "", "a&b<c>\"d'", "]]>", "é€😀", "\r", "&amp;" } do
      local escaped = assert(reader.escape(text))
      local root = assert(reader.parse(('<a x="%s">%s</a>'):format(escaped, escaped)))
      assert.equal(text, root.attributes.x)
      assert.equal(text, root[1] or "")
    end
    assert.equal("two\nlines\t", assert(reader.parse("<a>" .. reader.escape "two\nlines\t" .. "</a>"))[1])
  end)

  it("refuses what XML can't hold", function()
    local text, err = reader.escape "a\1b"
    assert.is_nil(text)
    assert.equal("the control character 0x01 can't be written in XML", err.text)
  end)
end)

describe("Hadoop's configuration, read", function()
  it("gives keys in order, with their white space, from elements or attributes", function()
    assert.same({ { "a", " 1 " }, { "b", "x<y" }, { "c", "2" }, { "e", "" } }, items(site(
      property(" a ", " 1 ") .. property("b", "x&lt;y") .. '<property name="c" value="2"/><property><name>d</name></property>' ..
      property("e", ""))))
  end)

  it("keeps final, descriptions and comments", function()
    local document = assert(xml.parse(site("<!-- why -->\n" ..
      property("a", "1", "<final> true </final><description>what a is</description>") ..
      property("b", "2", "<final>false</final>") .. "<!-- end -->")))
    assert.same({
      { key = "a", value = "1", final = true, description = "what a is", line = 4, above = { "why" } },
      { key = "b", value = "2", line = 4, above = {} },
    }, document.items)
    assert.same({ "end" }, document.below)
  end)

  it("refuses in words what would be lost, with file, line and cure", function()
    assert.equal("core-site.xml:1: <conf> where Hadoop's <configuration> is expected", refusal "<conf/>")
    assert.equal("core-site.xml:3: <include> is not followed: mount one file that holds it all",
      refusal(site '<xi:include xmlns:xi="http://www.w3.org/2001/XInclude" href="other.xml"/>'))
    assert.equal("core-site.xml:3: <proprety> where a <property> is expected", refusal(site "<proprety/>"))
    assert.equal("core-site.xml:3: a <property> without a <name>", refusal(site "<property><value>1</value></property>"))
    assert.equal("core-site.xml:3: <value> holds elements where a text is meant", refusal(site(property("a", "<b/>"))))
    assert.match('^core%-site.xml:2: text between the properties: "a = 1"', refusal(site "a = 1"))
    assert.match("^core%-site.xml: line 4: ", refusal(site "<property>"))
  end)
end)

describe("Hadoop's configuration, written", function()
  it("comes back the same, whatever the values hold", function()
    for _, value in ipairs { "", " ", "a&b<c>\"d'", "]]>", "é€😀", "two\nlines\tand\rreturn", "${user.home}", "-- x --", "&amp;" } do
      local description = value ~= "" and value or nil
      local document = { items = { { key = "k", value = value, description = description, final = true } } }
      local back = assert(xml.parse(assert(xml.render(document))))
      assert.same({ { key = "k", value = value, description = description, final = true, line = 3, above = {} } }, back.items)
    end
  end)

  it("keeps comments, even such as XML would not take", function()
    local text = assert(xml.render { items = { { key = "k", value = "v", above = { "a -- b --- c-" } } }, below = { "end" } })
    local back = assert(xml.parse(text))
    assert.same({ "a - - b - - - c-" }, back.items[1].above)
    assert.same({ "end" }, back.below)
  end)

  it("refuses a value that XML can't hold", function()
    local text, err = xml.render({ items = { { key = "k", value = "a\1b" } } }, "core-site.xml")
    assert.is_nil(text)
    assert.equal("core-site.xml: k: its value has a control character, which XML can't hold", err.text)
    assert.is_nil((xml.render { items = { { key = "k", value = "\xFF" } } }))
    assert.is_nil((xml.render { items = { { key = "k", value = "\u{FFFE}" } } }))
  end)
end)

describe("Hadoop's configuration, merged", function()
  it("lays layers over each other, but nothing over what is final", function()
    local made = assert(merge.file("hive-site.xml", {
      { layer = "default", origin = "shipped", keys = { ["a"] = 1, ["javax.jdo.option.ConnectionPassword"] = "x" } },
      { layer = "mounted", origin = "/conf/hive-site.xml", text = site("<!-- why -->" .. property("a", "2", "<final>true</final>") ..
        property("b", "2", "<description>of b</description>")) },
      { layer = "environment", origin = "B (environment)", keys = { a = 3, b = 3 } },
    }))
    assert.same({ value = "2", origin = "/conf/hive-site.xml", final = true,
                  shadowed = { { value = "3", origin = "B (environment)" }, { value = "1", origin = "shipped" } } }, made.keys.a)
    assert.equal("3", made.keys.b.value)
    assert.equal(384, made.mode)
    assert.equal([[
<?xml version="1.0" encoding="UTF-8"?>
<configuration>
  <!-- Written by spark-appliance: the next start writes it anew. `spark-appliance plan` tells where each value comes from. -->
  <!-- why -->
  <property>
    <name>a</name>
    <value>2</value>
    <final>true</final>
  </property>
  <!-- B (environment) instead of "2" of /conf/hive-site.xml -->
  <property>
    <name>b</name>
    <value>3</value>
    <description>of b</description>
  </property>
  <!-- shipped -->
  <property>
    <name>javax.jdo.option.ConnectionPassword</name>
    <value>x</value>
  </property>
</configuration>
]], made.text)
  end)
end)
