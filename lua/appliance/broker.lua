--- The credentials broker: this program serves the protocol of a container's credentials endpoint on 127.0.0.1, so that S3A, boto3 and the
--- CLI in services get the keys that appliance.credentials has, and no key is ever in an environment, a command line or a file of Spark's.
---   local broker = require "appliance.broker"
---   local server <close> = assert(broker.start { env = env, state_dir = "/...", environ = host.environ() })
---   spec.env = server:environment(spec)       -- of a service, when it is declared
---   server:changes { label = "etl", environ = {...} } -> { NAME = text | false }, executors | nil, err         -- of a job
---   server:sweep(is_there)                     -- forgets services that are gone
---   server:reload(env)                         -- SIGHUP: roles and policy anew; port, paths and tokens stay
--- Each service and each kind of job has a grant: a path nobody can guess, and a token in a file of its own below STATE_DIR/credentials.
--- Jobs with a role are also found by the grant's name, with the token alone: such a path is the same on all nodes (`executors` below).
--- Nothing is asked of AWS, and its module is not loaded, before the first request.
--- The directory also holds `.broker`, with port, paths and tokens: what an orderly end removes and a crash leaves, so that the next start
--- is the same broker to clients that outlived us. See docs/credentials.md.
local environment = require "appliance.broker.environment"
local failure = require "appliance.failure"
local file = require "appliance.core.file"
local host = require "appliance.core.host"
local json = require "appliance.json"
local log = require "appliance.core.log"
local protocol = require "appliance.broker.protocol"
local roles = require "appliance.broker.roles"
local task = require "appliance.core.task"

local broker = {}

local server = {}
server.__index = server

local CLIENTS <const> = 256                                    -- each may be an executor that waits; a waiting one is a few KiB
local IDLE <const> = 10                                        -- seconds; SDKs ask once in many minutes
local QUIET <const> = 60                                       -- seconds between two log lines of one kind
local PRIVATE_FILE <const>, PRIVATE_DIRECTORY <const> = tonumber("600", 8), tonumber("700", 8)
local STATE <const> = ".broker"

local function secret() return require "appliance.nonce"(32) end

--- Names of services have no @; one may begin with a dot, as our own file does.
local function file_name(id) return (id:gsub("^%.", "%%2E")) end

-- ---------------------------------------------------------------- what outlives a crash

--- Only what nobody else could have written or read.
local function read_state(directory)
  local path = directory .. "/" .. STATE
  local stat = file.stat(path)
  if not stat or stat.kind ~= "file" or stat.uid ~= host.uid() or stat.mode ~= PRIVATE_FILE then return {} end
  local state = json.decode(file.read(path, 1 << 20) or "")
  return type(state) == "table" and state or {}
end

local function is_secret(text) return type(text) == "string" and #text == 64 and not text:find "%X" end

--- The grants of a broker that crashed here: its clients may still be there.
local function grants_of(state)
  local grants = {}
  for id, its in pairs(type(state.grants) == "table" and state.grants or {}) do
    if type(its) == "table" and is_secret(its.path) and is_secret(its.token) and type(its.who) == "table" then
      grants[id] = { id = id, who = its.who, path = its.path, token = its.token, served = 0 }
    end
  end
  return grants
end

function server:keep()
  local state = { port = self.port, grants = {} }
  for id, grant in pairs(self.grants) do state.grants[id] = { path = grant.path, token = grant.token, who = grant.who } end
  local ok, err = file.replace(self.directory .. "/" .. STATE, json.encode(state), PRIVATE_FILE, false)
  if not ok then log.warn(("credentials broker: %s; clients won't outlive a crash of this program"):format(tostring(err))) end
end

-- ---------------------------------------------------------------- grants

--- Without a final newline: Java's SDK takes the file as it is.
local function write_token(self, grant)
  return file.replace(self.directory .. "/" .. file_name(grant.id), grant.token, PRIVATE_FILE, false)
end

--- who: { service =, user = } or { job = true, label =, user = } -> grant | nil, err
local function grant_for(self, id, who)
  local grant = self.grants[id]
  if grant then
    grant.who = who
    return grant
  end
  grant = { id = id, who = who, path = secret(), token = secret(), served = 0 }
  local ok, err = write_token(self, grant)
  if not ok then return nil, err end
  self.grants[id] = grant
  self:keep()
  return grant
end

local function view(self, grant)
  return {
    uri = ("http://127.0.0.1:%d/credentials/%s"):format(self.port, grant.path), role = roles.of(self.map, grant.who),
    token_file = self.directory .. "/" .. file_name(grant.id),
  }
end

--- The environment of a service: spec is the plan's. -> a new table | nil, err
function server:environment(spec)
  local grant, err = grant_for(self, spec.name, { service = spec.name, user = spec.user })
  if not grant then return nil, err end
  local its = view(self, grant)
  -- Another user can't read our files; its environment is as private to it.
  if spec.user then its.token_file, its.token = nil, grant.token end
  return environment.applied(spec.env or {}, environment.changes(spec.env or {}, self.environ, its))
end

--- The grant of a job with that label, or of that user, or of any other. Only roles have grants of their own, so that there can't be
--- more of them than the mapping has; that of all jobs without a role knows nobody's name.
local function grant_for_job(self, label, user)
  local id = label and "@label-" .. label or user and "@user-" .. user or "@job"
  id = id:gsub("[^%w@_.-]", function(char) return ("%%%02X"):format(char:byte()) end)
  return grant_for(self, id, { job = true, label = label, user = not label and user or nil })
end

--- What changes in the environment of a job that is started here: { label =, user =, environ = what it has }
--- -> changes, executors | nil, err
--- executors: the environment in which its executors, on whatever node, find the same role's credentials at their own broker; nil where
--- they can't: without a role, or with ports that each node chooses for itself.
function server:changes(job)
  local role, problem = roles.of(self.map, { job = true, label = job.label, user = job.user })
  if problem then return nil, failure.new("invalid", "%s", problem) end
  local grant, err = grant_for_job(self, job.label, role and job.user)
  if not grant then return nil, err end
  local its = view(self, grant)
  local changes, executors = environment.changes(job.environ or {}, self.environ, its), nil
  if role and self.has_set_port then executors = environment.by_name(self.port, self.state_dir, grant.id) end
  return changes, executors
end

--- Jobs and services that run elsewhere have executors here.
local function expect_jobs(self)
  for service in pairs(self.map.service) do grant_for(self, "@service-" .. service, { job = true, service = service }) end
  for label in pairs(self.map.label) do grant_for_job(self, label) end
  for user in pairs(self.map.user) do grant_for_job(self, nil, user) end
end

--- Forgets services of which is_there(name) is false: not when they are told to stop, because they may still have something to upload.
function server:sweep(is_there)
  local is_less = false
  for id, grant in pairs(self.grants) do
    if grant.who.service and not grant.who.job and not is_there(grant.who.service) then
      self.grants[id], is_less = nil, true
      file.remove(self.directory .. "/" .. file_name(id))
    end
  end
  if is_less then self:keep() end
end

-- ---------------------------------------------------------------- requests

--- Says so unless something of this kind was said within the last minute.
function server:say(kind, text, ...)
  local now = task.now()
  if self.said[kind] and now - self.said[kind] < QUIET then return end
  self.said[kind] = now
  log.warn("credentials broker: " .. text:format(...))
end

--- The keys for a grant, waiting for them; the sources have their own limits. -> keys, role | nil, err
local function fetch(self, grant)
  local role, problem = roles.of(self.map, grant.who)
  if problem then return nil, failure.new("invalid", "%s", problem) end
  local is_there, credentials = pcall(require, "appliance.credentials")
  if not is_there then return nil, failure.new("missing", "what asks AWS can't be loaded: %s", tostring(credentials):match "[^\n]*") end
  local keys, err = credentials.get { role = role }
  return keys, keys and role or err
end

function server:answer(request)
  local grant, status, code, sentence = protocol.admit(request, self.port, self.grants, self.policy)
  if not grant then
    if status ~= 404 then self:say(code, "a request was refused: %s", sentence) end
    return protocol.refusal(status, code, sentence)
  end
  local agent = request:header "user-agent"
  local keys, role = fetch(self, grant)
  if not keys then
    status, code, sentence = protocol.failure(role)
    grant.failed = sentence
    self:say("failure of " .. grant.id, "%s gets no credentials: %s", grant.id, sentence)
    return protocol.refusal(status, code, sentence)
  end
  local text, is_extended = protocol.document(keys, { now = host.wall_ms() / 1000, chance = math.random(), role = role, agent = agent })
  grant.served, grant.source, grant.expires, grant.failed = grant.served + 1, keys.source, keys.expires, nil
  if is_extended then
    self:say("extended " .. (role or ""), "%s are given out past their end, because there are no newer ones; AWS may refuse them",
      role and "credentials of " .. role or "credentials")
  end
  return 200, text, "application/json"
end

--- What the control socket tells: no secret.
function server:status()
  local grants = json.array {}
  for id, grant in pairs(self.grants) do
    grants[#grants + 1] = { name = id, role = roles.of(self.map, grant.who), served = grant.served, source = grant.source,
                            expires = grant.expires, failed = grant.failed }
  end
  table.sort(grants, function(a, b) return a.name < b.name end)
  return { port = self.port, clients = self.listener:clients(), grants = grants }
end

-- ---------------------------------------------------------------- from start to end

local function settle(self, env)
  local map, faults = roles.parse(env.ROLE_MAPPING)
  if not map then return nil, failure.new("invalid", "ROLE_MAPPING: %s", faults[1]) end
  self.map, self.policy = map, env.BROKER_TOKEN or "auto"
  return true
end

--- Roles and policy of new settings; port, paths and tokens are what clients have, and stay.
function server:reload(env)
  local ok, err = settle(self, env)
  if not ok then return nil, err end
  expect_jobs(self)
  return true
end

--- Services that ROLE_MAPPING names and no plan has: a slip would leave the real one with the node's own role. Each is told once.
function server:strangers(services)
  local known, notes = {}, {}
  for _, service in ipairs(services) do known[service.name] = true end
  for name in pairs(self.map.service) do
    if not known[name] and not self.said["stranger " .. name] then
      self.said["stranger " .. name] = task.now()
      notes[#notes + 1] = ("ROLE_MAPPING: there is no service %s here%s"):format(name, require("appliance.near").hint(name, pairs(known)))
    end
  end
  table.sort(notes)
  return notes
end

local function open_listener(self, port)
  return require("appliance.core.control").serve({ port = port, clients = CLIENTS, idle = IDLE, name = "credentials broker" },
    function(request) return self:answer(request) end)
end

--- The port that was set; else that of a broker that crashed here, else any.
local function listen(self, wanted, earlier)
  if wanted > 0 then return open_listener(self, wanted) end
  if math.type(earlier) == "integer" and earlier > 0 and earlier < 65536 then
    local listener, err = open_listener(self, earlier)
    if listener or err.kind ~= "conflict" then return listener, err end
  end
  return open_listener(self, 0)
end

local function make_directory(path)
  local stat = file.stat(path)
  if stat and (stat.uid ~= host.uid() or stat.mode ~= PRIVATE_DIRECTORY) then   -- somebody else's, or open to others: not to be trusted
    local ok, err = file.remove_tree(path)
    if not ok then return nil, err end
  end
  return file.make_dirs(path, PRIVATE_DIRECTORY)
end

--- On disk is what the grants say, and nothing else.
local function tidy(self)
  local expected = { [STATE] = true }
  for id, grant in pairs(self.grants) do
    expected[file_name(id)] = true
    local ok, err = write_token(self, grant)
    if not ok then return nil, err end
  end
  for _, name in ipairs(file.list(self.directory) or {}) do
    if not expected[name] then file.remove(self.directory .. "/" .. name) end
  end
  return true
end

--- broker.start { env = settings, state_dir =, environ = our own environment } -> server (closable) | nil, err
function broker.start(options)
  local directory = options.state_dir .. "/credentials"
  local ok, err = make_directory(directory)
  if not ok then return nil, err end
  local state = read_state(directory)
  local self = setmetatable({ state_dir = options.state_dir, directory = directory, environ = options.environ or host.environ(),
    grants = grants_of(state), said = {} }, server)
  ok, err = settle(self, options.env)
  if ok then ok, err = tidy(self) end
  if not ok then return nil, err end
  self.listener, err = listen(self, options.env.BROKER_PORT or 0, state.port)
  if not self.listener then return nil, err end
  self.port = self.listener:port()
  self.has_set_port = (options.env.BROKER_PORT or 0) > 0
  if next(self.grants) then self:keep() end
  expect_jobs(self)
  return self
end

--- Ends the listener and removes all there is of us on disk.
function server:close()
  self.listener:close()
  for id in pairs(self.grants) do file.remove(self.directory .. "/" .. file_name(id)) end
  file.remove(self.directory .. "/" .. STATE)
  file.remove(self.directory)
end

server.__close = server.close

return broker
