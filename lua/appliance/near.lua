--- "Did you mean": the known name nearest to a word somebody typed.
--- Damerau-Levenshtein distance (a swap of two neighbours is one slip), letters of any case, bounded: most
--- names are told apart by their length and their set of letters, before any table is made.
local near = {}

--- How many slips a word of this length may hold. Below three letters every other short name would be "near".
local function allowance(length)
  if length < 3 then return 0 end
  return length < 8 and 1 or 2
end

--- A set of the word's bytes in 64 bits. One slip changes at most two of its members, so sets that differ more can't be near.
local function letters(word)
  local set = 0
  for i = 1, #word do set = set | 1 << (word:byte(i) & 63) end
  return set
end

local function more_members_than(set, limit)
  while set ~= 0 do
    set = set & set - 1
    limit = limit - 1
    if limit < 0 then return true end
  end
  return false
end

--- The distance of two words, or nil when it is above `limit`.
function near.distance(one, other, limit)
  if math.abs(#one - #other) > limit then return nil end
  local before, last, row = {}, {}, {}                     -- three rows of the usual matrix
  for j = 0, #other do last[j] = j end
  for i = 1, #one do
    row[0] = i
    local least = i
    local letter, letter_before = one:byte(i), one:byte(i - 1)
    for j = 1, #other do
      local same = letter == other:byte(j)
      local best = math.min(last[j] + 1, row[j - 1] + 1, last[j - 1] + (same and 0 or 1))
      if i > 1 and j > 1 and letter == other:byte(j - 1) and letter_before == other:byte(j) then
        best = math.min(best, before[j - 2] + 1)
      end
      row[j] = best
      if best < least then least = best end
    end
    -- A swap reaches back two rows but costs one, so a row whose least is above the limit stays above it.
    if least > limit then return nil end
    before, last, row = last, row, before
  end
  return last[#other] <= limit and last[#other] or nil
end

--- near.best(word, list) or near.best(word, iterator [, state, start]), so near.best(word, pairs(by_name)) works too.
--- The nearest name, or nil when none is near; of equally near ones the first by alphabet, so the answer never depends on hash order.
function near.best(word, names, state, start)
  if type(names) == "table" then
    local list, i = names, 0
    names, state, start = function() i = i + 1; return list[i] end, nil, nil
  end
  word = word:lower()
  local limit, set = allowance(#word), letters(word)
  local best, best_distance
  for name in names, state, start do
    local known = name:lower()
    if math.abs(#known - #word) <= limit and not more_members_than(set ~ letters(known), 2 * limit) then
      local distance = near.distance(word, known, limit)
      if distance and (not best or distance < best_distance or distance == best_distance and name < best) then
        best, best_distance = name, distance
      end
    end
  end
  return best, best_distance
end

--- The end of a sentence: `, did you mean "status"?`, or nothing when no name is near.
function near.hint(word, names, state, start)
  local best = near.best(word, names, state, start)
  return best and (', did you mean "%s"?'):format(best) or ""
end

return near
