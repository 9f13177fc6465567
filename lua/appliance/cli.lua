--- The command line: finds the subcommand, reads its options, runs it, and returns the exit code.
--- 0, 1 failure, 64 wrong usage, 69 no node answers, 78 the configuration is wrong.
--- Each command is a module of appliance.cli:
---   { usage =, help =, options =, words = { least, most }, run = function(options, words, terminal) -> exit code }
local cli = {}

cli.USAGE = 64

--- In the order of the help. "run" is boot's own.
local commands = {
  { "run", "start the node and keep it running (the default)" },
  { "status", "what runs, and how it is" },
  { "logs", "what a service prints" },
  { "restart", "restart a service" },
  { "stop", "stop a service" },
  { "start", "start a service" },
  { "healthcheck", "exit 0 when the node, or a role of it, is well; --wait until it is" },
  { "plan", "what would run, and where each value comes from" },
  { "check", "are settings and profile right?" },
  { "doctor", "can this node talk to AWS and S3? what is wrong, and what to do" },
  { "settings", "every setting there is" },
  { "s3", "objects in S3: ls, cat, cp, mv, rm, sync, presign, stat" },
  { "client", "spark-submit, spark-sql, beeline ... on this node" },
  { "archive", "make the class data archive that Spark's JVMs start from" },
  { "lua", "run a Lua file with the core's modules" },
  { "test", "run a site's tests of its profiles" },
  { "version", "versions of all parts" },
}

local by_name = {}
for _, command in ipairs(commands) do by_name[command[1]] = command end

local RUN = {
  usage = "run", options = {}, words = { 0, 0 },
  help = [[
Starts the node and keeps it running: reads the settings (the environment) and the profile, learns its facts, starts the services.
SIGTERM or SIGINT stop everything in order, a second one hurries; SIGHUP reads settings and profile again; SIGUSR1 logs the state.
Exit codes: 0 asked to stop, 1 a critical service gave up, 69 a needed fact did not come in time or a file
can't be fetched, 78 the configuration is wrong.]],
  run = function() return require("appliance.boot").run() end,
}

--- Is the word ours? (PID 1 of a container becomes any other program it is given.)
function cli.is_command(word) return by_name[word] ~= nil or word:sub(1, 1) == "-" or word == "help" end

local function overview(terminal)
  local rows = {}
  for i, command in ipairs(commands) do rows[i] = { "  " .. terminal:paint("bold", command[1]), command[2] } end
  terminal:say "usage: spark-appliance [COMMAND] [OPTIONS]\n"
  terminal:say(terminal:table(rows))
  terminal:say "\n`spark-appliance COMMAND --help` tells more. The node is found by STATE_DIR."
  return 0
end

local function wrong_usage(terminal, name, problem)
  terminal:complain("spark-appliance %s: %s; see `spark-appliance %s --help`", name, problem, name)
  return cli.USAGE
end

local function check_count(command, words)
  local least, most = command.words[1], command.words[2]
  if #words < least then return ("something is missing: spark-appliance %s"):format(command.usage) end
  if #words > most then return ('"%s" is too much: spark-appliance %s'):format(words[most + 1], command.usage) end
end

local function run_command(name, words, terminal)
  local command = name == "run" and RUN or require("appliance.cli." .. name)
  local options, rest = { }, words
  if not command.raw then
    options, rest = require("appliance.cli.options").parse(words, command.options)
    if not options then return wrong_usage(terminal, name, rest) end
  elseif words[1] == "--help" or words[1] == "-h" then
    options.help = true
  end
  if options.help then
    terminal:say("usage: spark-appliance %s\n\n%s", command.usage, command.help)
    return 0
  end
  local problem = check_count(command, rest)
  if problem then return wrong_usage(terminal, name, problem) end
  return command.run(options, rest, terminal)
end

--- The code main returns.
function cli.run_with(terminal, name, ...)
  local words = { ... }
  if name == "--help" or name == "-h" then return overview(terminal) end
  if name == "help" then
    if not words[1] then return overview(terminal) end
    name, words = words[1], { "--help" }
  end
  if name == "--version" then name = "version" end
  if name == nil or by_name[name] then return run_command(name or "run", words, terminal) end
  local known = {}
  for i, command in ipairs(commands) do known[i] = command[1] end
  terminal:complain("spark-appliance: there is no %s %s%s; `spark-appliance --help` lists the commands",
    name:sub(1, 1) == "-" and "option" or "command", name, require("appliance.near").hint(name, known))
  return cli.USAGE
end

function cli.run(name, ...)
  local code = cli.run_with(require("appliance.cli.terminal").new(), name, ...)
  return code or 0
end

return cli
