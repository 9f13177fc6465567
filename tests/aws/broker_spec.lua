-- Real SDKs behind the broker, with keys that come from the metadata service of an instance (a fake one on loopback).
local json = require "appliance.json"
local parts = require "aws_parts"

local outside = require "outside"

local ROLE <const> = "arn:aws:iam::123456789012:role/etl"

local output, write = outside.output, outside.write

local function counts(imds) return json.decode(output("curl -s --noproxy '*' " .. imds.url .. "/test/counts")) end

local function tell(imds, script)
  assert(os.execute(("curl -s --noproxy '*' -X PUT -d '%s' %s/test/script"):format(json.encode(script), imds.url)))
end

--- What botocore makes of an environment: "METHOD KEY TOKEN", or its error.
local function botocore(env)
  local ran = parts.run({ os.getenv "AWS_PYTHON", "-c", [[
import botocore.session
keys = botocore.session.get_session().get_credentials()
frozen = keys.get_frozen_credentials()
print(keys.method, frozen.access_key, frozen.token)
]] }, { env = env })
  return ran.code == 0 and (ran.out:gsub("\n$", "")) or ran.err:match "([^\n]*)\n$"
end

describe("a node with an instance's role", function()
  local imds, home, node

  --- The AWS variables of a service, as it sees them.
  local function environment_of(name)
    local _, text = node:run { "status", "--json" }
    local env = {}
    for _, service in ipairs(json.decode(text).services) do
      if service.name == name then
        for key, value in pairs(outside.environment_of(service.pid)) do env[key:find "^AWS_" and key or 1] = value end
      end
    end
    env[1] = nil
    return env
  end

  setup(function()
    imds = parts.fake_imds { lifetime = 21600 }
    home = parts.path ".node"
    assert(os.execute(("mkdir -p %s/profiles %s/state %s/spark/bin"):format(home, home, home)))
    node = outside.node(home, ("export STATE_DIR=%s/state APPLIANCE_PROFILES=%s/profiles PROFILE=plain NO_COLOR=1 HOME=%s "
      .. "AWS_REGION=eu-west-1 AWS_EC2_METADATA_DISABLED=false "
      .. "AWS_EC2_METADATA_SERVICE_ENDPOINT=%s AWS_ENDPOINT_URL_STS=%s ROLE_MAPPING=label:etl=%s;")
      :format(home, home, home, imds.url, imds.url, ROLE))
    write(home .. "/profiles/plain.lua", (([[
      local json = require "appliance.json"
      return profile { doc = "One service.", settings = {}, facts = {},
        plan = function()
          return plan {
            files = { ["client.json"] = text(json.encode(
              { layout = { home = "ROOT/spark" }, environment = { SPARK_HOME = "ROOT/spark" } })) },
            services = { service { name = "one", command = { "/bin/sleep", "1000" }, stop = { grace = 5 } } },
          }
        end }
    ]]):gsub("ROOT", home)))
    os.execute(("printf '#!/bin/sh\\nexec env\\n' >%s/spark/bin/run-example; chmod +x %s/spark/bin/run-example"):format(home, home))
    node:start()
  end)

  teardown(function()
    node:stop()
    os.execute("rm -r " .. home)
    imds:close()
  end)

  it("asks for no key before somebody wants one", function()
    environment_of "one"
    assert.equal(0, counts(imds).document)
  end)

  it("gives botocore the instance's keys, from one fetch for all", function()
    local env = environment_of "one"
    local first = botocore(env)
    assert.matches("^container%-role %S+0001 token%-0001$", first)
    assert.equal(first, botocore(env))
    assert.equal(1, counts(imds).document)
  end)

  it("gives a labelled job its role, by STS", function()
    local env = {}
    local _, text = node:run({ "client", "run-example" }, "JOB_LABEL=etl")
    for key, value in text:gmatch "(AWS_[%w_]*)=([^\n]*)" do env[key] = value end
    env.AWS_EC2_METADATA_SERVICE_ENDPOINT, env.AWS_EC2_METADATA_DISABLED = nil, nil
    assert.matches("^container%-role ASIASTS%d+ ", botocore(env))
    assert.equal(ROLE, counts(imds).last.sts.RoleArn)
    local asked = counts(imds).sts
    botocore(env)
    assert.equal(asked, counts(imds).sts)
  end)

  it("shows people the reason of a refusal through botocore", function()
    local env = environment_of "one"
    local wrong = { AWS_CONTAINER_CREDENTIALS_FULL_URI = env.AWS_CONTAINER_CREDENTIALS_FULL_URI,
                    AWS_CONTAINER_AUTHORIZATION_TOKEN = "wrong" }
    assert.matches("the Authorization header is not the token", botocore(wrong), 1, true)
  end)

  it("goes on giving them while the instance's metadata are gone", function()
    tell(imds, { token = "reset", get = "reset" })
    assert.matches("^container%-role %S+ token", botocore(environment_of "one"))
    tell(imds, { token = "ok", get = "ok" })
  end)
end)

describe("at the moment of expiry", function()
  local broker = require "appliance.broker"
  local credentials = require "appliance.credentials"
  local file = require "appliance.core.file"
  local host = require "appliance.core.host"
  local http = require "appliance.http"
  local task = require "appliance.task"

  it("fifty clients cause one fetch, with the broker restarted in between", function()
    local imds <close> = parts.fake_imds { lifetime = 3 }
    local state = parts.path ".state"
    assert(file.make_dirs(state, tonumber("700", 8)))
    local kept = {}
    for name, value in pairs { AWS_EC2_METADATA_DISABLED = "false", AWS_EC2_METADATA_SERVICE_ENDPOINT = imds.url } do
      kept[name] = host.environ()[name] or false
      host.setenv(name, value)
    end
    credentials.forget()
    local function start() return assert(broker.start { env = {}, state_dir = state, environ = {} }) end
    local server = start()
    local env = server:environment { name = "worker" }
    local token = file.read(env.AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE)

    --- Asks until it is answered, as SDKs do. -> number of the keys
    local function client()
      local deadline = task.now() + 30
      while task.now() < deadline do
        local answer = http.request { url = env.AWS_CONTAINER_CREDENTIALS_FULL_URI, headers = { Authorization = token }, no_proxy = true,
                                      fresh = true, timeout = 20 }
        if answer and answer.status == 200 then
          local keys = json.decode(answer.body)
          local year, month, day, hour, minute, second = keys.Expiration:match "^(%d+)-(%d+)-(%d+)T(%d+):(%d+):(%d+)Z$"
          assert(year and month and day and hour and minute and second, keys.Expiration)
          return tonumber(keys.AccessKeyId:match "%d+$")
        end
        task.sleep(0.02)
      end
      error "not answered in time"
    end

    assert.equal(1, client())
    local expires = task.now() + 3
    tell(imds, { lifetime = 21600, get = { after = 0.8 } })
    task.sleep(math.max(0, expires - 0.2 - task.now()))         -- their end itself is what is waited for
    local seen = {}
    local group <close> = task.group()
    for _ = 1, 50 do
      group:start(function()
        local number = client()
        seen[#seen + 1] = number
      end)
    end
    while server.listener:clients() < 50 do task.sleep(0.001) end
    server.listener:close()                                    -- as a crash does; who waited is hung up on, and asks again
    server = start()
    assert.equal(env.AWS_CONTAINER_CREDENTIALS_FULL_URI, server:environment { name = "worker" }.AWS_CONTAINER_CREDENTIALS_FULL_URI)
    assert.is_true(group:wait())
    assert.equal(50, #seen)
    repeat until client() == 2
    assert.equal(2, counts(imds).document)                     -- the first one, and one for all fifty

    server:close()
    credentials.forget()
    for name, value in pairs(kept) do host.setenv(name, value or nil) end
    assert(file.remove_tree(state))
  end)
end)
