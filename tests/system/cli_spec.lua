-- The program itself from the command line: one node with plain services, and every command against it.
local json = require "appliance.json"
local outside = require "outside"

local program = outside.PROGRAM
local read, write, quote, command_line = outside.read, outside.write, outside.quote, outside.command_line

describe("the program", function()
  local home, environment, node

  local function sh(script) return node:sh(script) end
  local function run(...) return node:run { ... } end
  local function await(...) return node:await(...) end

  setup(function()
    home = os.tmpname()
    os.remove(home)
    assert(os.execute("mkdir -p " .. home .. "/profiles " .. home .. "/state"))
    environment = ("export STATE_DIR=%s/state APPLIANCE_PROFILES=%s/profiles PROFILE=plain NO_COLOR=1;"):format(home, home)
    write(home .. "/profiles/plain.lua", [[
      return profile { doc = "Two plain services.", settings = { LIMIT = { type = "size", default = "1m", doc = "For a." } }, facts = {},
        plan = function(env)
          return plan { services = {
            service { name = "steady", command = { "/bin/sh", "-c", "echo hello; exec sleep 1000" }, stop = { grace = 5 },
                      env = { LIMIT = tostring(env.LIMIT), MY_PASSWORD = "hunter2" } },
            service { name = "quiet", command = { "/bin/sleep", "1000" }, critical = false },
          } }
        end }
    ]])
    write(home .. "/profiles/faulty.lua", "return profile { settings = {}, plan = 7 }")
    node = outside.node(home, environment)
    node:start()
  end)

  teardown(function()
    assert.equal(0, node:stop())
    assert.is_nil(io.open(home .. "/state/control.sock"), "the socket is left behind")
    os.execute("rm -r " .. home)
  end)

  it("starts no node for a run that asks for help, or for what there is not", function()
    local code, text = run("run", "--help")
    assert.equal(0, code)
    assert.matches("^usage: spark%-appliance run\n", text)
    assert.equal(64, (run("run", "--bogus")))
    assert.equal(64, (run("run", "master")))
  end)

  it("shows its state", function()
    local code, text, err = run "status"
    assert.same({ 0, "" }, { code, err })
    assert.matches("^plain: running; spark%-appliance %S+, pid " .. node.pid .. ",", text)
    assert.matches("\nsteady +up +%d+ ", text)
    local shown = json.decode(select(2, run("status", "--json")))
    assert.equal(2, #shown.services)
    assert.equal(node.pid, shown.program.pid)
  end)

  it("shows its state anew when it changes, until nobody reads any more", function()
    local function seen(state) return (read(home .. "/seen") or ""):find("\nquiet +" .. state .. " ") end
    local watch = command_line { program, "status", "--watch" }
    os.execute(("%s timeout 60 %s >%s/seen & echo $! >%s/watcher"):format(environment, watch, home, home))
    await("the first picture", function() return seen "up" end)
    assert.equal(0, (run("stop", "quiet")))
    await("the next picture", function() return seen "down" end)
    os.execute("kill " .. read(home .. "/watcher"))
    assert.equal(0, (run("start", "quiet")))
    local code, text = sh(("{ timeout 30 %s; echo $? >watched; } | head -n 1; cat watched"):format(watch))
    assert.equal(0, code)
    assert.matches("^plain: running[^\n]+\n0\n$", text)
  end)

  it("answers a health check", function()
    assert.same({ 0, "steady is up\n", "" }, { run "healthcheck" })
    assert.same({ 0, "quiet is up\n", "" }, { run("healthcheck", "quiet") })
    local code, text, err = run("healthcheck", "quite")
    assert.same({ 1, "" }, { code, text })
    assert.matches('did you mean "quiet"%?', err)
  end)

  it("waits until the node is well, and for no longer than it is told to", function()
    assert.same({ 0, "steady is up\n", "" }, { run("healthcheck", "--wait", "60s") })
    assert.equal(0, (run("stop", "quiet")))
    assert.same({ 1, "", "quiet is down\n" }, { run("healthcheck", "quiet", "--wait=1s") })
    os.execute(("%s %s healthcheck quiet --wait 60s >%s/waited 2>&1 & echo $! >%s/waiter"):format(environment, quote(program), home, home))
    await("it follows", function()
      return os.execute(("ls -l /proc/%d/fd | grep -q socket:"):format(read(home .. "/waiter")))
    end)
    assert.equal("", read(home .. "/waited"))
    assert.equal(0, (run("start", "quiet")))
    await("it has ended", function() return read(home .. "/waited") == "quiet is up\n" end)
  end)

  it("waits for a node that is not there yet", function()
    local later = home .. "/later"
    assert(os.execute("mkdir " .. later))
    local at = ("export STATE_DIR=%s; timeout 60 %s "):format(later, quote(program))
    local code, text, err = sh(at .. "healthcheck --wait 0.05")
    assert.same({ 1, "" }, { code, text })
    assert.matches("no spark%-appliance runs here %(.*/later/control.sock: no such file%)", err)
    sh(("{ %s healthcheck --wait 60s; echo $?; } >later/waited 2>&1 & :"):format(at))
    sh(("export STATE_DIR=%s; setsid %s run >later/log 2>&1 & echo $! >later/pid; :"):format(later, quote(program)))
    await("it is well", function() return read(later .. "/waited") == "steady is up\n0\n" end)
    local other = read(later .. "/pid")
    os.execute("kill " .. other)
    await("it has ended", function() return not os.execute(("kill -0 %d 2>/dev/null"):format(other)) end)
  end)

  it("prints logs", function()
    assert.same({ 0, "hello\n", "" }, { run("logs", "steady") })
    assert.same({ 0, "hello\n", "" }, { sh("timeout 20 " .. command_line { program, "logs", "-f", "steady" } .. " | head -n 1") })
    assert.equal(1, (run("logs", "nobody")))
  end)

  it("restarts, stops and starts", function()
    local code, text = run("restart", "steady")
    assert.equal(0, code)
    assert.matches("^steady: up after [%d.]+ m?s\n$", text)
    assert.matches("^quiet: down after", select(2, run("stop", "quiet")))
    assert.matches("\nquiet +down +%- ", select(2, run "status"))
    assert.matches("^quiet: up after", select(2, run("start", "quiet")))
    assert.equal(0, (run("restart", "--no-wait", "quiet")))
    local err
    code, text, err = run("restart", "nobody")
    assert.same({ 1, "" }, { code, text })
    assert.matches('no service is called "nobody"', err)
  end)

  it("is usable with curl", function()
    local code, text = sh("curl -s -i --unix-socket state/control.sock http://x/health")
    assert.equal(0, code)
    assert.matches("^HTTP/1.1 200 OK\r\n", text)
    assert.matches("\r\n\r\nsteady is up\n$", text)
    -- Two requests on one connection.
    code, text = sh "curl -s --unix-socket state/control.sock http://x/health http://x/health"
    assert.same({ 0, "steady is up\nsteady is up\n" }, { code, text })
  end)

  it("prints its plan and compares it with what runs, without secrets", function()
    local code, text = run "plan"
    assert.equal(0, code)
    assert.matches("service steady", text)
    assert.is_nil(text:find("hunter2", 1, true))
    assert.equal("steady", json.decode(select(2, run("plan", "--json"))).services[1].name)
    assert.same({ 0, "nothing differs: the node runs this plan\n", "" }, { run("plan", "--diff") })
    assert.equal("", (select(3, run "plan")))
    assert.matches("plan of the settings given here, and not what the node runs: plan %-%-diff",
      (select(3, sh("LIMIT=5m " .. command_line { program, "plan" }))))
    code, text = sh("LIMIT=5m " .. command_line { program, "plan", "--diff" })
    assert.equal(0, code)
    assert.matches("^~ service steady: env LIMIT: 1048576 %-> 5242880", text)
    assert.is_nil(text:find("hunter2", 1, true))
  end)

  it("checks settings and profile", function()
    local code, text = run "check"
    assert.equal(0, code)
    assert.matches("profiles/plain.lua%): settings and profile are right\n$", text)
    local err
    code, text, err = sh("LIMIT=lots " .. command_line { program, "check" })
    assert.same({ 78, "" }, { code, text })
    assert.matches("LIMIT", err)
    code, text = sh("LIMIT=lots " .. command_line { program, "check", "--json" })
    assert.equal(78, code)
    assert.equal(1, #json.decode(text).faults)
    assert.equal(78, (sh("PROFILE=faulty " .. command_line { program, "check" })))
    assert.equal(78, (sh("PROFILE=faulty " .. command_line { program, "plan" })))
  end)

  it("tells at once of a SPARK_HOME and a JAVA_HOME that are none, and of ports that clash: check, plan and run alike", function()
    local given = "unset PROFILE; export STATE_DIR=$PWD/elsewhere BIND_ADDRESS=127.0.0.1"
    for _, command in ipairs { "check", "plan", "run" } do
      local code, text, err = sh(given .. "; SPARK_HOME=/nowhere JAVA_HOME=$PWD " .. command_line { program, command })
      assert.same({ 78, "" }, { code, text }, command)
      assert.matches('SPARK_HOME="/nowhere" is no Spark %(/nowhere: ', err)
      assert.matches('JAVA_HOME="' .. home .. '" is no Java %(' .. home .. "/bin/java: ", err)
      code, _, err = sh(given .. "; MASTER_UI_PORT=8081 " .. command_line { program, command })
      assert.equal(78, code, command)
      assert.matches("MASTER_UI_PORT=8081 %(environment%) and WORKER_UI_PORT=8081 %(default%) are the same port", err)
    end
  end)

  it("refuses a second node in the same place", function()
    local code, _, err = run "run"
    assert.equal(1, code)
    assert.matches("another spark%-appliance", err)
    assert.matches("STATE_DIR=" .. home, err)
    assert.equal(0, (run "healthcheck"))
  end)

  it("refuses a second node also while the first has no socket yet", function()
    local code, _, err = sh("mkdir early; STATE_DIR=$PWD/early flock early " .. command_line { program, "run" })
    assert.equal(1, code)
    assert.matches("another spark%-appliance already runs here: STATE_DIR=" .. home .. "/early\n", err)
    assert.is_nil(io.open(home .. "/early/control.sock"), "the socket is left behind")
  end)

  it("says how to find a node where there is none", function()
    local code, _, err = sh("STATE_DIR=/nonexistent " .. command_line { program, "status" })
    assert.equal(69, code)
    assert.equal("no spark-appliance runs here (/nonexistent/control.sock: no such file): start it with `spark-appliance run`, "
      .. "or set STATE_DIR\n", err)
    assert.equal(1, (sh("STATE_DIR=/nonexistent " .. command_line { program, "healthcheck" })))
  end)

  it("answers wrong usage with 64", function()
    local code, _, err = run "stauts"
    assert.equal(64, code)
    assert.matches('did you mean "status"', err)
    assert.equal(64, (run("status", "--jsno")))
    assert.equal(0, (run("logs", "--help")))
  end)

  it("tells versions and settings", function()
    local code, text = run "version"
    assert.equal(0, code)
    assert.matches("^spark%-appliance  %d", text)
    assert.matches("\nLua +5%.4\n", text)
    code, text = run("settings", "STOP_TIMEOUT")
    assert.equal(0, code)
    assert.matches("^STOP_TIMEOUT", text)
    local err
    code, text, err = run("settings", "STOP_TIMEOT")
    assert.same({ 1, "" }, { code, text })
    assert.matches('did you mean "STOP_TIMEOUT"', err)
    code, text = run("settings", "LIMIT")
    assert.equal(0, code)
    assert.matches("^LIMIT\n +For a%.\n.*default 1m", text)
    assert.matches("\nOF THIS PROFILE\n\nLIMIT\n", select(2, run "settings"))
    assert.is_nil(select(2, run("settings", "--markdown")):find("For a.", 1, true))
  end)

  it("runs a Lua file as a task", function()
    write(home .. "/script.lua", [[
      local task = require "appliance.task"
      task.sleep(0.01)
      local t = task.start(function() return "from a task" end)
      io.write(select(2, t:join()), " ", ..., " ", arg[0], "\n")
      return 3
    ]])
    assert.same({ 3, "from a task x script.lua\n", "" }, { run("lua", "script.lua", "x") })
    write(home .. "/broken.lua", "local x =")
    local code, _, err = run("lua", "broken.lua")
    assert.equal(1, code)
    assert.matches("broken.lua:1:", err)
    write(home .. "/raises.lua", "error 'no'")
    assert.matches("raises.lua:1: no", select(3, run("lua", "raises.lua")))
    assert.equal(1, (run("lua", "missing.lua")))
  end)

  it("lets a command end in its own way when it is interrupted, and at once the second time", function()
    write(home .. "/patient.lua", [[
      local program, task = require "appliance.core.program", require "appliance.core.task"
      require("appliance.core.host").write(1, "ready\n")
      local signal = program.interrupted()
      require("appliance.core.host").write(1, "signal " .. signal .. "\n")
      if ... == "for ever" then task.sleep(1000) end
      return 7
    ]])
    -- The shell kills when it has read the line that says so, and tells how it ended.
    local script = "rm -f fifo; mkfifo fifo; %s >fifo & exec 3<fifo; read line <&3; kill -INT $!; read line <&3; echo $line; %s "
      .. "wait $!; echo $?"
    local _, out = sh(script:format(command_line { program, "lua", home .. "/patient.lua" }, ""))
    assert.equal("signal 2\n7\n", out)
    _, out = sh(script:format(command_line { program, "lua", home .. "/patient.lua", "for ever" }, "kill -TERM $!;"))
    assert.equal("signal 2\n143\n", out)
  end)

  it("runs a site's tests", function()
    if os.getenv "SANITIZED" then return pending "Debian's interpreter can't load modules with the sanitizer in them" end
    assert(os.execute(("mkdir -p %s/site"):format(home)))
    write(home .. "/site/one_spec.lua", [[
      it("finds our modules", function()
        assert.is_function(require("appliance.near").best)
        assert.truthy(require "appliance.core.task")
        assert.truthy(require "appliance.simulate")
      end)
    ]])
    local code, text, err = run("test", "site")
    assert.equal(0, code, text .. err)
    assert.matches("1 success", text)
    code, text, err = sh("PATH=/nonexistent " .. command_line { program, "test", "site" })
    assert.same({ 1, "" }, { code, text })
    assert.matches("apt%-get install lua%-busted", err)
  end)

  local function count_descriptors()
    local pipe = assert(io.popen(("ls /proc/%d/fd | wc -l"):format(node.pid)))
    local count = tonumber(pipe:read "a")
    pipe:close()
    return count
  end

  it("frees a follower that was killed, however quiet its service is", function()
    local before = count_descriptors()
    os.execute(("%s %s logs -f quiet >/dev/null 2>&1 & echo $! >%s/follower"):format(environment, quote(program), home))
    await("the follower is connected", function() return count_descriptors() == before + 1 end)
    os.execute("kill -9 " .. read(home .. "/follower"))
    await("the follower is freed", function() return count_descriptors() == before end)
  end)

  it("grows by nothing with health checks", function()
    if os.getenv "SANITIZED" then return pending "the sanitizer keeps what was freed" end
    local function private()
      local rollup = read(("/proc/%d/smaps_rollup"):format(node.pid))
      return rollup and tonumber(rollup:match "\nPrivate_Dirty: +(%d+) kB")
    end
    local ask = "yes url=http://x/health | head -n 2000 | curl -s -K - --unix-socket state/control.sock >/dev/null"
    assert.equal(0, (sh(ask)))
    local before = private()
    if not before then return pending "smaps_rollup can't be read here" end
    assert.equal(0, (sh(ask)))
    assert.equal(0, (run "healthcheck"))
    assert.is_true(private() - before <= 16, ("%d kB more"):format(private() - before))
  end)
end)
