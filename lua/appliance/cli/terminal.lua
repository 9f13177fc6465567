--- Where a command writes: colour only on a terminal and without NO_COLOR, one progress line that erases itself, aligned tables.
local terminal = {}
terminal.__index = terminal

local styles = { bold = "1", dim = "2", red = "31", green = "32", yellow = "33" }

--- How many columns a text takes: code points, so that a name with an umlaut does not break a table.
local function width(text) return utf8.len(text) or #text end

--- options: write(fd, text), isatty(fd), columns(fd), environ. Real ones by default; a test gives its own.
function terminal.new(options)
  local host = not (options and options.write) and require "appliance.core.host"
  options = options or { write = host.write, isatty = host.isatty, columns = host.columns, environ = host.environ() }
  local environ = options.environ or {}
  local dumb = environ.TERM == "dumb"
  local plain = dumb or (environ.NO_COLOR or "") ~= ""
  return setmetatable({
    raw = options.write, real = host and true, columns = options.columns, environ = environ, shown = false, broken = false,
    live = options.isatty(2) and not dumb,
    screen = options.isatty(1) and not dumb,
    colour = { options.isatty(1) and not plain, options.isatty(2) and not plain },
  }, terminal)
end

--- false once nobody reads any more (`status | head`): the command then ends quietly.
function terminal:write(text)
  self:clear()
  if not self.broken and not self.raw(1, text) then self.broken = true end
  return not self.broken
end

function terminal:say(text, ...)
  if select("#", ...) > 0 then text = text:format(...) end
  return self:write(text .. "\n")
end

--- A sentence on stderr.
function terminal:complain(text, ...)
  if select("#", ...) > 0 then text = text:format(...) end
  self:clear()
  self.raw(2, text .. "\n")
end

--- fd 1 by default
function terminal:paint(style, text, fd)
  if not (self.colour[fd or 1] and styles[style]) then return text end
  return ("\27[%sm%s\27[0m"):format(styles[style], text)
end

--- One line on stderr that the next replaces; nothing at all where stderr is no terminal.
function terminal:progress(text)
  if not self.live then return end
  local most = (self.columns and self.columns(2) or 80) - 1
  if width(text) > most then text = text:sub(1, (utf8.offset(text, most) or most) - 1) .. "…" end
  self.raw(2, "\r\27[K" .. text)
  self.shown = true
end

function terminal:clear()
  if not self.shown then return end
  self.shown = false
  self.raw(2, "\r\27[K")
end

--- Rows of cells as lines; a cell is a text or { text, style }. The last column is not padded.
function terminal:table(rows)
  local widths = {}
  for _, row in ipairs(rows) do
    for i, cell in ipairs(row) do
      widths[i] = math.max(widths[i] or 0, width(type(cell) == "table" and cell[1] or cell))
    end
  end
  local lines = {}
  for _, row in ipairs(rows) do
    local parts = {}
    for i, cell in ipairs(row) do
      local text, style = cell, nil
      if type(cell) == "table" then text, style = cell[1], cell[2] end
      local pad = (" "):rep(widths[i] - width(text))
      parts[i] = (style and self:paint(style, text) or text) .. pad
    end
    lines[#lines + 1] = (table.concat(parts, "  "):gsub("%s+$", ""))
  end
  return table.concat(lines, "\n")
end

--- Runs f, which may wait for long and prints now and then -> its exit code; 0 as soon as nobody reads our output any more:
--- `logs -f worker | grep -m1 ready` ends with grep and not with the next line of a service that may never say another.
function terminal:while_read(f)
  if not self.real then return f() end
  local task, hangup = require "appliance.core.task", require "appliance.core.hangup"
  local running <close> = task.start("command", f)
  local watching <close> = task.start("hang-up", function() -- luacheck: ignore
    hangup.wait(1)
    running:cancel()
  end)
  local ok, code = running:join()
  if ok then return code end
  return code.kind == "cancelled" and 0 or 70
end

-- ---------------------------------------------------------------- amounts for people

--- 0.04 -> "40 ms", 0.4 -> "0.4 s", 75 -> "1 min 15 s", 90000 -> "1 d 1 h"
function terminal.duration(seconds)
  if seconds < 0.1 then return ("%d ms"):format(math.ceil(seconds * 1000)) end
  if seconds < 10 then return ("%.1f s"):format(seconds) end
  seconds = math.floor(seconds)
  if seconds < 60 then return ("%d s"):format(seconds) end
  if seconds < 3600 then return ("%d min %d s"):format(seconds // 60, seconds % 60) end
  if seconds < 86400 then return ("%d h %d min"):format(seconds // 3600, seconds % 3600 // 60) end
  return ("%d d %d h"):format(seconds // 86400, seconds % 86400 // 3600)
end

function terminal.size(bytes)
  for _, unit in ipairs { "B", "KiB", "MiB" } do
    if bytes < 1024 then return (unit == "B" or bytes >= 10) and ("%.0f %s"):format(bytes, unit) or ("%.1f %s"):format(bytes, unit) end
    bytes = bytes / 1024
  end
  return ("%.1f GiB"):format(bytes)
end

return terminal
