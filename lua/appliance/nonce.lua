--- nonce(bytes) -> so many bytes that nobody can guess, as hexadecimal digits: names and secrets that must be nobody else's.
return function(bytes)
  return (require("appliance.core.host").random(bytes):gsub(".", function(byte) return ("%02x"):format(byte:byte()) end))
end
