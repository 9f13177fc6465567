local merge = require "appliance.merge"
local metrics = require "appliance.render.metrics"

local golden = (os.getenv "APPLIANCE_SOURCE" or ".") .. "/tests/golden/render/"

describe("metrics.properties", function()
  it("is the golden file: Prometheus servlets for master, applications and everybody else", function()
    local file <close> = assert(io.open(golden .. "metrics.properties", "rb"))
    local made = assert(merge.file("metrics.properties", { { layer = "default", origin = "shipped", keys = metrics.keys() } }))
    assert.equal(file:read "a", made.text)
  end)

  it("has no servlet when it is told so", function()
    for key in pairs(metrics.keys { prometheus = false }) do assert.not_match("prometheus", key) end
  end)

  it("takes a mounted sink beside ours", function()
    local made = assert(merge.file("metrics.properties", {
      { layer = "default", origin = "shipped", keys = metrics.keys() },
      { layer = "mounted", origin = "/conf/metrics.properties", text = "*.sink.csv.class=org.apache.spark.metrics.sink.CsvSink\n" },
    }))
    assert.equal("/conf/metrics.properties", made.keys["*.sink.csv.class"].origin)
    assert.equal("shipped", made.keys["*.sink.prometheusServlet.class"].origin)
  end)
end)
