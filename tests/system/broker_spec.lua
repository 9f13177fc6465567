-- The program serves the credentials of its own environment to its services, which have none in theirs.
local json = require "appliance.json"

local outside = require "outside"

local KEY <const>, SECRET <const> = "AKIASYSTEMTEST000000", "system/test/secret"

local read, write, output, quote, environment_of = outside.read, outside.write, outside.output, outside.quote, outside.environment_of

local function mode(path) return (output("stat -c %a " .. quote(path) .. " 2>/dev/null"):gsub("\n", "")) end

describe("a node that serves credentials", function()
  local home, node

  local function run(words, more) return node:run(words, more) end

  local function service(name)
    local _, text = run { "status", "--json" }
    for _, shown in ipairs(json.decode(text).services) do
      if shown.name == name then return shown end
    end
  end

  --- As an SDK does, from what it finds in the environment.
  local function fetch(env)
    local text = output(("curl -s --noproxy '*' -m 20 -H \"Authorization: $(cat %s)\" %s"):format(
      quote(env.AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE), quote(env.AWS_CONTAINER_CREDENTIALS_FULL_URI)))
    return json.decode(text) or text
  end

  setup(function()
    home = os.tmpname()
    os.remove(home)
    assert(os.execute(("mkdir -p %s/profiles %s/state %s/spark/bin"):format(home, home, home)))
    node = outside.node(home, ("export STATE_DIR=%s/state APPLIANCE_PROFILES=%s/profiles PROFILE=plain NO_COLOR=1 HOME=%s "
      .. "AWS_REGION=eu-west-1 AWS_ACCESS_KEY_ID=%s AWS_SECRET_ACCESS_KEY=%s AWS_CONTAINER_CREDENTIALS_RELATIVE_URI=/v2/theirs "
      .. "AWS_EC2_METADATA_DISABLED=true ROLE_MAPPING_FILE=%s/roles BROKER_PORT_FILE=%s/port; unset AWS_SESSION_TOKEN AWS_PROFILE;")
      :format(home, home, home, KEY, SECRET, home, home))
    write(home .. "/roles", "")
    write(home .. "/port", "0")
    write(home .. "/spark/bin/run-example", "#!/bin/sh\nexec env\n")
    assert(os.execute("chmod +x " .. home .. "/spark/bin/run-example"))
    write(home .. "/profiles/plain.lua", ([[
      local json = require "appliance.json"
      return profile { doc = "Two services.", settings = {}, facts = { node = node.identity() },
        plan = function(env, facts)
          local inherited = {}
          for name, value in pairs(facts.node.environ) do inherited[name] = value end
          return plan {
            files = { ["client.json"] = text(json.encode(
              { layout = { home = "ROOT/spark" }, environment = { SPARK_HOME = "ROOT/spark" } })) },
            services = {
              service { name = "one", command = { "/bin/sleep", "1000" }, env = inherited, stop = { grace = 5 } },
              service { name = "two", command = { "/bin/sleep", "1000" }, stop = { grace = 5 } },
              service { name = "uploader", env = { PATH = "PLACES" }, stop = { grace = 5 }, command = { "/bin/sh", "-c",
                "trap 'curl -s --noproxy \"*\" -H \"Authorization: $(cat $AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE)\" "
                  .. "$AWS_CONTAINER_CREDENTIALS_FULL_URI >ROOT/last; exit 0' TERM; while :; do sleep 0.05; done" } },
            } }
        end }
    ]]):gsub("ROOT", home):gsub("PLACES", os.getenv "PATH"))
    node:start()
  end)

  teardown(function()
    node:stop()
    os.execute("rm -r " .. home)
  end)

  it("puts the way to them into the environment of each service, and no key", function()
    for _, name in ipairs { "one", "two" } do
      local env = environment_of(service(name).pid)
      assert.matches("^http://127%.0%.0%.1:%d+/credentials/%x+$", env.AWS_CONTAINER_CREDENTIALS_FULL_URI)
      local path = env.AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE
      assert.equal(home .. "/state/credentials/" .. name, path)
      assert.matches("^%x+$", read(path))
      assert.equal("600", mode(path))
      for _, hidden in ipairs { "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI" } do
        assert.is_nil(env[hidden])
      end
      assert.is_nil(read(("/proc/%d/environ"):format(service(name).pid)):find(SECRET, 1, true))
    end
    assert.equal("eu-west-1", environment_of(service "one".pid).AWS_REGION)
    assert.equal("700", mode(home .. "/state/credentials"))
  end)

  it("gives them out", function()
    local keys = fetch(environment_of(service "one".pid))
    assert.same({ KEY, SECRET }, { keys.AccessKeyId, keys.SecretAccessKey })
    assert.matches("^%d+%-%d+%-%d+T%d+:%d+:%d+Z$", keys.Expiration)
  end)

  it("tells who got them, and neither key nor token", function()
    fetch(environment_of(service "two".pid))
    local _, text = node:sh(("curl -s --unix-socket %s/state/control.sock http://node/credentials"):format(home))
    local shown = json.decode(text)
    local served = {}
    for _, grant in ipairs(shown.grants) do served[grant.name] = grant.served end
    assert.is_true(served.two >= 1)
    assert.equal(0, served.uploader)
    local _, plan = run { "plan", "--json" }
    local _, state = run { "status", "--json" }
    for _, said in ipairs { text, plan, state, node:log() } do
      assert.is_nil(said:find(SECRET, 1, true))
      assert.is_nil(said:find(read(home .. "/state/credentials/two"), 1, true))
    end
  end)

  it("starts no service anew, and changes no way, when settings are read again", function()
    local before = service "one"
    local env = environment_of(before.pid)
    write(home .. "/roles", "label:nightly=arn:aws:iam::123456789012:role/nightly\n")
    write(home .. "/port", "20000")
    node:signal "HUP"
    node:await("the reload", function() return node:log():find "SIGHUP: settings and profile were read again and are in force" end)
    assert.matches("SIGHUP: BROKER_PORT=20000 counts from the next start of this program; until then it stays BROKER_PORT=0\n",
      node:log(), 1, true)
    assert.is_nil(node:log():find("SIGHUP: CREDENTIALS_BROKER", 1, true))
    write(home .. "/port", "0")
    assert.equal(before.pid, service "one".pid)
    assert.equal(200, tonumber(output(("curl -s --noproxy '*' -o /dev/null -w '%%{http_code}' -H \"Authorization: $(cat %s)\" %s")
      :format(env.AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE, env.AWS_CONTAINER_CREDENTIALS_FULL_URI))))
    local code, text = run({ "client", "run-example" }, "JOB_LABEL=nightly")
    assert.same({ 0, true }, { code, text:find("/credentials/@label-nightly", 1, true) ~= nil })
    assert.equal(0, (run { "restart", "one" }))
    assert.same(env.AWS_CONTAINER_CREDENTIALS_FULL_URI, environment_of(service "one".pid).AWS_CONTAINER_CREDENTIALS_FULL_URI)
  end)

  it("shows a tool that is started in the node the way to them", function()
    local code, text, err = run { "client", "run-example" }
    assert.same({ 0, "" }, { code, err })
    assert.truthy(text:find("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE=" .. home .. "/state/credentials/@job\n", 1, true))
    assert.is_nil(text:find(SECRET, 1, true))
    assert.is_nil(text:find("RELATIVE_URI", 1, true))
    local env = {}
    for name, value in text:gmatch "([%w_]+)=([^\n]*)" do env[name] = value end
    assert.equal(KEY, fetch(env).AccessKeyId)
    code, text, err = run({ "client", "run-example" }, "JOB_LABEL=etl")
    assert.same({ 126, "" }, { code, text })
    assert.matches('no credentials for the label etl: ROLE_MAPPING has no role for the label "etl"; labels are nightly', err)
    -- What a person gives this one call is theirs.
    text = select(2, run({ "client", "run-example" }, "AWS_ACCESS_KEY_ID=AKIAOTHER"))
    assert.matches("\nAWS_ACCESS_KEY_ID=AKIAOTHER\n", "\n" .. text)
  end)

  it("starts nothing where it can't listen", function()
    local port = environment_of(service "one".pid).AWS_CONTAINER_CREDENTIALS_FULL_URI:match ":(%d+)/"
    local code, said = run({ "run" }, ("unset BROKER_PORT_FILE; STATE_DIR=%s/other BROKER_PORT=%s"):format(home, port))
    assert.equal(78, code)
    assert.matches("credentials broker: 127%.0%.0%.1:" .. port .. ": somebody listens there already;", said)
    assert.is_nil(said:find("started", 1, true))
  end)

  it("is the same to its clients after it was killed, and leaves nothing when it is stopped", function()
    local env = environment_of(service "one".pid)
    assert.equal(128 + 9, node:stop "KILL")
    node:start()
    local again = environment_of(service "one".pid)
    assert.equal(env.AWS_CONTAINER_CREDENTIALS_FULL_URI, again.AWS_CONTAINER_CREDENTIALS_FULL_URI)
    assert.equal(KEY, fetch(env).AccessKeyId)
    assert.equal(0, node:stop())
    assert.equal("", mode(home .. "/state/credentials"))
    assert.equal(KEY, json.decode(read(home .. "/last")).AccessKeyId)   -- who was told to stop could still upload something
    node:start()
    assert.not_equal(env.AWS_CONTAINER_CREDENTIALS_FULL_URI, environment_of(service "one".pid).AWS_CONTAINER_CREDENTIALS_FULL_URI)
  end)
end)
