--- What the specs of the image say to a Docker engine. The image under test is named by $IMAGE.
local docker = {}

docker.image = os.getenv("IMAGE")

--- Runs a shell command; returns what it printed (both streams) and its exit code.
function docker.shell(format, ...)
  local pipe = assert(io.popen("{ " .. format:format(...) .. "\n} 2>&1 </dev/null"))
  local text = pipe:read("a")
  local _, _, code = pipe:close()
  return text, code
end

local function must(format, ...)
  local text, code = docker.shell(format, ...)
  if code ~= 0 then error(("%s\nended with %d:\n%s"):format(format:format(...), code, text), 3) end
  return (text:gsub("%s+$", ""))
end

--- A container that is removed when the variable that holds it goes out of scope.
local container = {}
container.__index = container

function container:__close()
  docker.shell("docker rm -f -v %s", self.id)
end

function container:logs()
  return (docker.shell("docker logs %s", self.id))
end

function container:inspect(format)
  return must("docker inspect -f '%s' %s", format, self.id)
end

function container:exec(format, ...)
  return docker.shell("docker exec %s " .. format, self.id, ...)
end

--- The address a published port got on this machine.
function container:published(port)
  return must("docker port %s %d | head -n 1", self.id, port)
end

--- Waits until the node says of itself that it is well; ends sooner when the container does.
function container:wait_ready(seconds)
  local text, code = self:exec("spark-appliance healthcheck --wait %ds", seconds or 120)
  if code ~= 0 then error(("not ready (%d): %s, its log:\n%s"):format(code, text, self:logs()), 2) end
  return self
end

--- `docker stop` as a person types it: returns the seconds it took and the exit code of the container.
function container:stop()
  local before = must("date +%%s.%%N")
  must("docker stop %s", self.id)
  local after = must("date +%%s.%%N")
  return tonumber(after) - tonumber(before), tonumber(self:inspect("{{.State.ExitCode}}"))
end

--- Starts a node in the background: options are those of `docker run`, command is what follows the image.
function docker.start(options, command)
  local id = must("docker run -d --label spark-appliance.test=yes %s %s %s | tail -n 1", options or "", docker.image, command or "")
  return setmetatable({ id = id }, container)
end

return docker
