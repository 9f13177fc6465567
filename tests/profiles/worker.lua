--- For the specs of appliance.simulate: a worker of no Spark that follows its masters.
return profile {
  doc = "A worker that follows its masters.",
  settings = { WORKER_NICE = { type = "integer", default = "0", doc = "How nice it is." } },
  facts = { masters = {} },
  plan = function(env, facts)
    return plan {
      services = {
        service {
          name = "worker", command = { "/bin/worker", "spark://" .. table.concat(facts.masters, ",") },
          nice = env.WORKER_NICE, ready = tcp(8081),
        },
      },
    }
  end,
}
