--- The keys of this process and of roles assumed with them, from the SDKs' chain: environment, profile, web identity, container, instance.
-- credentials.get { role = ARN } -> { access_key_id, secret_access_key, session_token, account_id, expires = unix seconds or nil,
--   source = "instance metadata", generation, extended } | nil, err     waits; without a role the chain's own. One fetch for all who ask
-- credentials.refused { role =, generation = } -> whether asking again is worth it after a service called those keys expired
-- credentials.region() -> "eu-west-1" | nil, err          waits: environment, profile, and then the instance, when this is one
-- credentials.steps() -> { { source =, answer = "unset" | "ready" | "broken", text = }, ... }, the chosen one's name | nil
-- credentials.configured() -> its name | nil, err         both contact nobody
-- credentials.forget() -> true | nil, err                 the next use begins anew
-- Loading it loads libcurl and libcrypto.
return require("appliance.native.aws").credentials
