"""moto as a server on 127.0.0.1: S3, STS, IAM, EC2 and the rest in memory, all of it gone when it ends.

    $AWS_PYTHON tests/support/aws_moto.py [--auth]

Prints "ready PORT PID" and serves until it gets a SIGTERM. With --auth it prints "ready PORT PID ACCESS-KEY-ID SECRET-ACCESS-KEY": keys of
a user who may do everything, and from then on every signature is checked. (Without, moto takes any keys: that proves nothing of signing.)
"""
import json
import logging
import os
import signal
import sys
import threading

os.environ["MOTO_EC2_LOAD_DEFAULT_AMIS"] = "false"  # 2 s of start

from moto import settings  # noqa: E402
from moto.core.authorization import ActionAuthenticatorMixin  # noqa: E402
from moto.server import DomainDispatcherApplication, MotoRequestHandler, create_backend_app  # noqa: E402
from werkzeug.serving import make_server  # noqa: E402


def administrator(port):
    import boto3
    iam = boto3.client("iam", endpoint_url=f"http://127.0.0.1:{port}", region_name="us-east-1",
                       aws_access_key_id="anybody", aws_secret_access_key="anything")
    iam.create_user(UserName="administrator")
    iam.put_user_policy(UserName="administrator", PolicyName="all", PolicyDocument=json.dumps(
        {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "*", "Resource": "*"}]}))
    key = iam.create_access_key(UserName="administrator")["AccessKey"]
    settings.INITIAL_NO_AUTH_ACTION_COUNT = 0
    ActionAuthenticatorMixin.request_count = 0
    return key["AccessKeyId"], key["SecretAccessKey"]


signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
logging.getLogger("werkzeug").setLevel(logging.ERROR)
server = make_server("127.0.0.1", 0, DomainDispatcherApplication(create_backend_app), threaded=True, request_handler=MotoRequestHandler)
server.daemon_threads = True
threading.Thread(target=server.serve_forever, daemon=True).start()
os.environ["MOTO_PORT"] = str(server.server_port)
words = ["ready", server.server_port, os.getpid()]
if "--auth" in sys.argv:
    words += administrator(server.server_port)
print(*words, flush=True)
signal.pause()
