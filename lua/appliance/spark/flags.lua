--- Which collector and compiler each role starts with. Chosen by measurement (bench/spark.sh; 2 cores, Spark 4.1.1, JDK 17):
--- a master is ALIVE after 3.3 s stock, 2.2 s with the serial collector and the first compiler alone, 1.2 s with a class data archive
--- too.
local flags = {}

--- Master and worker are small and mostly idle: what the second compiler and a parallel collector cost at their start is never earned
--- back.
local SMALL = { "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1" }

--- Up to this many cores the threads of a parallel collector take the processor from the work itself: a word count of 8.6 MB took 40 %
--- longer with G1 than with the serial collector. Above it the JVM's own choice stands.
local FEW_CORES <const> = 2

--- Do drivers and executors get the serial collector?
function flags.is_serial(cores) return cores <= FEW_CORES end

--- flags.of("master"|"worker"|"thriftserver"|"driver"|"executor", cores) -> list
function flags.of(role, cores)
  if role == "master" or role == "worker" then
    return { SMALL[1], SMALL[2], "-XX:+ExitOnOutOfMemoryError" }
  end
  local list = {}
  if flags.is_serial(cores) then list[1] = "-XX:+UseSerialGC" end
  -- A thrift server that ran out of memory answers no more and never ends by itself; a restart does help it.
  if role == "thriftserver" then list[#list + 1] = "-XX:+ExitOnOutOfMemoryError" end
  return list
end

return flags
