--- cmake/compile.lua SOURCE OUT - compiles SOURCE (named as from here) as luac does, but leaves the names of local variables out.
--- A traceback still says file, line and function, and a mistake still names the field, global or upvalue it was made with. Names of
--- locals are half of what a start has to read in and keep: measured, they cost 0.1 ms and 50 KiB.
local source, out = ...

--- What luac writes (ldump.c of Lua 5.4), read position by position; `emit` copies what stays.
local chunk = string.dump(assert(loadfile(source)))
local at, kept = 1, {}

local function emit(from) kept[#kept + 1] = chunk:sub(from, at - 1) end

local function skip(bytes) at = at + bytes end

--- A number, seven bits a byte, the last one marked.
local function number()
  local value = 0
  while true do
    local byte = chunk:byte(at)
    at = at + 1
    value = value << 7 | byte & 0x7f
    if byte & 0x80 ~= 0 then return value end
  end
end

local function text()
  local size = number()
  if size > 0 then skip(size - 1) end
end

local NIL <const>, FALSE <const>, TRUE <const>, INTEGER <const>, FLOAT <const>, SHORT <const>, LONG <const> = 0, 1, 17, 3, 19, 4, 20
local constant = {
  [NIL] = function() end, [FALSE] = function() end, [TRUE] = function() end,
  [INTEGER] = function() skip(8) end, [FLOAT] = function() skip(8) end, [SHORT] = text, [LONG] = text,
}

local function each(f)
  for _ = 1, number() do f() end
end

local function fn()
  local from = at
  text()                                                      -- source
  number()                                                    -- first line
  number()                                                    -- last line
  skip(3)                                                     -- parameters, vararg, stack
  skip(number() * 4)                                          -- code
  each(function()
    local kind = chunk:byte(at)
    skip(1)
    constant[kind]()
  end)
  skip(number() * 3)                                          -- upvalues
  local functions = number()
  emit(from)
  for _ = 1, functions do fn() end
  from = at
  skip(number())                                              -- lines
  each(function() number() number() end)                      -- lines, absolute
  emit(from)
  each(function() text() number() number() end)               -- local variables: here they are left out
  kept[#kept + 1] = "\x80"
  from = at
  each(text)                                                  -- names of upvalues
  emit(from)
end

local HEADER <const> = 4 + 1 + 1 + 6 + 3 + 8 + 8 + 1
assert(chunk:sub(1, 6) == "\27LuaT\0", "bytecode of another Lua than 5.4")
skip(HEADER)
emit(1)
fn()
assert(at == #chunk + 1, "bytecode of another Lua than 5.4")
local made = table.concat(kept)
assert(load(made, "made", "b"))

local file = assert(io.open(out, "wb"))
assert(file:write(made))
assert(file:close())
