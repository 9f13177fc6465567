--- A bound on pure Lua: budget.run(f, ...) -> true, results | nil, err. A profile's chunk and its `plan` are computations of a few
--- thousand instructions; one that takes twenty million is a loop without end, and is stopped with the line it was at.
--- It runs in a coroutine of its own, so it may not wait (a native call that would, says so), and the scheduler's hook on the task stays
--- as it is.
--- What a hook can't reach is one call of C (a backtracking pattern): for that the program has its watchdog.
local budget = {}

local LIMIT, STEP = 20000000, 100000

local current                                                 -- the run in progress: a run never starts another

--- pcall and xpcall as a profile gets them: they don't hold an error that says the budget is spent, else `while true do pcall(f) end`
--- would go on.
local function pass_on(...)
  if current and current.spent then error(current.spent, 0) end
  return ...
end

function budget.pcall(...)
  return pass_on(pcall(...))
end

--- The handler runs after the stack is left: a handler proper is called from within the hook that raised, where no hook fires, so a loop
--- in it could not be stopped.
function budget.xpcall(f, handler, ...)
  return (function(ok, ...)
    if ok then return true, ... end
    return false, handler(...)
  end)(budget.pcall(f, ...))
end

--- Where the code of the profile is just now: the innermost frame that has a line.
local function position()
  for level = 3, 60 do
    local info = debug.getinfo(level, "Sl")
    if not info then break end
    if info.currentline > 0 then return ("%s:%d: "):format(info.short_src, info.currentline) end
  end
  return ""
end

local function bounded(f, ...)
  local run = { used = 0 }
  local thread = coroutine.create(f)
  debug.sethook(thread, function()
    run.used = run.used + STEP
    if run.used < LIMIT then return end
    run.spent = run.spent or position() .. "computes without end: stopped after 20 million instructions; is there a loop that never leaves?"
    error(run.spent, 0)
  end, "", STEP)
  local outer <const> = current
  current = run
  return (function(ok, ...)
    current = outer
    if ok and coroutine.status(thread) == "suspended" then
      coroutine.close(thread)
      return false, "waits, which a profile may not: what must be learned from the world is a fact"
    end
    if ok then return true, ... end
    coroutine.close(thread)                                  -- before anything else: it may hold all the memory there is
    return false, run.spent or ...
  end)(coroutine.resume(thread, ...))
end

--- An error value may have a __tostring of its own, which may fail, or compute without end.
function budget.in_words(problem)
  if type(problem) ~= "table" then return tostring(problem) end
  local ok, text = bounded(tostring, problem)
  return ok and text or "an error that can't say what it is about"
end

--- -> true, results | nil, sentence
function budget.run(f, ...)
  return (function(ok, ...)
    if ok then return true, ... end
    return nil, budget.in_words((...))
  end)(bounded(f, ...))
end

return budget
