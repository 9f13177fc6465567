-- The cluster of deploy/compose.yaml: it comes up, does a job, answers SQL at every master, and does so again when its leader is killed.
local docker = require "docker"

local PROJECT <const> = "spark-appliance-test"
local MASTERS <const> = { "master1", "master2", "master3" }

local function compose(format, ...)
  return docker.shell("IMAGE=%s docker-compose -p %s -f deploy/compose.yaml " .. format, docker.image, PROJECT, ...)
end

local function exec(service, format, ...)
  return docker.shell("docker exec %s_%s_1 " .. format, PROJECT, service, ...)
end

-- Waits for a master that leads, and is none of those that have been killed.
local function wait_leader(seconds, not_this)
  local deadline = os.time() + seconds
  repeat
    for _, name in ipairs(MASTERS) do
      if name ~= not_this and select(2, exec(name, "spark-appliance healthcheck leader")) == 0 then return name end
    end
    docker.shell("sleep 0.5")
  until os.time() > deadline
  error("nobody leads; " .. compose("logs --tail=40"), 2)
end

local function ask(service, statement)
  return exec(service, "beeline -u jdbc:hive2://%s:10000 -n test --silent=true --showHeader=false --outputformat=csv2 -e '%s'", service,
    statement)
end

describe("the cluster of deploy/compose.yaml", function()
  setup(function()
    local said, code = compose("up -d")
    assert.equal(0, code, said)
  end)
  teardown(function() compose("down -v -t 10") end)

  local leader

  it("comes up with one leader and its workers", function()
    leader = wait_leader(180)
    for _, name in ipairs(MASTERS) do
      local said, code = exec(name, "spark-appliance healthcheck --wait 120s master")
      assert.equal(0, code, said)
    end
    for _, name in ipairs { "worker1", "worker2" } do
      local said, code = exec(name, "spark-appliance healthcheck --wait 120s")
      assert.equal(0, code, said)
    end
  end)

  it("answers SQL at a master that does not run the SQL server, too", function()
    for _, name in ipairs(MASTERS) do
      local said, code = ask(name, "select 6 * 7")
      assert.equal(0, code, said)
      assert.matches("42", said)
    end
  end)

  it("has another leader, and SQL, when the leader's container is killed", function()
    -- A container that is killed by its engine is not started again by it.
    local said, code = docker.shell("docker kill %s_%s_1", PROJECT, leader)
    assert.equal(0, code, said)
    local next_one = wait_leader(60, leader)
    local answer, ended = ask(next_one, "select 40 + 2")
    assert.equal(0, ended, answer)
    assert.matches("42", answer)
  end)
end)
