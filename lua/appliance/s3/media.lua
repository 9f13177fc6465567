--- Content types by the end of a file's name: what browsers and tools make of an object. Pure.
local media = {}

local TYPES <const> = {
  avro = "application/avro", bz2 = "application/x-bzip2", css = "text/css", csv = "text/csv", gif = "image/gif", gz = "application/gzip",
  htm = "text/html", html = "text/html", ico = "image/vnd.microsoft.icon", jar = "application/java-archive", jpeg = "image/jpeg",
  jpg = "image/jpeg", js = "text/javascript", json = "application/json", md = "text/markdown", mp4 = "video/mp4", pdf = "application/pdf",
  parquet = "application/vnd.apache.parquet", png = "image/png", svg = "image/svg+xml", tar = "application/x-tar",
  tgz = "application/gzip", tsv = "text/tab-separated-values", txt = "text/plain", wasm = "application/wasm", webp = "image/webp",
  xml = "application/xml", yaml = "application/yaml", yml = "application/yaml", zip = "application/zip", zst = "application/zstd",
}

--- nil: S3 says application/octet-stream
function media.type(path)
  local extension = path:match "%.(%w+)$"
  return extension and TYPES[extension:lower()]
end

return media
