--- One node of a cluster whose masters are known beforehand: by MASTER_URI, by the name of their stack, or because it is this one.
--- A node that has only workers or the SQL server starts them when a master answers, whenever that is; from then on they outlive the
--- master's absence, and it is minded that a leader knows the worker (docs/operations.md).
return profile {
  doc = "A node of a cluster with masters elsewhere, or a master that others join.",
  settings = { "spark.*" },
  facts = {
    node = node.identity(),
    limits = node.limits(),
    spark = spark.layout(),
    s3 = spark.s3(),
    casualties = spark.casualties(),                        -- tells of executors that were killed for memory; no plan depends on it
    masters = cluster.masters(),                            -- where they are, and whether one has answered
  },
  plan = function(env, facts)
    local here = spark.node(env, facts):follow(facts.masters)
    local waits = here:waits()
    return plan {
      files = here:files(),
      fetch = here:fetch(),
      services = {
        spark.prepare { here },
        env.START_MASTER and spark.master { here },
        env.START_WORKER and not waits.worker and spark.worker { here },
        env.START_THRIFTSERVER and not waits.thriftserver and spark.thriftserver { here },
        spark.archive { here },
      },
      waits = waits,
      notes = here:notes(),
      urls = here:urls(),
    }
  end,
}
