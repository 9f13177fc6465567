--- The masters of a cluster as jobs, workers and the SQL server are told of them: those that are there, and those that were a while ago.
--- A master node that is rebooted, or upgraded, would otherwise change every node's files twice, and a job submitted meanwhile would not
--- know the one that leads next. An address where nobody answers costs Spark nothing: it asks all at once. Pure: it is told the time.
local roster = {}
roster.__index = roster

roster.LINGER = 900                                            -- seconds

--- roster.new([linger])
function roster.new(linger) return setmetatable({ linger = linger or roster.LINGER, seen = {} }, roster) end

--- present: "10.0.0.1:7077", ... as they are `now` -> the list to be told, sorted; seconds until it changes by itself, or nil
function roster:update(now, present)
  for _, address in ipairs(present) do self.seen[address] = now end
  local is_here, list, soonest = {}, {}, nil
  for _, address in ipairs(present) do is_here[address] = true end
  for address, at in pairs(self.seen) do
    local left = at + self.linger - now
    if is_here[address] then
      list[#list + 1] = address
    elseif left > 0 then
      list[#list + 1] = address
      soonest = math.min(soonest or left, left)
    else
      self.seen[address] = nil
    end
  end
  table.sort(list)
  return list, soonest
end

return roster
