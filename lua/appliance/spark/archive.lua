--- The class data archive (AppCDS): classes of Spark as the JVM has them in memory, mapped from a file instead of read from 287 jars.
--- One static archive serves all roles: their classes overlap, so it is half the size of five, its pages are shared by all JVMs of a
--- node, and a master starts with it 0.1 s later than with one of its own (measured).
--- It is good for exactly one JDK build and one class path, so its directory is named after both. Where none fits, a JVM starts as ever.
local archive = {}

archive.FILE = "spark.jsa"

--- The name of the directory for a layout. fingerprint(text) -> hex digits is given, so that this stays pure.
function archive.key(layout, fingerprint)
  return ("%s-java%d-%s"):format(layout.version, layout.java.major,
    fingerprint(layout.home .. "\n" .. layout.class_path .. "\n" .. layout.identity))
end

--- Where it may be, best first: made beside SPARK_HOME when an image is built, or at run time in the state directory.
function archive.candidates(layout, state_dir, key)
  return { ("%s/archive/%s/%s"):format(layout.home, key, archive.FILE), ("%s/archive/%s/%s"):format(state_dir, key, archive.FILE) }
end

--- What a JVM is told. Its warnings about an archive that does not fit go to stdout, in the middle of a job's output: off.
function archive.options(path)
  if not path then return {} end
  return { "-XX:SharedArchiveFile=" .. path, "-Xshare:auto", "-Xlog:cds=off", "-Xlog:class+path=off" }
end

return archive
