#!/usr/bin/python3
"""The services that give credentials, on 127.0.0.1 only, as badly as a test asks: the instance metadata service (v2 and v1), the
container endpoint of ECS and EKS, and STS.

    fake_imds.py [--stay] [--script JSON]
    fake_imds.py JSON

Prints one line, "plain PORT" (the second form: "ready PORT PID"), and serves until its parent dies, /test/quit is asked for, or (the
first form without --stay) its standard input ends.
Set AWS_EC2_METADATA_SERVICE_ENDPOINT=http://127.0.0.1:PORT, AWS_CONTAINER_CREDENTIALS_FULL_URI=http://127.0.0.1:PORT/container,
AWS_ENDPOINT_URL_STS=http://127.0.0.1:PORT.

Told by --script or by PUT /test/script with a JSON object, of which each member replaces the present one (any other stays):
  token      what becomes of PUT /latest/api/token: "ok", "silent" (connected and read, never answered), "reset", a status (403), or
             {"after": SECONDS}; a list is used up from its front, its last one stays: [500, 500, "ok"]
  get        the same for every other request to the metadata service
  container  the same for /container..., sts the same for STS (a status of 4xx or 5xx; or "CODE" of STS, as "AccessDenied", answered with 403)
  proxy      true: every answer carries a Via header
  v1         true: the token is not needed for GETs; else they get 401 without one
  ttl        seconds that tokens live (21600)
  role       "spark-node"; "" none is attached (404)
  code       of the role's document: "Success", or "AssumeRoleUnauthorizedAccess"
  lifetime   seconds until the Expiration of a document, may be negative; 21600. null: no Expiration (container only)
  keep       true: the same document for every request, as IMDS does; else its key has a new number each time (AKIA0001, AKIA0002 ...)
  authorization  what /container must be sent in Authorization, else 401; null: anything
  region     "eu-west-1"; zone "eu-west-1b"; tags {"Name": "x"} or null (404); spot, rebalance: a JSON value or null (404);
  lifecycle  "InService" or null
  clock      seconds by which the Date of all answers is off
As a proxy for https it only counts where to (paths), and answers 503.
Asked by GET /test/counts: {"token": N, "roles": N, "document": N, "container": N, "sts": N, "other": N, "paths": {PATH: N}, "last":
{"sts": {FIELD: VALUE}, "sts_headers": {NAME: VALUE}, "container_headers": {...}, "get_headers": {...}}}. /test/reset: counts and numbers of keys at nought.
"""
import ctypes
import json
import os
import signal
import socket
import struct
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, unquote

lock = threading.Lock()
script = {
    "token": "ok", "get": "ok", "container": "ok", "sts": "ok", "proxy": False, "v1": False, "ttl": 21600, "role": "spark-node",
    "code": "Success", "lifetime": 21600, "keep": False, "authorization": None, "region": "eu-west-1", "zone": "eu-west-1b", "tags": None,
    "spot": None, "rebalance": None, "lifecycle": None, "clock": 0,
}
tokens = {}
number = 0
kept = {}


def zero():
    return {"token": 0, "roles": 0, "document": 0, "container": 0, "sts": 0, "other": 0, "paths": {}, "last": {}}


counts = zero()


def iso(seconds):
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + seconds))


def fresh_keys(prefix):
    """Keys of a new number, or (keep) the ones of before."""
    global number
    with lock:
        if script["keep"] and prefix in kept:
            return kept[prefix]
        number += 1
        life = script["lifetime"]
        kept[prefix] = (f"{prefix}{number:04d}", f"secret-{number:04d}", f"token-{number:04d}", None if life is None else iso(life))
        return kept[prefix]


def next_of(what):
    with lock:
        fate = script[what]
        if isinstance(fate, list):
            return fate.pop(0) if len(fate) > 1 else fate[0]
        return fate


def count(what, path):
    with lock:
        counts[what] += 1
        counts["paths"][path] = counts["paths"].get(path, 0) + 1


STS = """<{action}Response xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><{action}Result>
<AssumedRoleUser><AssumedRoleId>AROA:{session}</AssumedRoleId><Arn>{arn}</Arn></AssumedRoleUser>
<Credentials><AccessKeyId>{0}</AccessKeyId><SecretAccessKey>{1}</SecretAccessKey><SessionToken>{2}</SessionToken>
<Expiration>{3}</Expiration></Credentials></{action}Result><ResponseMetadata><RequestId>r</RequestId></ResponseMetadata></{action}Response>
"""


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = 1 << 16  # head and body in one piece, or the client's delayed acknowledgement costs 40 ms

    def log_message(self, *_):
        pass

    def date_time_string(self, timestamp=None):
        return super().date_time_string((time.time() if timestamp is None else timestamp) + script["clock"])

    def answer(self, status, body=b"", **headers):
        if isinstance(body, str):
            body = body.encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        if script["proxy"]:
            self.send_header("Via", "1.1 squid")
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        self.wfile.write(body)

    def fated(self, what):
        """True: the script has dealt with it."""
        fate = next_of(what)
        if isinstance(fate, dict):
            time.sleep(fate["after"])
            fate = fate.get("then", "ok")
        if fate == "ok":
            return False
        self.close_connection = True
        if fate == "silent":
            self.connection.recv(1)
        elif fate == "reset":
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.connection.close()
        elif isinstance(fate, int):
            self.answer(fate, json.dumps({"code": "Failed", "message": "as the script says"}) if what == "container" else b"")
        elif what == "sts":
            self.answer(403, f"<ErrorResponse><Error><Code>{fate}</Code><Message>as the script says</Message></Error></ErrorResponse>")
        else:
            self.answer(200, fate)
        return True

    def do_PUT(self):
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if self.path == "/test/script":
            with lock:
                script.update(json.loads(body))
                kept.clear()
            self.answer(200)
        elif self.path == "/latest/api/token":
            count("token", self.path)
            if self.fated("token"):
                return
            wanted = self.headers.get("X-aws-ec2-metadata-token-ttl-seconds")
            if not wanted or self.headers.get("X-Forwarded-For"):
                self.answer(403 if wanted else 400)
                return
            with lock:
                token = f"token{len(tokens)}=="
                tokens[token] = time.monotonic() + script["ttl"]
            self.answer(200, token, X_aws_ec2_metadata_token_ttl_seconds=str(script["ttl"]))
        else:
            self.answer(404)

    def do_CONNECT(self):
        count("other", self.path)
        self.answer(503)

    def do_POST(self):
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0)).decode()
        fields = {name: values[-1] for name, values in parse_qs(body, keep_blank_values=True).items()}
        count("sts", self.path)
        with lock:
            counts["last"]["sts"] = fields
            counts["last"]["sts_headers"] = dict(self.headers.items())
        if self.fated("sts"):
            return
        keys = fresh_keys("ASIASTS")
        session = fields.get("RoleSessionName", "")
        arn = fields.get("RoleArn", "").replace(":iam:", ":sts:").replace(":role/", ":assumed-role/") + "/" + session
        self.answer(200, STS.format(*keys, action=fields.get("Action", ""), arn=arn, session=session))

    def do_GET(self):
        path = unquote(self.path)
        if path == "/test/counts":
            with lock:
                body = json.dumps(counts)
            self.answer(200, body)
        elif path == "/test/reset":
            global number
            with lock:
                counts.clear()
                counts.update(zero())
                kept.clear()
                number = 0
            self.answer(200)
        elif path == "/test/quit":
            self.answer(200)
            os._exit(0)
        elif path.startswith("/container"):
            self.container(path)
        else:
            self.metadata(path)

    def document(self, prefix):
        keys = fresh_keys(prefix)
        document = {"AccessKeyId": keys[0], "SecretAccessKey": keys[1], "Token": keys[2]}
        if keys[3]:
            document["Expiration"] = keys[3]
        return document

    def container(self, path):
        count("container", path)
        with lock:
            counts["last"]["container_headers"] = dict(self.headers.items())
        if self.fated("container"):
            return
        if script["authorization"] is not None and self.headers.get("Authorization") != script["authorization"]:
            self.answer(401, json.dumps({"code": "AccessDenied", "message": "wrong token"}))
            return
        self.answer(200, json.dumps(self.document("ASIACON")))

    def metadata(self, path):
        roles = "/latest/meta-data/iam/security-credentials/"
        count("roles" if path == roles else "document" if path.startswith(roles) else "other", path)
        with lock:
            counts["last"]["get_headers"] = dict(self.headers.items())
        if self.fated("get"):
            return
        token = self.headers.get("X-aws-ec2-metadata-token")
        with lock:
            known = tokens.get(token, 0) > time.monotonic()
        if not known and (token or not script["v1"]):
            self.answer(401)
        elif path == roles and script["role"]:
            self.answer(200, script["role"] + "\n")
        elif path == roles + script["role"] and script["role"]:
            if script["code"] == "Success":
                self.answer(200, json.dumps({"Code": "Success", "Type": "AWS-HMAC", "LastUpdated": iso(-60)} | self.document("ASIAIMD")))
            else:
                self.answer(200, json.dumps({"Code": script["code"], "Message": "EC2 cannot assume the role " + script["role"] + "."}))
        else:
            self.other(path)

    def other(self, path):
        identity = {"accountId": "123456789012", "architecture": "x86_64", "availabilityZone": script["zone"], "imageId": "ami-1",
                    "instanceId": "i-0123456789abcdef0", "instanceType": "m5.large", "privateIp": "10.0.0.1", "region": script["region"],
                    "version": "2017-09-30", "devpayProductCodes": None}
        tags = script["tags"]
        texts = {
            "/latest/dynamic/instance-identity/document": json.dumps(identity),
            "/latest/meta-data/placement/region": script["region"],
            "/latest/meta-data/placement/availability-zone": script["zone"],
            "/latest/meta-data/instance-id": identity["instanceId"],
            "/latest/meta-data/spot/instance-action": script["spot"] and json.dumps(script["spot"]),
            "/latest/meta-data/events/recommendations/rebalance": script["rebalance"] and json.dumps(script["rebalance"]),
            "/latest/meta-data/autoscaling/target-lifecycle-state": script["lifecycle"],
            "/latest/meta-data/tags/instance": None if tags is None else "\n".join(sorted(tags)),
        }
        for name, value in (tags or {}).items():
            texts["/latest/meta-data/tags/instance/" + name] = value
        text = texts.get(path.rstrip("/") or path)
        if text is None:
            self.answer(404)
        else:
            self.answer(200, text)


class Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 256

    def handle_error(self, *_):
        pass


def main():
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG
    arguments = sys.argv[1:]
    bare = len(arguments) == 1 and arguments[0].startswith(("{", "["))  # an empty table of Lua may be "[]"
    stay = bare or "--stay" in arguments
    if "--script" in arguments:
        script.update(json.loads(arguments[arguments.index("--script") + 1]))
    elif bare:
        script.update(json.loads(arguments[0]))
    server = Server(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    print(*(("ready", server.server_address[1], os.getpid()) if bare else ("plain", server.server_address[1])), flush=True)
    while stay:
        signal.pause()
    while sys.stdin.buffer.read(4096):
        pass


if __name__ == "__main__":
    main()
