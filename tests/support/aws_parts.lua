--- Other people's servers and clients for the specs of the group aws: moto, s3rver, boto3; and programs run with a clean environment.
-- Each server listens on 127.0.0.1, on a port the kernel chose, and ends with its variable (local server <close> = ...), with
-- server:close(), or with this process. Start one per spec file: in setup(), and close it in teardown().
local parts = {}

local function needed(name)
  return os.getenv(name) or error(name .. " is not set: run ./dev test aws, or set what ./dev parts prints", 3)
end

local function quoted(word) return "'" .. tostring(word):gsub("'", "'\\''") .. "'" end

local function scratch() return (os.getenv("TMPDIR") or "/tmp") end

local names = 0
--- A path below TMPDIR that nothing else has. The caller removes what it puts there.
function parts.path(suffix)
  names = names + 1
  local own = tostring(names):gsub("%p", "")
  local stat <close> = assert(io.open "/proc/self/stat")
  return ("%s/parts-%d-%s%s"):format(scratch(), stat:read("n"), own, suffix or "")
end

--- The shell words of a command in an environment of nothing but `env` and what every program needs. A caller's own AWS_* never show
-- through, and nobody looks for the metadata of a cloud unless `env` says where.
local function command_line(argv, env)
  local words = { "env", "-i" }
  local all = {
    PATH = os.getenv("PATH"), TMPDIR = scratch(), HOME = "/nonexistent", LC_ALL = "C.UTF-8", AWS_EC2_METADATA_DISABLED = "true",
    APPLIANCE = os.getenv("APPLIANCE"), LD_PRELOAD = os.getenv("LD_PRELOAD"), ASAN_OPTIONS = os.getenv("ASAN_OPTIONS"),
  }
  for name, value in pairs(env or {}) do all[name] = value end
  for name, value in pairs(all) do
    if value then words[#words + 1] = quoted(name .. "=" .. tostring(value)) end
  end
  for _, word in ipairs(argv) do words[#words + 1] = quoted(word) end
  return table.concat(words, " ")
end

local server = {}
server.__index = server

function server:close()
  if not self.pipe then return end
  os.execute("kill -TERM " .. self.pid)
  self.pipe:close()
  self.pipe = nil
end
server.__close = server.close

--- Starts a server and waits for its line "ready PORT PID MORE...". Returns it, and the words behind PID.
local function serve(argv, env)
  table.insert(argv, 1, "setpriv")
  table.insert(argv, 2, "--pdeathsig=TERM")
  local pipe = assert(io.popen("exec " .. command_line(argv, env) .. " </dev/null", "r"))
  local line = pipe:read("l")
  local port, pid, more = (line or ""):match("^ready (%d+) (%d+) ?(.*)$")
  if not port then
    pipe:close()
    error(("%s is not ready; it said: %s"):format(table.concat(argv, " "), tostring(line)), 3)
  end
  return setmetatable({ pipe = pipe, pid = pid, port = tonumber(port), url = "http://127.0.0.1:" .. port }, server), more
end

--- What a client needs in its environment to use this server. region: us-east-1.
local function with_keys(self, id, secret)
  self.keys = { access_key_id = id, secret_access_key = secret }
  self.region = "us-east-1"
  self.env = { AWS_ACCESS_KEY_ID = id, AWS_SECRET_ACCESS_KEY = secret, AWS_DEFAULT_REGION = self.region, AWS_REGION = self.region,
    AWS_ENDPOINT_URL = self.url }
  return self
end

--- moto: { auth = true } checks every signature; server.keys are those of a user who may do everything, server.env is for clients.
function parts.moto(options)
  local self, more = serve { needed "AWS_PYTHON", "-B", "tests/support/aws_moto.py", options and options.auth and "--auth" or nil }
  local id, secret = more:match("(%S+) (%S+)")
  return with_keys(self, id or "anybody", secret or "anything")
end

--- s3rver: it knows one pair of keys, and reads signatures of version 4 without computing them.
function parts.s3rver()
  local directory = parts.path(".s3rver")
  return with_keys(serve { "node", "tests/support/s3rver.js", needed "S3RVER", directory }, "S3RVER", "S3RVER")
end

--- A metadata service on loopback. `script` goes to tests/support/fake_imds.py as JSON in its first argument (see there).
-- server.env makes clients ask it.
function parts.fake_imds(script)
  local self = serve { "python3", "-IS", "tests/support/fake_imds.py", require("appliance.json").encode(script or {}) }
  self.env = { AWS_EC2_METADATA_DISABLED = "false", AWS_EC2_METADATA_SERVICE_ENDPOINT = self.url }
  return self
end

--- Runs a program: argv, and { env = {}, stdin = text }. Returns { code, out, err }; code is 128 + N after signal N.
function parts.run(argv, options)
  options = options or {}
  local err_path, in_path = parts.path(".err"), "/dev/null"
  if options.stdin then
    in_path = parts.path(".in")
    local file <close> = assert(io.open(in_path, "wb"))
    file:write(options.stdin)
  end
  local pipe = assert(io.popen(("%s <%s 2>%s"):format(command_line(argv, options.env), quoted(in_path), quoted(err_path)), "r"))
  local out = pipe:read("a")
  local _, how, number = pipe:close()
  local err_file = assert(io.open(err_path, "rb"))
  local err = err_file:read("a")
  err_file:close()
  os.remove(err_path)
  if options.stdin then os.remove(in_path) end
  return { code = how == "signal" and 128 + number or number, out = out, err = err }
end

-- What every script begins with. argv[1:] are the arguments; text goes to stdout, and fails the spec with its traceback when it raises.
local prelude = [[
import base64, hashlib, io, json, os, sys, warnings
warnings.simplefilter("ignore")
import boto3, botocore
from botocore.config import Config
from botocore.exceptions import ClientError
args = sys.argv[1:]
s3 = boto3.client("s3", config=Config(s3={"addressing_style": "path"}, retries={"max_attempts": 1}))
]]

--- Runs Python with boto3 against a server: parts.boto(moto, [[ print(s3.get_object(Bucket=args[0], Key=args[1])["Body"].read()) ]],
-- { "bucket", "key" }). There are s3, boto3, botocore, Config, ClientError, args, json, hashlib, base64, io, os, sys. `env` adds to the
-- server's. Returns what it printed, without the last line end; raises when it ended with an error.
function parts.boto(to, script, args, env)
  args = args or {}
  local argv = table.move(args, 1, #args, 4, { needed "AWS_PYTHON", "-c", prelude .. script:gsub("^ +", "") })
  local with = {}
  for name, value in pairs(to.env) do with[name] = value end
  for name, value in pairs(env or {}) do with[name] = value end
  local ran = parts.run(argv, { env = with })
  if ran.code ~= 0 then error(("boto3 ended with %d:\n%s"):format(ran.code, ran.err), 2) end
  return (ran.out:gsub("\n$", ""))
end

return parts
