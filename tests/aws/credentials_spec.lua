-- Roles assumed at moto, which checks our signatures; and the command of a credential_process as the program itself runs it, whose children
-- are reaped by SIGCHLD.
local parts = require "aws_parts"

describe("credentials from STS", function()
  local moto, directory

  local function write(name, text)
    local path = directory .. "/" .. name
    local file <close> = assert(io.open(path, "w"))
    file:write(text)
    return path
  end

  setup(function()
    moto = parts.moto { auth = true }
    directory = parts.path(".credentials")
    assert(os.execute("mkdir -m 700 " .. directory))
    parts.boto(moto, [[
iam = boto3.client("iam")
trust = json.dumps({"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Principal": {"AWS": "*"}, "Action": "sts:AssumeRole"}]})
everything = json.dumps({"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "*", "Resource": "*"}]})
for name in ("middle", "reader"):
    iam.create_role(RoleName=name, AssumeRolePolicyDocument=trust)
    iam.put_role_policy(RoleName=name, PolicyName="all", PolicyDocument=everything)
]])
  end)

  teardown(function()
    moto:close()
    os.execute("rm -r " .. directory)
  end)

  -- Runs `script` in the program, with moto as AWS, and with nothing but `env` to say who we are.
  local function run(env, script)
    local all = { AWS_ENDPOINT_URL = moto.url, AWS_REGION = "us-east-1" }   -- env may name another
    for name, value in pairs(env) do all[name] = value end
    local ran = parts.run({ os.getenv "APPLIANCE", "lua", write("script.lua", script) }, { env = all })
    assert.same(0, ran.code, ran.err)
    return ran.out
  end

  local WHO <const> = [[
local aws, credentials = require "appliance.aws", require "appliance.credentials"
local keys = assert(credentials.get { role = os.getenv "ROLE" })
local answer = assert(aws.call("sts", "GetCallerIdentity", {}, { role = os.getenv "ROLE" }))
print(keys.source, (answer.GetCallerIdentityResult or answer).Arn, keys.session_token and keys.expires > os.time())]]

  it("go from the keys of one profile by its role to the role of another", function()
    local config = write("config", ([[
[profile base]
aws_access_key_id = %s
aws_secret_access_key = %s
[profile middle]
role_arn = arn:aws:iam::123456789012:role/middle
source_profile = base
[default]
role_arn = arn:aws:iam::123456789012:role/reader
source_profile = middle
role_session_name = chained
]]):format(moto.keys.access_key_id, moto.keys.secret_access_key))
    assert.same("profile\tarn:aws:sts::123456789012:assumed-role/reader/chained\ttrue\n", run({ AWS_CONFIG_FILE = config }, WHO))
  end)

  it("are those of a role on top of the keys at hand", function()
    local env = { AWS_ACCESS_KEY_ID = moto.keys.access_key_id, AWS_SECRET_ACCESS_KEY = moto.keys.secret_access_key,
      ROLE = "arn:aws:iam::123456789012:role/reader" }
    assert.matches("^assumed role\tarn:aws:sts::123456789012:assumed%-role/reader/spark%-appliance%-%d+\ttrue\n$", run(env, WHO))
    env.AWS_SECRET_ACCESS_KEY = "wrong"
    assert.matches("role/reader: STS says SignatureDoesNotMatch %(403%)",
      run(env, [[print(select(2, require("appliance.credentials").get { role = os.getenv "ROLE" }))]]))
  end)

  it("are exchanged for a web identity", function()
    local lenient <close> = parts.moto()   -- the one that checks signatures can't do without one
    local env = { AWS_ENDPOINT_URL = lenient.url,
      AWS_WEB_IDENTITY_TOKEN_FILE = write("jwt", "header.payload.signature"), AWS_ROLE_SESSION_NAME = "pod",
      AWS_ROLE_ARN = "arn:aws:iam::123456789012:role/reader" }
    assert.matches("^web identity\tarn:aws:sts::123456789012:assumed%-role/reader/pod\ttrue\n$", run(env, WHO))
  end)

  it("come from a process, whose end the program's reaper does not take away", function()
    local document = ('{"Version": 1, "AccessKeyId": "%s", "SecretAccessKey": "%s"}'):format(moto.keys.access_key_id,
      moto.keys.secret_access_key)
    local config = write("config", ("[default]\ncredential_process = echo noise >&2; cat %s\n"):format(write("document", document)))
    local script = [[
local credentials = require "appliance.credentials"
for _ = 1, 20 do
  print(assert(credentials.get()).access_key_id)
  assert(credentials.forget())
end]]
    assert.same((moto.keys.access_key_id .. "\n"):rep(20), run({ AWS_CONFIG_FILE = config }, script))
    config = write("config", "[default]\ncredential_process = echo no ticket >&2; exit 5\n")
    assert.same("the credential_process of profile default exited with 5: no ticket\n",
      run({ AWS_CONFIG_FILE = config }, [[print(select(2, require("appliance.credentials").get()))]]))
  end)
end)
