--- What a sync has to do: two walks in order of their names, compared as they go by. Pure: walks are functions that give entries
--- { path, size, modified (unix seconds) } in bytewise order of path, or { failure =, path = }: there something can't be seen.
local sync = {}

--- Why the source's one has to be copied over the target's, or nil.
--- how: size_only; exact_timestamps (any other time counts); else a source that is newer counts. Whole seconds: S3 knows no others.
function sync.differs(source, target, how)
  if source.size ~= target.size then return "size" end
  if how.size_only then return nil end
  local one, other = math.floor(source.modified or 0), math.floor(target.modified or 0)
  if how.exact_timestamps then return one ~= other and "time" or nil end
  return one > other and "newer" or nil
end

--- -> a function that gives { what = "copy", source =, target = (or nil), why = "missing" | "size" | "newer" | "time" },
--- { what = "delete", target = }, { what = "failed", entry = }; nil at the end.
--- how: as above, delete: what only the target has goes, and empty: the sentence for a source that has nothing.
--- Where the source could not be seen as a whole nothing is deleted any more: what seems to be missing may only be out of sight. Nor is
--- anything when the source has nothing at all: mostly its name is wrong.
function sync.steps(next_source, next_target, how)
  local source, target = next_source(), next_target()
  if how.delete and target and not source then
    local refusal = { what = "failed", entry = { path = "", failure = how.empty } }
    return function()
      local told = refusal
      refusal = nil
      return told
    end
  end
  local blind = false
  local function step()
    while source or target do
      local here, there = source, target
      if here and here.failure then
        blind, source = true, next_source()
        return { what = "failed", entry = here }
      elseif there and there.failure then
        target = next_target()
        return { what = "failed", entry = there }
      elseif here and (not there or here.path < there.path) then
        source = next_source()
        return { what = "copy", source = here, why = "missing" }
      elseif there and (not here or there.path < here.path) then
        target = next_target()
        if how.delete and not blind then return { what = "delete", target = there } end
      else
        source, target = next_source(), next_target()
        local why = sync.differs(here, there, how)
        if why then return { what = "copy", source = here, target = there, why = why } end
      end
    end
  end
  return step
end

return sync
