local merge = require "appliance.merge"
local properties = require "appliance.render.properties"

local CONF = "spark-defaults.conf"

local function profile(keys) return { layer = "profile", origin = "profile single-node", keys = keys } end
local function shipped(keys) return { layer = "default", origin = "shipped", keys = keys } end
local function mounted(text) return { layer = "mounted", origin = "/conf/spark-defaults.conf", text = text } end
local function ext_conf(text) return { layer = "EXT_CONF", origin = "s3://bucket/spark.conf", text = text } end
local function environment(keys) return { layer = "environment", origin = "EXECUTOR_MEMORY (environment)", keys = keys } end

local function file(...) return assert(merge.file(CONF, { ... })) end
local function map_of(made) return properties.map(assert(properties.parse(made.text))) end

describe("merge", function()
  it("lets each layer win over those below it, and knows what it hides", function()
    local made = file(
      environment { ["spark.executor.memory"] = "5g" }, ext_conf "spark.executor.memory 4g\n", mounted "spark.executor.memory 3g\n",
      profile { ["spark.executor.memory"] = "2g" }, shipped { ["spark.executor.memory"] = "1g" })
    assert.same({
      value = "5g", origin = "EXECUTOR_MEMORY (environment)",
      shadowed = {
        { value = "4g", origin = "s3://bucket/spark.conf" }, { value = "3g", origin = "/conf/spark-defaults.conf" },
        { value = "2g", origin = "profile single-node" }, { value = "1g", origin = "shipped" },
      },
    }, made.keys["spark.executor.memory"])
    assert.same({ ["spark.executor.memory"] = "5g" }, map_of(made))
  end)

  -- The older appliance compared a list of words with a string here: nothing was ever replaced, and duplicates piled up.
  it("replaces a key of the mounted file by the one of EXT_CONF, once, in either form", function()
    for _, text in ipairs { "spark.a new\n", "spark.a=new\n", "spark.a: new\n", "  spark.a   =   new\n" } do
      local made = file(mounted "spark.a old\nspark.b kept\n", ext_conf(text))
      assert.same({ ["spark.a"] = "new", ["spark.b"] = "kept" }, map_of(made))
      local _, count = made.text:gsub("\nspark%.a ", "")
      assert.equal(1, count)
    end
  end)

  -- The older appliance deleted by prefix: setting the memory took the overhead away.
  it("leaves a key alone whose name only begins like another", function()
    local made = file(mounted "spark.executor.memoryOverhead 512m\nspark.driver.memoryOverhead 256m\n",
      environment { ["spark.executor.memory"] = "2g", ["spark.driver.memory"] = "1g" })
    assert.same({
      ["spark.executor.memoryOverhead"] = "512m", ["spark.driver.memoryOverhead"] = "256m",
      ["spark.executor.memory"] = "2g", ["spark.driver.memory"] = "1g",
    }, map_of(made))
  end)

  it("lets what somebody set beat the files, and a default of ours none of them", function()
    local keys = {
      ["spark.executor.memory"] = { value = "2g", layer = "default", origin = "default of EXECUTOR_MEMORY" },
      ["spark.driver.memory"] = { value = "3g", layer = "environment", origin = "DRIVER_MEMORY (environment)" },
    }
    local made = file(profile(keys), ext_conf "spark.executor.memory 6g\nspark.driver.memory 6g\n")
    assert.same({ ["spark.executor.memory"] = "6g", ["spark.driver.memory"] = "3g" }, map_of(made))
    assert.equal("DRIVER_MEMORY (environment)", made.keys["spark.driver.memory"].origin)
    assert.equal("default of EXECUTOR_MEMORY", made.keys["spark.executor.memory"].shadowed[1].origin)
  end)

  it("keeps comments above their keys, and says where another value stands", function()
    local made = file(
      mounted "# Licensed\n\n# per executor\nspark.executor.memory 3g\n# end\n", ext_conf "# for the big job\nspark.executor.memory 4g\n",
      profile { ["spark.master"] = "spark://a:7077" })
    assert.equal(table.concat({
      "# Written by spark-appliance: the next start writes it anew. `spark-appliance plan` tells where each value comes from.",
      "# Licensed", "", "# per executor",
      '# s3://bucket/spark.conf instead of "3g" of /conf/spark-defaults.conf',
      "# for the big job",
      "spark.executor.memory 4g",
      "# end",
      "# profile single-node",
      "spark.master spark://a:7077", "",
    }, "\n"), made.text)
  end)

  it("gives the same text for the same layers, and for its own output", function()
    local layers = { mounted "# x\nspark.b 1\nspark.a 2\n", profile { ["spark.c"] = 1, ["spark.d"] = 2, ["spark.e"] = 3 } }
    local first = file(table.unpack(layers))
    assert.equal(first.text, file(table.unpack(layers)).text)
    local _, headers = file(mounted(first.text)).text:gsub("Written by spark%-appliance", "")
    assert.equal(1, headers)
  end)

  it("writes memory with its unit: a bare number would be MiB to Spark", function()
    local made = file(profile { ["spark.executor.memory"] = 2 << 30, ["spark.executor.memoryOverhead"] = 512 << 20, ["spark.x"] = 2 << 30,
                                ["spark.memory.fraction"] = 0.6 })
    assert.same({ ["spark.executor.memory"] = "2g", ["spark.executor.memoryOverhead"] = "512m", ["spark.x"] = "2147483648",
                  ["spark.memory.fraction"] = "0.6" }, map_of(made))
  end)

  it("writes a list with commas", function()
    assert.same({ ["spark.jars"] = "/a.jar,/b.jar", ["spark.ports"] = "1,2" },
      map_of(file(profile { ["spark.jars"] = { value = { "/a.jar", "/b.jar" }, layer = "environment", origin = "EXT_JARS (environment)" },
                            ["spark.ports"] = { 1, 2 } })))
  end)

  it("is readable for us alone when a key is secret, wherever it comes from", function()
    assert.equal(tonumber("644", 8), file(profile { ["spark.a"] = 1 }).mode)
    local made = file(profile { ["spark.a"] = 1 }, mounted "spark.authenticate.secret x\n")
    assert.equal(tonumber("600", 8), made.mode)
    assert.is_true(made.keys["spark.authenticate.secret"].secret)
    assert.equal(tonumber("600", 8), file(profile { ["spark.mine"] = { value = "x", secret = true } }).mode)
  end)

  it("never writes the secret that it hides into a comment", function()
    local made = file(mounted "spark.authenticate.secret hidden-one\n", environment { ["spark.authenticate.secret"] = "other" })
    assert.not_match("hidden%-one", made.text)
  end)

  it("names file, line and cure of a layer that can't be read", function()
    local made, err = merge.file(CONF, { mounted "spark.a \\u12\n" })
    assert.is_nil(made)
    assert.match("^/conf/spark%-defaults%.conf:1: ", err.text)
  end)

  it("refuses a value that has no text, by file and key", function()
    local made, err = merge.file(CONF, { profile { ["spark.a"] = { value = {} } } })
    assert.is_nil(made)
    assert.equal("spark-defaults.conf: spark.a: a table can't be written there; give a text, a number, true or false", err.text)
  end)

  it("takes a plain text whole from its highest layer", function()
    local made = assert(merge.file("fairscheduler.xml", {
      { layer = "profile", origin = "profile single-node", text = "<a/>" },
      { layer = "mounted", origin = "/conf/fairscheduler.xml", text = "<b/>" },
    }))
    assert.same({ format = "text", text = "<b/>", mode = 420, origin = "/conf/fairscheduler.xml",
                  shadowed = { { origin = "profile single-node" } } }, made)
  end)

  it("knows formats by name", function()
    assert.equal("properties", merge.format_of "spark-defaults.conf")
    assert.equal("properties", merge.format_of "log4j2.properties")
    assert.equal("xml", merge.format_of "/etc/hadoop/core-site.xml")
    assert.equal("text", merge.format_of "fairscheduler.xml")
    assert.equal("text", merge.format_of "jaas.conf")
  end)
end)
