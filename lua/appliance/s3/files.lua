--- A walk through a local directory, in the order in which S3 lists keys.
local file = require "appliance.core.file"

local files = {}

local DEPTH <const> = 100

--- A directory's name counts with its slash: "a.txt" comes before "a/b", as "." comes before "/".
local function sorted(directory, relative)
  local list, err = file.list(directory)
  if not list then return nil, err end
  local entries = {}
  for i, name in ipairs(list) do
    local stat, problem = file.stat(directory .. "/" .. name)
    entries[i] = { name = name, path = relative .. name .. (stat and stat.kind == "dir" and "/" or ""), stat = stat, err = problem }
  end
  table.sort(entries, function(one, other) return one.path < other.path end)
  return entries
end

--- A link may lead back to a directory we are in.
local function is_loop(stack, full)
  local real = file.real(full)
  for _, level in ipairs(stack) do if level.real == real then return true end end
  return false
end

--- Nothing is read of them: a pipe would be waited for.
local function odd_kind(kind)
  return (kind == "socket" and "a socket" or "a pipe or a device") .. ", and only files are copied (--exclude leaves it out)"
end

local function failed(path, text) return { path = path, failure = text } end

--- A failure that is about this one name, below which there is nothing.
local function failed_alone(path, text) return { path = path, failure = text, alone = true } end

--- files.walk(directory) -> a function that gives { path (relative), full, size, modified } for each file, following links, and
--- { path, failure = sentence } for what can't be read or is no file; nil at the end. Of a failure with `alone` nothing else is unseen:
--- who does not want that path need not tell it.
function files.walk(directory)
  directory = directory == "/" and "" or directory:gsub("(.)/+$", "%1")
  local stack = {}
  local function enter(full, relative)
    if #stack >= DEPTH then return failed(relative, full .. ": more than 100 directories deep") end
    if is_loop(stack, full) then return failed(relative, full .. ": a link that leads back to where it is") end
    local entries, err = sorted(full, relative)
    if not entries then return failed(relative, tostring(err)) end
    stack[#stack + 1] = { entries = entries, at = 0, full = full, real = file.real(full) }
  end
  local problem = enter(directory == "" and "/" or directory, "")
  return function()
    if problem then
      local told = problem
      problem = nil
      return told
    end
    while #stack > 0 do
      local level = stack[#stack]
      level.at = level.at + 1
      local entry = level.entries[level.at]
      if not entry then
        stack[#stack] = nil
      else
        local full = (level.full == "/" and "" or level.full) .. "/" .. entry.name
        if not entry.stat then
          -- Its directory has it, so what is missing is what it points to.
          if entry.err.kind ~= "missing" then return failed(entry.path, tostring(entry.err)) end
          return failed_alone(entry.path, full .. ": a link to what is not there (--exclude leaves it out)")
        end
        if entry.stat.kind == "file" then
          return { path = entry.path, full = full, size = entry.stat.size, modified = entry.stat.mtime }
        elseif entry.stat.kind ~= "dir" then
          return failed_alone(entry.path, ("%s: this is %s"):format(full, odd_kind(entry.stat.kind)))
        end
        local trouble = enter(full, entry.path)
        if trouble then return trouble end
      end
    end
  end
end

--- Does this file system hold "A" for "a"? Told by a directory that is there: under its name in other letters there is something, too.
function files.folds(directory)
  local real = file.real(directory)
  local other = real and real:gsub("[^/]+$", function(name)
    local swapped = name:upper()
    return swapped ~= name and swapped or name:lower()
  end)
  return other ~= nil and other ~= real and file.stat(other) ~= nil
end

return files
