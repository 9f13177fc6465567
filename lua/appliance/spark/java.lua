--- The command line of a JVM with Spark in it: what bin/spark-class and its launcher would build, without the launcher.
--- Intended differences, which tests/spark/argv_spec.lua lists too: the class path names the jars one by one with the conf directory
--- last (a class data archive needs both), and heap and flags are the role's own.
local layout = require "appliance.spark.layout"

local java = {}

--- launcher/src/main/java/org/apache/spark/launcher/JavaModuleOptions.java, as each line has it.
local OPENED = {
  "java.base/java.lang", "java.base/java.lang.invoke", "java.base/java.lang.reflect", "java.base/java.io", "java.base/java.net",
  "java.base/java.nio", "java.base/java.util", "java.base/java.util.concurrent", "java.base/java.util.concurrent.atomic",
  "java.base/jdk.internal.ref", "java.base/sun.nio.ch", "java.base/sun.nio.cs", "java.base/sun.security.action",
  "java.base/sun.util.calendar", "java.security.jgss/sun.security.krb5",
}

local MODULES = {
  { from = "4.3", vector = true, properties = { "-Dio.netty.tryReflectionSetAccessible=true", "-Dio.netty.allocator.type=pooled",
    "-Dio.netty.handler.ssl.defaultEndpointVerificationAlgorithm=NONE", "--sun-misc-unsafe-memory-access=allow",
      "--enable-native-access=ALL-UNNAMED" } },
  { from = "4.1", vector = true, properties = { "-Djdk.reflect.useDirectMethodHandle=false", "-Dio.netty.tryReflectionSetAccessible=true",
    "-Dio.netty.allocator.type=pooled", "-Dio.netty.handler.ssl.defaultEndpointVerificationAlgorithm=NONE",
      "--enable-native-access=ALL-UNNAMED" } },
  { from = "4.0", vector = true, properties = { "-Djdk.reflect.useDirectMethodHandle=false", "-Dio.netty.tryReflectionSetAccessible=true",
    "--enable-native-access=ALL-UNNAMED" } },
  { from = "3.5", properties = { "-Djdk.reflect.useDirectMethodHandle=false" } },
}

--- The options that open the JDK's modules to Spark, for a version and one of "daemon" (Master, Worker, beeline) or "application".
function java.module_options(version, kind)
  for _, line in ipairs(MODULES) do
    if layout.rank(version) >= layout.rank(line.from) then
      if kind == "daemon" and line.from == "3.5" then return {} end     -- 3.5 gives them to applications only
      local options = { "-XX:+IgnoreUnrecognizedVMOptions" }
      if line.vector then options[#options + 1] = "--add-modules=jdk.incubator.vector" end
      for _, package in ipairs(OPENED) do options[#options + 1] = ("--add-opens=%s=ALL-UNNAMED"):format(package) end
      return table.move(line.properties, 1, #line.properties, #options + 1, options)
    end
  end
  return {}
end

--- Options as people write them into SPARK_*_OPTS and extraJavaOptions: split at blanks, quotes and backslashes respected.
--- The grammar is CommandBuilderUtils.parseOptionString's. -> list | nil, what is wrong
function java.split(text)
  local words, word, quote, escaped = {}, nil, nil, false
  for char in text:gmatch ".[\128-\191]*" do
    if escaped then
      word, escaped = (word or "") .. char, false
    elseif char == "\\" and quote ~= "'" then
      escaped, word = true, word or ""
    elseif quote then
      if char == quote then quote = nil else word = word .. char end
    elseif char == '"' or char == "'" then
      quote, word = char, word or ""
    elseif char:find "%s" then
      words[#words + 1], word = word, nil
    else
      word = (word or "") .. char
    end
  end
  if quote or escaped then return nil, ("has an opening %s without its end"):format(quote or "\\") end
  words[#words + 1] = word
  return words
end

--- A heap is ours to give: two -Xmx on one command line leave a reader guessing.
function java.heap_in(words)
  for _, word in ipairs(words) do
    if word:find "^%-Xmx" or word:find "^%-XX:MaxHeapSize" or word:find "^%-XX:MaxRAMPercentage" then return word end
  end
end

local function sorted_properties(properties)
  local names, options = {}, {}
  for name in pairs(properties or {}) do names[#names + 1] = name end
  table.sort(names)
  for i, name in ipairs(names) do options[i] = ("-D%s=%s"):format(name, properties[name]) end
  return options
end

--- A size as Spark's command lines take it: whole mebibytes.
function java.megabytes(bytes) return ("%dm"):format(bytes >> 20) end

--- java.command { layout =, kind = "daemon"|"application", class =, arguments = {}, heap = bytes, flags = {}, properties = {},
---   options = {} (the user's, last so that they win), before = "extra class path", conf = "directory", after = "extra class path" }
function java.command(what)
  local found = what.layout
  local class_path = {}
  for _, part in ipairs { what.before or "", found.class_path, what.conf or "", what.after or "" } do
    if part ~= "" then class_path[#class_path + 1] = part end
  end
  local command = { found.java.program, "-cp", table.concat(class_path, ":"), "-Xmx" .. java.megabytes(what.heap) }
  for _, list in ipairs { what.flags or {}, java.module_options(found.version, what.kind), sorted_properties(what.properties),
                          what.options or {}, { what.class }, what.arguments or {} } do
    table.move(list, 1, #list, #command + 1, command)
  end
  return command
end

return java
