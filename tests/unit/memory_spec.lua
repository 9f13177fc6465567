local memory = require "appliance.spark.memory"

local MIB, GIB = 1 << 20, 1 << 30

local function machine(size, cpus, limit)
  return { machine = size, cpus = cpus or 2, memory = limit }
end

local function asked(more)
  local all = { master = true, worker = true }
  for name, value in pairs(more or {}) do all[name] = value end
  return all
end

describe("sharing out a node", function()
  it("takes the container's limit, not the machine's memory", function()
    local shares = memory.share(machine(64 * GIB, 8, 4 * GIB), asked())
    assert.is_true(shares.worker_memory < 4 * GIB)
    assert.is_true(shares.worker_memory >= 2 * GIB)
    assert.equal(8, shares.worker_cores)
  end)

  it("takes the machine where there is no limit", function()
    local shares = memory.share(machine(64 * GIB, 16), asked())
    assert.is_true(shares.worker_memory > 48 * GIB and shares.worker_memory < 60 * GIB)
    assert.equal(GIB, shares.executor_memory)
    assert.equal(GIB, shares.daemon_memory)
  end)

  it("leaves a core and an executor's memory to others when SQL runs, on 2 cores and 2 GiB", function()
    local shares = assert(memory.share(machine(16 * GIB, 2, 2 * GIB), asked { thrift = true }))
    assert.equal(2, shares.worker_cores)
    assert.equal(1, shares.thrift_cores)
    assert.is_true(shares.thrift_executor_memory + shares.executor_memory <= shares.worker_memory)
    assert.is_true(shares.executor_memory >= 450 * MIB)
    assert.is_true(shares.driver_memory >= 450 * MIB)
  end)

  it("never lets SQL take the whole node, whatever its size", function()
    for gibibytes = 2, 256, 3 do
      for cpus = 1, 64, 7 do
        local shares = assert(memory.share(machine(gibibytes * GIB, cpus), asked { thrift = true }))
        assert.is_true(shares.thrift_cores < shares.worker_cores)
        assert.is_true(shares.worker_memory - shares.thrift_executor_memory >= shares.executor_memory)
        assert.is_true(shares.worker_memory + shares.daemon_memory // 2 < gibibytes * GIB)
      end
    end
  end)

  it("serves two with the slots of one processor", function()
    local shares = memory.share(machine(8 * GIB, 1), asked { thrift = true })
    assert.same({ 2, 1 }, { shares.worker_cores, shares.thrift_cores })
  end)

  it("rounds a part of a processor up to one core", function()
    assert.equal(1, memory.share(machine(8 * GIB, 0.5), asked()).worker_cores)
    assert.equal(3, memory.share(machine(8 * GIB, 3.9), asked()).worker_cores)
  end)

  it("does as it is told", function()
    local shares = memory.share(machine(8 * GIB, 4), asked { worker_cores = 7, worker_memory = 3 * GIB, executor_memory = 2 * GIB,
      driver_memory = GIB })
    assert.same({ 7, 3 * GIB, 2 * GIB, GIB }, { shares.worker_cores, shares.worker_memory, shares.executor_memory, shares.driver_memory })
  end)

  it("gives a lone master nothing to offer and asks nothing of it", function()
    assert.is_table(memory.share(machine(512 * MIB, 1), { master = true }))
  end)
end)

describe("a plan that can't work is refused with its cure", function()
  local function refused(limits, what)
    local shares, err = memory.share(limits, asked(what))
    assert.is_nil(shares)
    return err.text
  end

  it("when an executor is larger than what the worker offers", function()
    local text = refused(machine(16 * GIB, 2, 2 * GIB), { executor_memory = 2 * GIB })
    assert.matches("EXECUTOR_MEMORY=2g: the worker offers %d+m %(the memory limit of this container is 2g%)", text)
    assert.matches("set EXECUTOR_MEMORY=%d+m", text)
  end)

  it("when Spark would refuse the executor itself", function()
    assert.matches("EXECUTOR_MEMORY=256m: Spark starts no executor with less than 450m; set it to 512m", refused(machine(8 * GIB, 4),
      { executor_memory = 256 * MIB }))
    -- Exactly 450m is enough for Spark, but not where the serial collector keeps a part of it to itself.
    assert.is_table(memory.share(machine(8 * GIB, 4), asked { executor_memory = 450 * MIB, driver_memory = 450 * MIB }))
    assert.matches("EXECUTOR_MEMORY=450m: Spark starts no executor with less than 465m here (450m, and what Java's serial collector keeps",
      refused(machine(8 * GIB, 2), { executor_memory = 450 * MIB }), 1, true)
    assert.is_table(memory.share(machine(8 * GIB, 2), asked { executor_memory = 465 * MIB, driver_memory = 465 * MIB }))
    assert.matches("less than 465m here", refused(machine(8 * GIB, 4, 1600 * MIB), { executor_memory = 450 * MIB }))
  end)

  it("when Spark would refuse a driver, or the SQL server and its executors, of those that run here", function()
    assert.matches("DRIVER_MEMORY=464m: Spark starts no driver with less than 465m here", refused(machine(8 * GIB, 2),
      { driver_memory = 464 * MIB }))
    local thrift = { thrift = true, thrift_memory = 300 * MIB, thrift_executor_memory = 400 * MIB }
    local text = refused(machine(8 * GIB, 4), thrift)
    assert.matches("THRIFT_MEMORY=300m: Spark starts no SQL server with less than 450m; set it to 512m", text)
    assert.matches("THRIFT_EXECUTOR_MEMORY=400m: Spark starts no executor of the SQL server with less than 450m", text)
    thrift.thrift = nil
    assert.is_table(memory.share(machine(8 * GIB, 4), asked(thrift)))
  end)

  it("when SQL leaves nothing for a job", function()
    assert.matches("THRIFT_CORES=2: the worker offers 2, so no other job would ever run while SQL is up; set THRIFT_CORES=1 or "
      .. "WORKER_CORES=3",
      refused(machine(16 * GIB), { thrift = true, thrift_cores = 2 }))
    assert.matches("START_THRIFTSERVER: of the 2g the worker offers, SQL takes 1536m for its executor, and another job's needs 1g; set "
      .. "EXECUTOR_MEMORY=512m",
      refused(machine(16 * GIB), { thrift = true, worker_memory = 2 * GIB, thrift_executor_memory = 1536 * MIB, executor_memory = GIB }))
  end)

  it("when there is too little for what is to run", function()
    assert.matches("the memory limit of this container is 512m, and what is to run here needs %d+m at least %(master, worker, and one "
      .. "job%)",
      refused(machine(16 * GIB, 2, 512 * MIB)))
  end)

  it("when the worker is told to offer more than there is", function()
    assert.matches("WORKER_MEMORY=64g: this machine has 8g; set WORKER_MEMORY=%d+m", refused(machine(8 * GIB),
      { worker_memory = 64 * GIB }))
  end)

  it("with all that is wrong at once", function()
    local text = refused(machine(16 * GIB), { thrift = true, thrift_cores = 2, executor_memory = 256 * MIB })
    assert.matches("EXECUTOR_MEMORY", text)
    assert.matches("THRIFT_CORES", text)
  end)
end)
