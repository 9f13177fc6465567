--- `s3 ls|cat|cp|mv|rm|sync|presign|stat`: each is a module of appliance.cli.s3 in the shape of any other command; here is only which one.
local COMMANDS <const> = {
  { "ls", "buckets, or the objects of one" },
  { "cat", "an object to stdout" },
  { "cp", "to, from and inside S3; - is stdin or stdout; -r a whole directory" },
  { "mv", "the same, and the source goes" },
  { "rm", "delete an object, or with -r all below a prefix" },
  { "sync", "copy what is new or other; --delete what is no more" },
  { "presign", "a URL that lets anybody do one thing for a while" },
  { "stat", "all that S3 says of an object" },
}

local function names()
  local list = {}
  for i, command in ipairs(COMMANDS) do list[i] = command[1] end
  return list
end

local function find(word)
  for _, command in ipairs(COMMANDS) do
    if command[1] == word then return require("appliance.cli.s3." .. word) end
  end
end

local function help()
  local lines = {}
  for i, command in ipairs(COMMANDS) do lines[i] = ("  %-9s%s"):format(command[1], command[2]) end
  return "Objects in S3. Credentials, region and endpoint are found as by the AWS CLI; docs/s3.md has the whole.\n\n"
    .. table.concat(lines, "\n") .. [[


`spark-appliance s3 COMMAND --help` tells its options. Exit codes: 0 done, 1 something failed (each failure is told, the rest is done),
64 wrong usage, 130 interrupted.]]
end

local function wrong(term, name, problem)
  term:complain("spark-appliance s3 %s: %s; see `spark-appliance s3 %s --help`", name, problem, name)
  return 64
end

return {
  usage = "s3 ls|cat|cp|mv|rm|sync|presign|stat [OPTIONS] ...",
  raw = true,
  words = { 1, math.huge },
  help = help(),
  run = function(_, words, term)
    local name = table.remove(words, 1)
    local command = find(name)
    if not command then
      term:complain("spark-appliance s3: there is no %s%s; there are: %s", name, require("appliance.near").hint(name, names()),
        table.concat(names(), ", "))
      return 64
    end
    local options, rest = require("appliance.cli.options").parse(words, command.options)
    if not options then return wrong(term, name, rest) end
    if options.help then
      term:say("usage: spark-appliance s3 %s\n\n%s\n\n%s", command.usage, command.help, require("appliance.cli.s3.common").HELP)
      return 0
    end
    if #rest < command.words[1] then return wrong(term, name, ("something is missing: spark-appliance s3 %s"):format(command.usage)) end
    if #rest > command.words[2] then
      return wrong(term, name, ('"%s" is too much: spark-appliance s3 %s'):format(rest[command.words[2] + 1], command.usage))
    end
    if options.endpoint_url then
      local ok, err = require("appliance.native.aws").request.check_endpoint(options.endpoint_url)
      if not ok then return wrong(term, name, "--endpoint-url: " .. tostring(err)) end
    end
    return command.run(options, rest, term)
  end,
}
