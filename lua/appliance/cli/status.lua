--- `status [--json] [--watch]`
local client = require "appliance.client"
local json = require "appliance.json"
local terminal = require "appliance.cli.terminal"

local status = {
  usage = "status [--json] [--watch]",
  options = { json = "flag", watch = { "flag", short = "w" } },
  words = { 0, 0 },
  help = [[
Shows each service with its state, process, time up, restarts, memory, and why it is not up; the last lines of a failed one's output.
  --watch, -w   stays and shows every change (the node tells; nothing is asked again and again)
  --json        one JSON object; with --watch one a line. Fields are described in docs/operations.md.]],
}

local styles = {
  up = "green", done = "green", starting = "yellow", waiting = "yellow", stopping = "yellow", clearing = "yellow",
  unspawned = "yellow", backoff = "red", failed = "red", down = "dim",
}

--- "exited with 1; next try in 2.0 s". `later`: seconds since the answer came.
local function reason(service, later)
  local parts = { service.reason }
  if service.retry_in then parts[#parts + 1] = "next try in " .. terminal.duration(math.max(0, service.retry_in - later)) end
  return table.concat(parts, "; ")
end

--- "up", "recovering, 3.0 s", "stopped": what it does is more than the state it is in.
local function state(service, later)
  if not service.doing then return { service.state, styles[service.state] } end
  if service.doing == "stopped" then return { service.doing, "red" } end
  return { ("%s, %s"):format(service.doing, terminal.duration((service.since or 0) + later)), styles[service.state] }
end

local function head(node, later)
  local program = node.program
  local memory = program.memory and ", " .. terminal.size(program.memory) or ""
  return ("%s: %s; spark-appliance %s, pid %d, up %s%s"):format(node.profile or "no profile yet", node.state, program.version, program.pid,
    terminal.duration((program.uptime or 0) + later), memory)
end

local function rows_of(term, services, later)
  local rows = { { "SERVICE", "STATE", "PID", "UP", "RESTARTS", "MEMORY", "" } }
  for i, cell in ipairs(rows[1]) do rows[1][i] = { cell, "dim" } end
  for _, service in ipairs(services) do
    rows[#rows + 1] = {
      { service.name, service.critical and "bold" or nil }, state(service, later),
      service.pid and tostring(service.pid) or "-",
      service.uptime and terminal.duration(service.uptime + later) or "-",
      tostring(service.restarts), service.memory and terminal.size(service.memory) or "-", reason(service, later),
    }
  end
  return term:table(rows)
end

local function version_of(object)
  return object.version or object.sha256 and "sha256 " .. object.sha256:sub(1, 16) .. "..." or ""
end

--- What was fetched, and below it what failed last.
local function objects_of(term, objects, later)
  local rows = { {} }
  for i, title in ipairs { "FETCHED", "SIZE", "VERSION", "AGE", "FROM" } do rows[1][i] = { title, "dim" } end
  for _, object in ipairs(objects) do
    rows[#rows + 1] = {
      object.error and { object.name, "yellow" } or object.name, object.size and terminal.size(object.size) or "-", version_of(object),
      object.fetched and terminal.duration(object.fetched + later) or "-", object.from .. (object.watch and " (watched)" or ""),
    }
  end
  local lines = { term:table(rows) }
  for _, object in ipairs(objects) do
    if object.error then
      lines[#lines + 1] = ("%s, %s ago: %s"):format(object.name, terminal.duration(object.failed + later), object.error)
    end
  end
  return table.concat(lines, "\n")
end

--- What belongs here and can't be started yet: rows behind the services.
local function waiting(term, waits)
  local names, rows = {}, {}
  for name in pairs(waits or {}) do names[#names + 1] = name end
  table.sort(names)
  for i, name in ipairs(names) do rows[i] = { name, { "waiting", "yellow" }, waits[name] } end
  return rows[1] and term:table(rows) .. "\n"
end

--- The cluster as this node sees it: a line of the whole, one for each node, and what somebody should know.
local function cluster_of(term, cluster)
  local lines = { ("cluster %s, seen by %s: %s"):format(cluster.name, cluster.node, cluster.session
    and ("ZooKeeper is there; leader %s; SQL %s"):format(cluster.leader or term:paint("yellow", "none"), cluster.sql or "nowhere")
    or term:paint("red", ("no session with ZooKeeper%s"):format(cluster.zookeeper and " (" .. cluster.zookeeper .. ")" or ""))
      .. ", so it is not known who leads and where SQL is") }
  local rows = { { { "NODE", "dim" }, { "MASTER", "dim" }, { "ROLES", "dim" }, { "SPARK", "dim" } } }
  for _, node in ipairs(cluster.nodes or {}) do
    rows[#rows + 1] = { node.name, { node.master or "-", node.master == "ALIVE" and "green" or nil }, node.roles or "", node.version or "" }
  end
  if rows[2] then lines[2] = term:table(rows):gsub("\n$", "") end
  for _, sentence in ipairs(cluster.said or {}) do lines[#lines + 1] = term:paint("yellow", sentence) end
  return table.concat(lines, "\n") .. "\n"
end

--- The whole picture as one text. Pure but for the terminal's colours.
function status.render(term, node, later)
  later = later or 0
  local parts = { head(node, later) .. "\n" }
  if #node.services > 0 then parts[#parts + 1] = rows_of(term, node.services, later) .. "\n" end
  parts[#parts + 1] = waiting(term, node.waits) or nil
  if node.cluster then parts[#parts + 1] = cluster_of(term, node.cluster) end
  for _, service in ipairs(node.services) do
    if service.output then
      local lines = service.output:gsub("\n+$", ""):gsub("\n", "\n  ")
      parts[#parts + 1] = ("%s, its last lines:\n  %s\n"):format(term:paint("bold", service.name), lines)
    end
  end
  if node.objects then parts[#parts + 1] = objects_of(term, node.objects, later) .. "\n" end
  local links = {}
  for i, url in ipairs(node.urls) do links[i] = { url.name, url.url } end
  if #links > 0 then parts[#parts + 1] = term:table(links) .. "\n" end
  for _, note in ipairs(node.notes) do parts[#parts + 1] = "note: " .. note .. "\n" end
  return (table.concat(parts, "\n"))
end

--- In place, without a flicker: from the top left, each line erased to its end, the rest of the screen at last.
local function redraw(term, text) return term:write("\27[H" .. text:gsub("\n", "\27[K\n") .. "\27[J") end

--- Between two changes only the times go on, and those are counted here.
local function keep_drawing(term, newest)
  local task = require "appliance.core.task"
  return task.start("redraw", function()
    while true do
      task.sleep(1)
      if newest.node then redraw(term, status.render(term, newest.node, task.now() - newest.at)) end
    end
  end)
end

local function watch(options, term)
  local task = require "appliance.core.task"
  local stream <close>, err = client.open { path = "/status?follow=1" }
  if not stream then
    term:complain("%s", err)
    return err.exit
  end
  local newest, failed = {}, nil
  local live = term.screen and not options.json
  local drawing <close> = live and keep_drawing(term, newest) or nil -- luacheck: ignore
  if live then term:write "\27[2J" end
  for line in client.lines(stream, function(why) failed = why end) do
    if options.json then
      if not term:say("%s", line) then return 0 end
    else
      newest.node, newest.at = json.decode(line), task.now()
      local text = status.render(term, newest.node)
      local shown = live and redraw(term, text) or not live and term:write(text .. "\n")
      if not shown then return 0 end
    end
  end
  term:complain("%s", failed or "the node has ended")
  return failed and failed.exit or 0
end

function status.run(options, _, term)
  if options.watch then return term:while_read(function() return watch(options, term) end) end
  local node, err = client.json { path = "/status" }
  if not node then
    term:complain("%s", err)
    return err.exit
  end
  term:write(options.json and json.encode(node, "  ") .. "\n" or status.render(term, node))
  return 0
end

return status
