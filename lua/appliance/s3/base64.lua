--- Base64 (RFC 4648). Pure.
local base64 = {}

local ALPHABET <const> = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
local value = {}
for i = 1, 64 do value[ALPHABET:byte(i)] = i - 1 end

--- -> bytes | nil: this is no base64
function base64.decode(text)
  text = text:gsub("%s", "")
  if #text % 4 ~= 0 or text:find "[^%w+/=]" or text:find "=[^=]" or text:find "===" then return nil end
  local out = {}
  for i = 1, #text, 4 do
    local a, b, c, d = text:byte(i, i + 3)
    local bits = value[a] << 18 | value[b] << 12 | (value[c] or 0) << 6 | (value[d] or 0)
    out[#out + 1] = string.char(bits >> 16, bits >> 8 & 255, bits & 255):sub(1, value[c] == nil and 1 or value[d] == nil and 2 or 3)
  end
  return table.concat(out)
end

--- bytes -> text, in one line
function base64.encode(bytes)
  local encoded = bytes:gsub("..?.?", function(group)
    local a, b, c = group:byte(1, 3)
    local bits = a << 16 | (b or 0) << 8 | (c or 0)
    local letters = ""
    for i = 0, #group do
      local at = bits >> (18 - 6 * i) & 63
      letters = letters .. ALPHABET:sub(at + 1, at + 1)
    end
    return letters .. ("="):rep(3 - #group)
  end)
  return encoded
end

return base64
