--- Signed requests to S3 and other services of AWS. Credentials, signature, region, retries, clock and checksums are the engine's
--- (src/lua/module/aws_request.c has all fields); loading this loads no library, the first request does.
---
---   local aws = require "appliance.aws"
---   local answer, err = aws.request { bucket = "b", key = "k" }                     -- { status, headers, body, ... } | nil, err
---   local who = aws.call("sts", "GetCallerIdentity")                                -- who.Account, who.Arn
---   local page = aws.call("ec2", "DescribeInstances", { InstanceId = { "i-1" }, Filter = { { Name = "x", Value = { "y" } } } })
---   local zones = aws.rest { service = "route53", path = "/2013-04-01/hostedzone" } -- zones.xml: the tree, zones.value: as of call
---
--- err: kind, code (HTTP status), name ("NoSuchKey", "Throttling"), request_id, text, attempts.
local aws = {}

local function send(spec)
  return require("appliance.native.aws").request.send(spec)
end

--- One request, by default to S3.
function aws.request(spec) return send(spec) end

--- Where a Query service speaks which version of its language.
local VERSIONS <const> = {
  sts = "2011-06-15", ec2 = "2016-11-15", elasticloadbalancing = "2012-06-01", elasticloadbalancingv2 = "2015-12-01",
  autoscaling = "2011-01-01", cloudformation = "2010-05-15", iam = "2010-05-08", sns = "2010-03-31", monitoring = "2010-08-01",
  rds = "2014-10-31",
}

--- Services that have one host with another, and sign as it.
local SIGNED_AS <const> = { elasticloadbalancingv2 = "elasticloadbalancing" }

--- A Query service's action -> its result as a table | nil, err
---  - params: numbers and booleans are written as AWS has them; a list becomes NAME.member.N (ec2: NAME.N), a table NAME.FIELD, nested at
---    will; an empty list is sent as NAME= (an empty value), which is how AWS says "none".
---  - the result is what stands inside <ACTIONResult> (ec2: the answer itself). A text is a string, whatever it means; <member> and <item>
---    lists become lists, also with one entry; an element that is there and empty is "". aws.list(x) is a list in any case;
---    appliance.aws.tree has the rules. Tokens of further pages (NextToken, nextToken, Marker, NextMarker) are there as they came: give
---    them back in params for the next page, or use aws.pages.
---  - opts: region, role, endpoint, version (of the language), timeout, ca_file, keys, anonymous, no_retry, ...: as for aws.request.
function aws.call(service, action, params, opts)
  local query = require "appliance.aws.query"
  local tree = require "appliance.aws.tree"
  opts = opts or {}
  local version = opts.version or VERSIONS[service]
  if not version then
    error(("call: the version of %s's language is not known here: give opts.version"):format(tostring(service)), 2)
  end
  local spec = {}
  for name, value in pairs(opts) do spec[name] = value end
  spec.version = nil
  spec.service, spec.method, spec.path = SIGNED_AS[service] or service, "POST", "/"
  spec.headers = { ["Content-Type"] = "application/x-www-form-urlencoded; charset=utf-8" }
  spec.body = query.form(action, version, params, service == "ec2" and "ec2" or nil)
  spec.ceiling = opts.ceiling or 16 << 20
  spec.subject = opts.subject or (service .. " " .. action)
  local answer, err = send(spec)
  if not answer then return nil, err end
  return tree.result(answer.body, action, spec.subject)
end

local TOKENS <const> = { { "NextToken", "NextToken" }, { "nextToken", "NextToken" }, { "NextMarker", "Marker" }, { "Marker", "Marker" } }

--- Page after page: for page, err in aws.pages(service, action, params, opts) do ... end; the last may be nil, err.
function aws.pages(service, action, params, opts)
  local asked = {}
  for name, value in pairs(params or {}) do asked[name] = value end
  local over = false
  return function()
    if over then return nil end
    local page, err = aws.call(service, action, asked, opts)
    over = true
    if not page then return false, err end
    for _, names in ipairs(TOKENS) do
      local token = page[names[1]]
      if type(token) == "string" and token ~= "" and token ~= asked[names[2]] then
        asked[names[2]], over = token, false
        break
      end
    end
    return page
  end
end

--- A REST-XML service -> { status, headers, body, xml = tree of appliance.xml, value = table as of call } | nil, err
--- spec: service, method, path ("/2013-04-01/hostedzone"), query, headers, body (text), and what aws.request takes.
function aws.rest(spec)
  local asked = { method = "GET", path = "/" }
  for name, value in pairs(spec) do asked[name] = value end
  asked.subject = spec.subject or ("%s %s %s"):format(asked.service, asked.method, asked.path)
  asked.ceiling = spec.ceiling or 16 << 20
  local answer, err = send(asked)
  if not answer then return nil, err end
  if answer.body:find "^%s*<" then
    answer.xml, err = require("appliance.xml").parse(answer.body)
    if not answer.xml then
      return nil, require("appliance.failure").new("protocol", "%s: the answer is no XML: %s", asked.subject, tostring(err))
    end
    answer.value = require("appliance.aws.tree").value(answer.xml)
  end
  return answer
end

--- What may be a list of an answer, as one: see appliance.aws.tree.
function aws.list(value) return require("appliance.aws.tree").list(value) end

--- What environment and files say: { region, attempts, profile, ca_file, endpoints, ... } | nil, err
function aws.settings() return require("appliance.native.aws").request.settings() end

return aws
