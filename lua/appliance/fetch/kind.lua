--- What a file must begin with to be what it is taken for. A class path passes over what is no jar in silence, and the job that misses
--- it ends hours later.
local kind = {}

--- As a ZIP archive begins: with a first entry, or, one of none, with its end.
local MARKS <const> = { jar = { "PK\3\4", "PK\5\6" } }

function kind.is_known(name) return MARKS[name] ~= nil end

--- What a file is that begins like this, in words: `is empty`, `begins with "<!DOCTYPE html>"`
local function seen(head)
  if head == "" then return "is empty" end
  local line = head:match "^[^\r\n]*"
  local shown = line:gsub("[^\32-\126]", function(c) return ("\\x%02x"):format(c:byte()) end)
  return ('begins with "%s"%s'):format(shown, head:find "^%s*<" and ", as a web page does" or "")
end

--- kind.fault(name, path) -> nil when the file at `path` is of that kind, else what is wrong with it: "is no jar (...)"
function kind.fault(name, path)
  local file, err = io.open(path, "rb")
  if not file then return ("can't be read (%s)"):format((err:gsub("^.*: ", ""))) end
  local head, problem = file:read(16)
  file:close()
  if problem then return ("can't be read (%s)"):format(problem) end
  head = head or ""
  for _, mark in ipairs(MARKS[name]) do
    if head:sub(1, #mark) == mark then return nil end
  end
  return ("is no %s (a %s is a ZIP archive, and this %s)"):format(name, name, seen(head))
end

return kind
