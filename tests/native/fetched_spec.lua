-- The fact spark.layout() with EXT_CONF and HIVE_SITE_XML from elsewhere, and a whole plan of them; against tests/support/file_server.py.
local facts = require "appliance.facts"
local fetch = require "appliance.fetch"
local file = require "appliance.core.file"
local file_server = require "file_server"
local plan = require "appliance.plan"
local spark = require "appliance.facts.spark"

describe("files of the user's from elsewhere", function()
  local server, home, env, watch

  setup(function() server = file_server.start() end)
  teardown(function() server:__close() end)
  before_each(function()
    home = os.tmpname()
    os.remove(home)
    assert(os.execute(("mkdir -p %s/spark/jars %s/spark/conf %s/java/bin"):format(home, home, home)))
    assert(file.replace(home .. "/spark/jars/spark-core_2.13-4.1.1.jar", "", 420, false))
    assert(file.replace(home .. "/java/bin/java", "", 493, false))
    assert(file.replace(home .. "/java/release", 'JAVA_VERSION="17.0.1"\n', 420, false))
    env = { SPARK_HOME = home .. "/spark", JAVA_HOME = home .. "/java", STATE_DIR = home .. "/state", FACTS_TIMEOUT = 20,
            EXT_CONF = server.base .. "/x.conf?token=hidden", HIVE_SITE_XML = server.base .. "/hive.xml" }
    server:put("/x.conf?token=hidden", "# mine\nspark.a 1\nspark.b=2\n")
    server:put("/hive.xml", [[<configuration><!-- the catalog -->
      <property><name>javax.jdo.option.ConnectionPassword</name><value>hunter2</value></property>
      <property><name>hive.a</name><value>1</value></property></configuration>]])
    watch = fetch.watch
    fetch.watch = function(list, changed, _, told) return watch(list, changed, 0.02, told) end
  end)
  after_each(function()
    fetch.watch = watch
    file.remove_tree(home)
  end)

  local function learn()
    local followed = facts.follow({ spark = spark.source() }, env)
    local values, faults = followed:first({ spark = spark.source() }, 20)
    return followed, values, faults
  end

  local function planned(values)
    return plan.normalise(plan.plan { files = { ["spark-defaults.conf"] = plan.properties { ["spark.a"] = "ours", ["spark.c"] = "3" } } },
      { profile = "p", layers = values.spark.layers })
  end

  it("are layers of the plan's files, whose secrets are shown to nobody", function()
    local followed <close>, values = learn()
    local made = assert(planned(values))
    assert.is_true(#followed.running == 0)
    local keys = made.files["spark-defaults.conf"].keys
    assert.same({ "1", "2", "3" }, { keys["spark.a"].value, keys["spark.b"].value, keys["spark.c"].value })
    assert.matches("EXT_CONF " .. server.base .. "/x.conf?(redacted)", keys["spark.a"].origin, 1, true)
    assert.matches("# mine", made.files["spark-defaults.conf"].text, 1, true)
    local hive = made.files["hive-site.xml"]
    assert.equal(384, hive.mode)                              -- 0600
    assert.matches("hunter2", hive.text, 1, true)
    assert.matches("<!-- the catalog -->", hive.text, 1, true)
    for _, shown in ipairs { plan.describe(made), require("appliance.json").encode(plan.redacted(made)) } do
      assert.is_nil(shown:find("hunter2", 1, true))
      assert.is_nil(shown:find("hidden", 1, true))
    end
    assert.equal(384, file.stat(home .. "/state/fetched/.settings/HIVE_SITE_XML").mode)
  end)

  it("are all named when they can't be had", function()
    server:put("/hive.xml", "", { ["X-Status"] = "403" })
    env.EXT_CONF = server.base .. "/none.conf"
    local followed <close>, values, faults = learn()
    assert.is_nil(values)
    assert.equal(1, #faults)
    assert.is_truthy(followed)
    assert.matches("EXT_CONF " .. server.base .. "/none.conf: there is no such file: correct the address (404); HIVE_SITE_XML "
      .. server.base .. "/hive.xml: access denied", faults[1], 1, true)
    assert.is_nil(file.stat(home .. "/state/fetched/.settings/HIVE_SITE_XML"))
  end)

  it("are no configuration when they are something else", function()
    server:put("/hive.xml", "<html>sign in</html>")
    local followed <close>, values = learn()
    local made, faults = planned(values)
    assert.is_nil(made)
    assert.is_truthy(followed)
    assert.matches("HIVE_SITE_XML .*/hive.xml:1: <html> where Hadoop's <configuration> is expected", tostring(faults[1]))
    server:put("/x.conf?token=hidden", ("x"):rep((1 << 20) + 1))
    local other <close>, none, why = learn()
    assert.is_nil(none)
    assert.is_truthy(other)
    assert.matches("larger than the 1048576 bytes it may have", why[1])
  end)

  it("are fetched anew when they change and somebody wants that", function()
    env.EXT_WATCH = true
    local followed <close>, values = learn()
    assert.equal("1", planned(values).files["spark-defaults.conf"].keys["spark.a"].value)
    server:put("/x.conf?token=hidden", "spark.a 2\n")
    assert.same({ "spark" }, followed:next())
    assert.equal("2", planned(followed.values).files["spark-defaults.conf"].keys["spark.a"].value)
    assert.equal("1", planned(followed.values).files["hive-site.xml"].keys["hive.a"].value)
  end)
end)
