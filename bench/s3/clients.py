"""How each client of S3 is told to do each thing: the words of its command for
cat KEY (to stdout), null KEY (read and thrown away), get KEY PATH, put PATH KEY, pipe KEY (from stdin), many DIRECTORY (all of small/).
Options are those its manual recommends for the case, not its bare defaults, where these
are known to be slow."""
import os
import shutil

HERE = os.path.dirname(os.path.abspath(__file__))
BUCKET = "bench"


class Client:
    imds = False   # finds a role's keys at the endpoint that AWS_EC2_METADATA_SERVICE_ENDPOINT names
    pipes = True   # uploads what has no length yet

    def __init__(self, name, program, why_missing="not installed"):
        self.name, self.program, self.why_missing = name, program, why_missing

    def missing(self):
        return None if self.program and shutil.which(self.program) else self.why_missing

    def environment(self, endpoint, folder, ca_file):
        return {}

    def null(self, endpoint, key):
        return self.cat(endpoint, key)


class Ours(Client):
    imds = True

    def cat(self, endpoint, key):
        return [self.program, "s3", "cat", f"s3://{BUCKET}/{key}"]

    def get(self, endpoint, key, path):
        return [self.program, "s3", "cp", f"s3://{BUCKET}/{key}", path]

    def put(self, endpoint, path, key):
        return [self.program, "s3", "cp", path, f"s3://{BUCKET}/{key}"]

    def pipe(self, endpoint, key):
        return [self.program, "s3", "cp", "-", f"s3://{BUCKET}/{key}"]

    def many(self, endpoint, folder):
        return [self.program, "s3", "cp", "-r", f"s3://{BUCKET}/small/", folder + "/"]


class Curl(Client):
    """One stream, the caller's own addresses; keys from a file, as argv is everybody's to read."""
    pipes = False

    def environment(self, endpoint, folder, ca_file):
        self.config = f"{folder}/curl"
        with open(self.config, "w") as file:
            file.write('aws-sigv4 = "aws:amz:us-east-1:s3"\nuser = "AKIABENCH:bench"\nheader = "x-amz-content-sha256: UNSIGNED-PAYLOAD"\n'
                       'noproxy = "*"\nsilent\nfail\n' + (f'cacert = "{ca_file}"\n' if ca_file else ""))
        return {}

    def words(self, *more):
        return [self.program, "-K", self.config, *more]

    def cat(self, endpoint, key):
        return self.words(f"{endpoint}/{BUCKET}/{key}")

    def get(self, endpoint, key, path):
        return self.words("-o", path, f"{endpoint}/{BUCKET}/{key}")

    def put(self, endpoint, path, key):
        return self.words("-T", path, f"{endpoint}/{BUCKET}/{key}")

    def many(self, endpoint, folder):
        return self.words("--parallel", "--parallel-max", "64", "-o", folder + "/o-10240-#1",
                          f"{endpoint}/{BUCKET}/small/o-10240-[0000-0999]")


class S5cmd(Client):
    imds = True

    def words(self, endpoint, *more):
        return [self.program, "--endpoint-url", endpoint, *more]

    def cat(self, endpoint, key):
        return self.words(endpoint, "cat", f"s3://{BUCKET}/{key}")

    def get(self, endpoint, key, path):
        return self.words(endpoint, "cp", f"s3://{BUCKET}/{key}", path)

    def put(self, endpoint, path, key):
        return self.words(endpoint, "cp", path, f"s3://{BUCKET}/{key}")

    def pipe(self, endpoint, key):
        return self.words(endpoint, "pipe", f"s3://{BUCKET}/{key}")

    def many(self, endpoint, folder):
        return self.words(endpoint, "cp", f"s3://{BUCKET}/small/*", folder + "/")


class Rclone(Client):
    imds = True

    def environment(self, endpoint, folder, ca_file):
        return {"RCLONE_CONFIG": f"{folder}/no-rclone.conf", "RCLONE_S3_PROVIDER": "Minio", "RCLONE_S3_ENV_AUTH": "true",
                "RCLONE_S3_ENDPOINT": endpoint, "RCLONE_S3_REGION": "us-east-1", "RCLONE_S3_FORCE_PATH_STYLE": "true",
                "RCLONE_S3_NO_CHECK_BUCKET": "true", "RCLONE_CONTIMEOUT": "5s",
                "AWS_CA_BUNDLE": None, # its SDK ends with an error where this is set
                "RCLONE_CA_CERT": ca_file}

    def cat(self, endpoint, key):
        return [self.program, "-q", "cat", f":s3:{BUCKET}/{key}"]

    def get(self, endpoint, key, path):
        return [self.program, "-q", "copyto", f":s3:{BUCKET}/{key}", path]

    def put(self, endpoint, path, key):
        return [self.program, "-q", "copyto", path, f":s3:{BUCKET}/{key}"]

    def pipe(self, endpoint, key):
        return [self.program, "-q", "rcat", f":s3:{BUCKET}/{key}"]

    def many(self, endpoint, folder):
        return [self.program, "-q", "copy", "--transfers", "64", "--checkers", "64", f":s3:{BUCKET}/small", folder]


class S3cmd(Client):
    def environment(self, endpoint, folder, ca_file):
        self.config = f"{folder}/s3cfg"
        host = endpoint.split("//")[1]
        with open(self.config, "w") as file:
            file.write(f"[default]\naccess_key = AKIABENCH\nsecret_key = bench\nhost_base = {host}\nhost_bucket = {host}\nuse_https = {bool(ca_file)}\n"
                       "bucket_location = us-east-1\n" + (f"ca_certs_file = {ca_file}\n" if ca_file else ""))
        return {}

    def words(self, *more):
        return [self.program, "-c", self.config, "-q", "--no-progress", *more]

    def cat(self, endpoint, key):
        return self.words("get", f"s3://{BUCKET}/{key}", "-")

    def get(self, endpoint, key, path):
        return self.words("--force", "get", f"s3://{BUCKET}/{key}", path)

    def put(self, endpoint, path, key):
        return self.words("put", path, f"s3://{BUCKET}/{key}")

    def pipe(self, endpoint, key):
        return self.words("put", "-", f"s3://{BUCKET}/{key}")

    def many(self, endpoint, folder):
        return self.words("--force", "--recursive", "get", f"s3://{BUCKET}/small/", folder + "/")


class Cli(Client):
    imds = True

    def words(self, *more):
        return [self.program, "-m", "awscli", "s3", "cp", "--only-show-errors", *more]

    def cat(self, endpoint, key):
        return self.words(f"s3://{BUCKET}/{key}", "-")

    def get(self, endpoint, key, path):
        return self.words(f"s3://{BUCKET}/{key}", path)

    def put(self, endpoint, path, key):
        return self.words(path, f"s3://{BUCKET}/{key}")

    def pipe(self, endpoint, key):
        return self.words("-", f"s3://{BUCKET}/{key}")

    def many(self, endpoint, folder):
        return self.words("--recursive", f"s3://{BUCKET}/small/", folder + "/")


class Driver(Client):
    """A program of ours around somebody's library."""

    def __init__(self, name, python, script, imds, pipes):
        super().__init__(name, python, "its Python packages could not be fetched")
        self.script, self.imds, self.pipes = f"{HERE}/{script}", imds, pipes

    def words(self, endpoint, what, *more):
        return [self.program, "-B", self.script, endpoint, what, BUCKET, *more]

    def cat(self, endpoint, key):
        return self.words(endpoint, "cat", key)

    def null(self, endpoint, key):
        return self.words(endpoint, "null", key)

    def get(self, endpoint, key, path):
        return self.words(endpoint, "get", key, path)

    def put(self, endpoint, path, key):
        return self.words(endpoint, "put", key, path)

    def pipe(self, endpoint, key):
        return self.words(endpoint, "pipe", key)

    def many(self, endpoint, folder):
        return self.words(endpoint, "many", "small/", folder)


def everyone():
    python = os.environ.get("BENCH_PYTHON")
    return [
        Ours("appliance", os.environ.get("APPLIANCE"), "not built"),
        Curl("curl", "curl"),
        S5cmd("s5cmd", os.environ.get("S5CMD"), "no Go to build it with"),
        Driver("crt", python, "driver_crt.py", False, False),
        Rclone("rclone", "rclone"),
        S3cmd("s3cmd", "s3cmd"),
        Driver("boto3", python, "driver_boto.py", True, True),
        Cli("aws-cli-1", python, "its Python packages could not be fetched"),
    ]
