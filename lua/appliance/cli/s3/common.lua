--- What the commands of `s3` share: their options, the client of these, failures in words, and how they end when interrupted.
local common = {}

common.HELP = [[
For every command:
  --endpoint-url URL   instead of AWS's own (or AWS_ENDPOINT_URL_S3)        --region NAME      instead of the configured one
  --profile NAME       of ~/.aws/config and ~/.aws/credentials              --role ARN         is assumed first
  --no-sign-request    asks as anybody                                      --path-style       the bucket goes into the path
  --request-payer      this account pays                                    --ca-bundle FILE   the authorities to trust]]

local CLIENT <const> = {
  endpoint_url = "text", region = "text", profile = "text", role = "text", no_sign_request = "flag", path_style = "flag",
  request_payer = "flag", ca_bundle = "text",
}

--- How objects are written. --include and --exclude go into one list: the last that fits decides.
local WRITTEN <const> = {
  content_type = "text", content_encoding = "text", content_disposition = "text", content_language = "text", cache_control = "text",
  expires = "text", metadata = { "list" }, storage_class = "text", sse = "text", sse_kms_key_id = "text", sse_c = "text",
  if_none_match = "flag", if_match = "text", no_guess_mime_type = "flag", part_size = "text",
}

common.WRITTEN_HELP = [[
Of what is written to S3:
  --content-type TYPE (else by the name's end; --no-guess-mime-type: not), --content-encoding, --content-disposition, --content-language,
  --cache-control, --expires, --metadata NAME=VALUE (may be given often), --storage-class, --sse [AES256|aws:kms], --sse-kms-key-id ID
  --sse-c FILE         a key of 32 bytes, raw or in base64, with which S3 encrypts; also to read what was written with it
  --if-none-match      only where there is nothing yet             --if-match ETAG   only where there still is this
  --part-size SIZE     of large objects (8m)]]

--- The options of a command: its own, the client's, and with written = true those of what is written.
function common.options(own, written)
  local known = {}
  for _, set in ipairs { CLIENT, written and WRITTEN or {}, own } do
    for name, how in pairs(set) do known[name] = how end
  end
  return known
end

--- The client these options ask for.
function common.client(options)
  -- The native side reads the settings of a process once; a profile is one of them.
  if options.profile then
    local host = require "appliance.core.host"
    host.setenv("AWS_PROFILE", options.profile)
    -- Who names a profile means its keys, though those of the environment come first else: as in the SDKs.
    for _, name in ipairs { "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN" } do host.setenv(name, nil) end
  end
  return require("appliance.s3").client {
    endpoint = options.endpoint_url, region = options.region, role = options.role, anonymous = options.no_sign_request,
    path_style = options.path_style, request_payer = options.request_payer, ca_file = options.ca_bundle,
  }
end

--- -> the key | nil, sentence
local function read_key(path)
  local text, err = require("appliance.core.file").read(path, 4096)
  if not text then return nil, tostring(err) end
  if #text == 32 then return text end
  local key = require("appliance.s3.base64").decode(text)
  if key and #key == 32 then return key end
  return nil, path .. ": the key of SSE-C has 32 bytes, raw or in base64"
end

--- The options of the verbs -> opts | nil, sentence
function common.opts(options)
  local opts = {}
  for name in pairs(WRITTEN) do opts[name] = options[name] end
  opts.version, opts.request_payer = options.version_id, options.request_payer
  opts.if_none_match = options.if_none_match and "*" or nil
  opts.metadata, opts.sse_c, opts.part_size, opts.no_guess_mime_type = nil, nil, nil, nil
  for _, given in ipairs(options.metadata or {}) do
    opts.metadata = opts.metadata or {}
    for pair in given[2]:gmatch "[^,]+" do
      local name, value = pair:match "^%s*([%w!#$&'*+.^_`|~-]+)=([^%c]*)$"
      if not name then return nil, ("--metadata %s: it must be NAME=VALUE"):format(given[2]) end
      opts.metadata[name] = value
    end
  end
  if options.sse and options.sse ~= "AES256" and options.sse ~= "aws:kms" and options.sse ~= "aws:kms:dsse" then
    return nil, ("--sse %s: AES256 or aws:kms"):format(options.sse)
  end
  opts.metadata_directive = options.metadata_directive
  if not ({ COPY = true, REPLACE = true })[options.metadata_directive or "COPY"] then
    return nil, ("--metadata-directive %s: COPY or REPLACE"):format(options.metadata_directive)
  end
  for _, names in ipairs { { "part_size", "part", 5 << 20, 5 << 30 }, { "expected_size", "expected", 1, 48 << 40 } } do
    local given = options[names[1]]
    if given then
      local size, problem = require("appliance.settings.types").size(given, { example = "8m", least = names[3], most = names[4] })
      if not size then return nil, ("--%s %s %s"):format((names[1]:gsub("_", "-")), given, problem) end
      opts[names[2]] = size
    end
  end
  for _, names in ipairs { { "sse_c", "sse_c" }, { "copy_source_sse_c", "source_sse_c" } } do
    local path = options[names[1]]
    local key, problem = nil, nil
    if path then key, problem = read_key(path) end
    if problem then return nil, problem end
    opts[names[2]] = key
  end
  return opts
end

--- A sentence on stderr, and 64.
function common.misuse(term, command, format, ...)
  term:complain("spark-appliance s3 %s: " .. format, command, ...)
  return 64
end

--- Runs f as a task of its own. Who is interrupted has the time to let go: an upload that is not completed would cost money for ever.
--- -> f's exit code
function common.run(term, f)
  if not term.real then return f() end
  local task = require "appliance.core.task"
  local program = require "appliance.core.program"
  local work <close> = task.start("s3", f)
  local signal
  local watch <close> = task.start("interrupt", function() -- luacheck: ignore
    signal = program.interrupted()
    work:cancel()
  end)
  local ok, code = work:join()
  if ok then return code end
  if not signal then
    term:complain("%s", tostring(code))
    return 70
  end
  term:clear()
  if not common.settle() then
    term:complain "an upload could not be given up in 10 s: its parts may still be there, and cost money until they are removed"
  end
  return 128 + signal
end

--- A line for each thing done, as the AWS CLI has them ("upload: a to s3://b/a"), or a JSON object -> tell(what, { from =, to =, size =,
--- error = }) -> false when nobody reads any more
function common.teller(options, term)
  local json = options.json and require "appliance.json"
  local shown = term.screen and require("appliance.s3.uri").shown or function(text) return text end
  return function(what, how)
    if json then
      how.action, how.dry_run = what, options.dry_run
      return term:say("%s", json.encode(how))
    end
    if options.quiet then return true end
    local to = how.to and " to " .. shown(how.to) or ""
    return term:say("%s", ("%s%s: %s%s"):format(options.dry_run and "(dryrun) " or "", what, shown(how.from), to))
  end
end

--- Whether a transfer to stdout ended because nobody reads it any more.
function common.is_unread(err) return err.kind == "system" and err.code == 32 end

--- Waits until what goes on behind our back has ended, uploads that are given up -> whether it has
function common.settle()
  local aws, copy = package.loaded["appliance.native.aws"], package.loaded["appliance.s3.copy"]
  local copies = not copy or copy.settle(10)
  return (not aws or aws.transfer.settle(10)) and copies
end

return common
