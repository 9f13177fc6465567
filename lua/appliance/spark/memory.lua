--- How the memory and the cores of a node are shared out: daemons, what the worker offers, what a driver and an executor get.
--- Pure. All sizes are bytes. A plan that can't work is refused with the cure, for a kernel kills without giving reasons.
local failure = require "appliance.failure"

local memory = {}

local MIB <const> = 1 << 20
local GIB <const> = 1 << 30

--- With less than 450 MiB of heap Spark starts neither an executor nor a driver (UnifiedMemoryManager: 1.5 times its 300 MiB reserve).
--- It looks at what the JVM says of its heap, and the serial collector keeps one survivor space of it to itself: 465 MiB is the least that
--- passes then (measured: at 464m Java counts 470351872 bytes, and Spark wants 471859200).
local LEAST_FOR_SPARK <const>, LEAST_SERIAL <const> = 450 * MIB, 465 * MIB

--- What is chosen here where nobody says.
local LEAST_HEAP <const> = 512 * MIB

--- The JVM itself takes the serial collector on a machine that it counts as small.
local SMALL_MACHINE <const> = 1792 * MIB

--- What a JVM holds besides its heap: code, threads, metaspace, buffers.
local BESIDE_HEAP <const> = 100 * MIB

local function text(bytes)
  if bytes >= GIB and bytes % GIB == 0 then return ("%dg"):format(bytes // GIB) end
  return ("%dm"):format(bytes // MIB)
end
memory.text = text

local function clamp(value, least, most) return math.max(least, math.min(most, value)) end
local function whole(bytes) return math.floor(bytes) // (64 * MIB) * (64 * MIB) end

--- Heaps of the daemons, from the memory there is. Master and worker of one node live in 100 MiB each; a master of hundreds of workers
--- needs the gibibyte that Spark gives it.
local function daemon_heaps(total, asked)
  return {
    daemon = asked.daemon_memory or clamp(whole(total / 16), 192 * MIB, GIB),
    thrift = asked.thrift_memory or clamp(whole(total / 8), LEAST_HEAP, 2 * GIB),
  }
end

--- What a daemon is expected to hold: it seldom fills its heap, and one that does is still within what the others leave free.
local function expected(heap) return heap // 2 + BESIDE_HEAP end

--- Cores: what the kernel gives, rounded down; with SQL there is always one core more than SQL takes.
local function share_cores(limits, asked)
  local cores = asked.worker_cores or math.max(1, math.floor(limits.cpus + 0.01))
  if not asked.thrift then return cores, nil end
  if cores < 2 and not asked.worker_cores then cores = 2 end           -- a core of Spark's is a slot: two half ones serve two
  return cores, asked.thrift_cores or math.max(1, cores // 2)
end

local function where(limits)
  return limits.memory and ("the memory limit of this container is %s"):format(text(limits.memory)) or ("this machine has "
    .. "%s"):format(text(limits.machine))
end

local function named(asked)
  local names = {}
  for _, pair in ipairs { { "master", "master" }, { "worker", "worker" }, { "thrift", "thrift server" } } do
    if asked[pair[1]] then names[#names + 1] = pair[2] end
  end
  return table.concat(names, ", ")
end

--- Heaps that somebody set: what each is for, and what it is the heap of.
local HEAPS = {
  { "executor_memory", "EXECUTOR_MEMORY", "executor" }, { "driver_memory", "DRIVER_MEMORY", "driver" },
  { "thrift_memory", "THRIFT_MEMORY", "SQL server" }, { "thrift_executor_memory", "THRIFT_EXECUTOR_MEMORY", "executor of the SQL server" },
}

--- Every reason why this can't work, each with its cure.
local function impossible(found, limits, asked)
  local faults = {}
  local function fault(sentence, ...) faults[#faults + 1] = failure.new("invalid", sentence, ...) end
  local is_serial = require("appliance.spark.flags").is_serial(found.worker_cores)
    or math.min(limits.memory or limits.machine, limits.machine) < SMALL_MACHINE
  local least = is_serial and LEAST_SERIAL or LEAST_FOR_SPARK
  for _, heap in ipairs(HEAPS) do
    local bytes = asked[heap[1]]
    if bytes and bytes < least and (not heap[1]:find "^thrift" or asked.thrift) then
      fault("%s=%s: Spark starts no %s with less than %s; set it to %s", heap[2], text(bytes), heap[3],
        is_serial and "465m here (450m, and what Java's serial collector keeps to itself)" or "450m", text(LEAST_HEAP))
    end
  end
  if asked.worker and found.executor_memory > found.worker_memory then
    fault("EXECUTOR_MEMORY=%s: the worker offers %s (%s), so no executor would ever start; set EXECUTOR_MEMORY=%s, or give the container "
      .. "more memory",
      text(found.executor_memory), text(found.worker_memory), where(limits), text(found.worker_memory))
  end
  if asked.worker and asked.thrift then
    local left = found.worker_memory - found.thrift_executor_memory
    if left < found.executor_memory then
      fault("START_THRIFTSERVER: of the %s the worker offers, SQL takes %s for its executor, and another job's needs %s; "
        .. "set EXECUTOR_MEMORY=%s, or give the container more memory",
        text(found.worker_memory), text(found.thrift_executor_memory), text(found.executor_memory), text(math.max(LEAST_HEAP, whole(left))))
    end
    if found.thrift_cores >= found.worker_cores then
      fault("THRIFT_CORES=%d: the worker offers %d, so no other job would ever run while SQL is up; set THRIFT_CORES=%d or WORKER_CORES=%d",
        found.thrift_cores, found.worker_cores, math.max(1, found.worker_cores - 1), found.thrift_cores + 1)
    end
  end
  return faults
end

--- memory.share(limits, asked) -> shares | nil, failure (of one or more sentences)
--- limits: { memory = bytes or nil, machine = bytes, cpus = number }
--- asked: { master, worker, thrift = which daemons run here; worker_memory, worker_cores, executor_memory, driver_memory, daemon_memory,
---   thrift_memory, thrift_cores, thrift_executor_memory = what the settings say, nil for "choose" }
--- shares: { daemon_memory, thrift_memory, thrift_cores, thrift_executor_memory, worker_memory, worker_cores, driver_memory,
--- executor_memory }
function memory.share(limits, asked)
  local total = math.min(limits.memory or limits.machine, limits.machine)
  local heaps = daemon_heaps(total, asked)
  local cores, thrift_cores = share_cores(limits, asked)
  local executors = asked.thrift and 2 or 1

  local reserved = (asked.master and expected(heaps.daemon) or 0) + (asked.worker and expected(heaps.daemon) or 0)
    + (asked.thrift and expected(heaps.thrift) or 0)
  -- Room for the driver of a job that is submitted from within the node, and for what executors hold besides their heap.
  local driver_memory = asked.driver_memory or clamp(whole(total / 8), LEAST_HEAP, GIB)
  local offer = asked.worker_memory or math.min(whole((total - reserved - expected(driver_memory)) / 1.15), whole(total * 0.85))
  local least_offer = executors * LEAST_HEAP
  if not asked.worker_memory and asked.worker and offer < least_offer then
    -- The least that lets a job run. Heaps are limits, not use: down to this the expected use still fits.
    local needed = reserved + executors * expected(LEAST_HEAP) + expected(LEAST_HEAP)
    if total < needed then
      return nil, failure.new("invalid", "%s, and what is to run here needs %s at least (%s, and one job); give the container more "
        .. "memory, or run less here",
        where(limits), text(whole(needed + 64 * MIB - 1)), named(asked))
    end
    offer = least_offer
  end
  if asked.worker and asked.worker_memory and asked.worker_memory > total then
    return nil, failure.new("invalid", "WORKER_MEMORY=%s: %s; set WORKER_MEMORY=%s, or leave it out and it is chosen",
      text(asked.worker_memory),
      where(limits), text(whole(total * 0.6)))
  end

  local executor_memory = asked.executor_memory
  if not executor_memory then executor_memory = asked.worker and clamp(whole(offer / executors), LEAST_HEAP, GIB) or GIB end
  local thrift_executor = asked.thrift and (asked.thrift_executor_memory
    or clamp(whole(offer - executor_memory), LEAST_HEAP, math.max(LEAST_HEAP, whole(offer / 2)))) or nil
  local found = {
    daemon_memory = heaps.daemon, thrift_memory = asked.thrift and heaps.thrift or nil, thrift_cores = thrift_cores,
    thrift_executor_memory = thrift_executor, worker_memory = offer, worker_cores = cores,
    driver_memory = driver_memory, executor_memory = executor_memory,
  }
  local faults = impossible(found, limits, asked)
  if #faults == 0 then return found end
  local sentences = {}
  for i, fault in ipairs(faults) do sentences[i] = fault.text end
  return nil, failure.new("invalid", "%s", table.concat(sentences, "\n"))
end

return memory
