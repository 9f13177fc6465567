"""boto3 with its transfer manager as a client of one operation, as a program of one's own would use it:
driver_boto.py ENDPOINT cat|get|put|pipe|many BUCKET KEY [PATH]"""
import os
import sys

import boto3
from boto3.s3.transfer import TransferConfig

endpoint, what, bucket, key = sys.argv[1:5]
path = sys.argv[5] if len(sys.argv) > 5 else None
s3 = boto3.client("s3", endpoint_url=endpoint, region_name="us-east-1")
if what == "cat":  # one request: what a program does with a small object
    sys.stdout.buffer.write(s3.get_object(Bucket=bucket, Key=key)["Body"].read())
elif what == "null":
    with open(os.devnull, "wb") as file:
        s3.download_fileobj(bucket, key, file)
elif what == "get":
    s3.download_file(bucket, key, path)
elif what == "put":
    s3.upload_file(path, bucket, key)
elif what == "pipe":
    s3.upload_fileobj(sys.stdin.buffer, bucket, key)
elif what == "many":
    from s3transfer.manager import TransferManager
    with TransferManager(s3, TransferConfig(max_concurrency=32)) as manager:
        for page in s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=key):
            for entry in page["Contents"]:
                manager.download(bucket, entry["Key"], f"{path}/{os.path.basename(entry['Key'])}")
