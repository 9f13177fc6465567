--- One node of a cluster with several masters that share a ZooKeeper: a master, a worker, or both, as START_MASTER and START_WORKER say.
--- Every master node of a cluster with START_THRIFTSERVER has the SQL server in its plan; it runs on one of them, where the lease `sql` is.
--- Who may run what is decided by leases (`lease` of a service), so that a failover needs no new plan: docs/ha.md, docs/operations.md.
return profile {
  doc = "A node of a highly available cluster: masters that share a ZooKeeper, workers, one thrift server.",
  settings = { "spark.*" },
  facts = {
    node = node.identity(),
    limits = node.limits(),
    spark = spark.layout(),
    s3 = spark.s3(),
    casualties = spark.casualties(),
    cluster = cluster.membership(),                         -- this node's place among the others, and who they are
  },
  plan = function(env, facts)
    local here = spark.node(env, facts, facts.cluster)
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
