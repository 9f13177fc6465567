"""The C client of AWS through awscrt, as a client of one operation: driver_crt.py ENDPOINT cat|null|get|put|many BUCKET KEY [PATH]
Its throughput target is left at what it chooses; it knows no listing, so the keys of `many` are ours to name."""
import os
import sys

from awscrt.auth import AwsCredentialsProvider
from awscrt.http import HttpHeaders, HttpRequest
from awscrt.io import ClientBootstrap, ClientTlsContext, DefaultHostResolver, EventLoopGroup, TlsContextOptions
from awscrt.s3 import S3Client, S3RequestTlsMode, S3RequestType

endpoint, what, bucket, key = sys.argv[1:5]
path = sys.argv[5] if len(sys.argv) > 5 else None
host = endpoint.split("//")[1]
group = EventLoopGroup()
bootstrap = ClientBootstrap(group, DefaultHostResolver(group))
provider = AwsCredentialsProvider.new_static(os.environ["AWS_ACCESS_KEY_ID"], os.environ["AWS_SECRET_ACCESS_KEY"])
tls, mode = None, S3RequestTlsMode.DISABLED
if endpoint.startswith("https"):
    options = TlsContextOptions()
    options.override_default_trust_store_from_path(None, os.environ["AWS_CA_BUNDLE"])
    tls, mode = ClientTlsContext(options).new_connection_options(), S3RequestTlsMode.ENABLED
client = S3Client(bootstrap=bootstrap, region="us-east-1", credential_provider=provider, tls_mode=mode, tls_connection_options=tls)


def request(key, recv=None, send=None, on_body=None):
    headers = HttpHeaders([("host", host)])
    method, kind = "GET", S3RequestType.GET_OBJECT
    if send:
        method, kind = "PUT", S3RequestType.PUT_OBJECT
        headers.add("content-length", str(os.path.getsize(send)))
    return client.make_request(request=HttpRequest(method, f"/{bucket}/{key}", headers), type=kind, recv_filepath=recv, send_filepath=send,
                               on_body=on_body)


def written(chunk, **_):
    sys.stdout.buffer.write(chunk)


if what == "cat":
    request(key, on_body=written).finished_future.result()
elif what == "null":
    request(key, on_body=lambda **_: None).finished_future.result()
elif what == "get":
    request(key, recv=path).finished_future.result()
elif what == "put":
    request(key, send=path).finished_future.result()
elif what == "many":
    running = [request(f"{key}o-10240-{n:04d}", recv=f"{path}/o-10240-{n:04d}") for n in range(1000)]
    for one in running:
        one.finished_future.result()
sys.stdout.flush()
os._exit(0)  # its threads take half a second to end, which no transfer waits for
