--- HTTP(S) requests, as src/lua/module/aws_http.c describes them. Loading it loads libcurl; appliance.core.http, for unix sockets and
--- numeric addresses, does without.
return require("appliance.native.aws").http
