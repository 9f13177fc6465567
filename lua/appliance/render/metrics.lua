--- metrics.properties: Spark's Prometheus servlets, on by default. They add no port, only paths of the web UIs.
--- Gives keys; merge.lua makes the file of them, so a mounted metrics.properties adds or changes single sinks.
local metrics = {}

--- metrics.keys { prometheus = false, sources = { "master", "worker" } } -> key -> value
function metrics.keys(options)
  options = options or {}
  local keys = {}
  if options.prometheus ~= false then
    keys["*.sink.prometheusServlet.class"] = "org.apache.spark.metrics.sink.PrometheusServlet"
    keys["*.sink.prometheusServlet.path"] = "/metrics/prometheus"
    keys["master.sink.prometheusServlet.path"] = "/metrics/master/prometheus"
    keys["applications.sink.prometheusServlet.path"] = "/metrics/applications/prometheus"
  end
  for _, instance in ipairs(options.sources or { "master", "worker", "driver", "executor" }) do
    keys[instance .. ".source.jvm.class"] = "org.apache.spark.metrics.source.JvmSource"
  end
  return keys
end

return metrics
