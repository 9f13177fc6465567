--- Keys and file names: which file a key may become, and what a command means by its two ends. Pure.
--- A key is a stranger's text: no key may write outside the directory that was named, and no two keys into one file.
local names = {}

--- The path below a directory for what stands behind the prefix of a key -> path | nil, why not; "dir/" for the mark of a directory.
function names.path(rest)
  if rest == "" then return nil, "nothing is left of the key for a file's name" end
  if rest:find("\0", 1, true) then return nil, "the key holds a NUL byte, which no file's name can" end
  if rest:sub(1, 1) == "/" then return nil, "the key would become an absolute path" end
  if ("/" .. rest .. "/"):find("/../", 1, true) then return nil, "the key would leave the directory by its .." end
  if ("/" .. rest .. "/"):find("/./", 1, true) then return nil, "the key has a part . which names no file" end
  if rest:find("//", 1, true) then return nil, "the key has an empty part between two slashes, which names no file" end
  return rest
end

--- Names that this run has given to files -> why another can't have this one, or nil. folds: the file system holds A for a.
function names.claim(taken, path, folds)
  local mark = folds and path:lower() or path
  local owner = taken[mark]
  if owner and owner ~= path then
    return ("its file would be that of %s: this file system makes no difference between capital and small letters"):format(owner)
  end
  taken[mark] = path
  return nil
end

--- The last part of a key or path; nil when it ends with a slash.
function names.base(text) return text:match "([^/]+)$" end

--- A whole "directory" of keys is what begins with its name and a slash.
function names.prefix(key)
  if key == "" or key:sub(-1) == "/" then return key end
  return key .. "/"
end

-- ---------------------------------------------------------------- --exclude, --include

--- The shell's wildcards as a Lua pattern; * goes over slashes, as in the AWS CLI.
local function pattern_of(glob)
  local out, i = { "^" }, 1
  while i <= #glob do
    local char = glob:sub(i, i)
    local set, behind = glob:match("^%[(!?%]?[^%]]*)%]()", i)
    if char == "*" then
      out[#out + 1] = ".*"
    elseif char == "?" then
      out[#out + 1] = "[^\x80-\xbf][\x80-\xbf]*"                  -- one letter, however many bytes
    elseif set and set ~= "" and set ~= "!" then
      local inside = set:gsub("^!", "^"):gsub("[%%%]]", "%%%0")
      out[#out + 1], i = "[" .. inside .. "]", behind - 1
    else
      out[#out + 1] = char:gsub("%W", "%%%0")
    end
    i = i + 1
  end
  out[#out + 1] = "$"
  return table.concat(out)
end

--- rules: list of { "exclude" | "include", glob } in the order in which they were said -> function(path): is it wanted? The last rule that
--- fits decides; without any it is.
function names.filter(rules)
  local compiled = {}
  for i, rule in ipairs(rules or {}) do compiled[i] = { wanted = rule[1] == "include", pattern = pattern_of(rule[2]) } end
  return function(path)
    for i = #compiled, 1, -1 do
      if path:find(compiled[i].pattern) then return compiled[i].wanted end
    end
    return true
  end
end

return names
