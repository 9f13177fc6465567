--- A node of its own: master and worker, the SQL server if asked. With MASTER_URI the same profile is a worker, or an SQL server, of
--- masters elsewhere; with START_MASTER alone a master that others join.
return profile {
  doc = "One node: master and worker, thrift server if asked.",
  settings = { "spark.*" },
  facts = {
    node = node.identity(),
    limits = node.limits(),
    spark = spark.layout(),
    s3 = spark.s3(),
    casualties = spark.casualties(),                        -- tells of executors that were killed for memory; no plan depends on it
  },
  plan = function(env, facts)
    local here = spark.node(env, facts)
    return plan {
      files = here:files(),
      fetch = here:fetch(),
      services = {
        spark.prepare { here },
        env.START_MASTER and spark.master { here },
        env.START_WORKER and spark.worker { here },
        env.START_THRIFTSERVER and spark.thriftserver { here },
        spark.archive { here },
      },
      notes = here:notes(),
      urls = here:urls(),
    }
  end,
}
