--- What S3 is asked in XML. Pure. XML 1.0 has no way to say most control characters: who can't be named here is asked for by a request
--- of its own, whose path can hold them.
local bodies = {}

local ESCAPES <const> = { ["&"] = "&amp;", ["<"] = "&lt;", [">"] = "&gt;", ['"'] = "&quot;", ["'"] = "&apos;", ["\r"] = "&#13;",
  ["\n"] = "&#10;", ["\t"] = "&#9;" }

local function escape(text) return (text:gsub("[&<>\"'\r\n\t]", ESCAPES)) end

--- Can XML hold this name?
function bodies.can_hold(text)
  return not text:find "[%z\1-\8\11\12\14-\31]" and not text:find "\xEF\xBF[\xBE\xBF]" and utf8.len(text) ~= nil
end

--- names: list of { key =, version = }, all of which XML can hold. Quiet: the answer tells only what failed.
function bodies.delete(names)
  local lines = { '<?xml version="1.0" encoding="UTF-8"?>\n<Delete xmlns="http://s3.amazonaws.com/doc/2006-03-01/"><Quiet>true</Quiet>' }
  for _, name in ipairs(names) do
    lines[#lines + 1] = ("<Object><Key>%s</Key>%s</Object>"):format(escape(name.key),
      name.version and "<VersionId>" .. escape(name.version) .. "</VersionId>" or "")
  end
  lines[#lines + 1] = "</Delete>"
  return table.concat(lines)
end

--- tags: { name = value }, in order of their names
function bodies.tags(tags)
  local names = {}
  for name in pairs(tags) do names[#names + 1] = name end
  table.sort(names)
  for i, name in ipairs(names) do
    names[i] = ("<Tag><Key>%s</Key><Value>%s</Value></Tag>"):format(escape(name), escape(tags[name]))
  end
  return '<?xml version="1.0" encoding="UTF-8"?>\n<Tagging xmlns="http://s3.amazonaws.com/doc/2006-03-01/"><TagSet>'
    .. table.concat(names) .. "</TagSet></Tagging>"
end

--- parts: list of { number =, etag = }, in order
function bodies.complete(parts)
  local lines = { '<?xml version="1.0" encoding="UTF-8"?>\n<CompleteMultipartUpload xmlns="http://s3.amazonaws.com/doc/2006-03-01/">' }
  for _, part in ipairs(parts) do
    lines[#lines + 1] = ("<Part><PartNumber>%d</PartNumber><ETag>&quot;%s&quot;</ETag></Part>"):format(part.number, escape(part.etag))
  end
  lines[#lines + 1] = "</CompleteMultipartUpload>"
  return table.concat(lines)
end

return bodies
