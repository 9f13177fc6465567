--- Numbers that look like chance and come out the same for the same seed, whoever else draws (math.random is shared). xorshift64*.
local random = {}
random.__index = random

function random.new(seed)
  local self = setmetatable({ state = (seed * 0x9E3779B97F4A7C15) ~ 0x1234567 }, random)
  if self.state == 0 then self.state = 1 end
  for _ = 1, 4 do self:next() end
  return self
end

--- In [0, 1).
function random:next()
  local x = self.state
  x = x ~ (x >> 12)
  x = x ~ (x << 25)
  x = x ~ (x >> 27)
  self.state = x
  return ((x * 0x2545F4914F6CDD1D) >> 11) * (1.0 / 9007199254740992.0)
end

function random:between(low, high) return low + (high - low) * self:next() end

function random:chance(p) return self:next() < p end

--- A whole number from 1 to n.
function random:index(n) return math.floor(self:next() * n) + 1 end

function random:pick(list) return list[self:index(#list)] end

return random
