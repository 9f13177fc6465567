#!/usr/bin/python3
"""A small S3 that keeps objects in memory, checks every signature, and misbehaves as a test tells it. On 127.0.0.1 only.

    fault_s3.py [--stay] [--tls NAME CERTIFICATE KEY]...

Prints one line, "plain PORT NAME PORT ...", and serves until its parent dies or (not with --stay) its standard input ends. Path style; also
virtual-host style for hosts that end in ".localhost". A Query service answers at "/" to POST (GetCallerIdentity and whatever is scripted).

What it knows: GET, HEAD, PUT, DELETE of objects (ranges, If-Match, If-None-Match, user metadata, checksums in headers and trailers, copies),
lists (v2, delimiter, pages), multipart uploads, batch delete, tags, presigned URLs, aws-chunked bodies with signed and unsigned chunks. Times, hashes and
signatures are checked as S3 does: a wrong one is SignatureDoesNotMatch, a time that is off by more than 15 minutes RequestTimeTooSkewed.

Told by requests below /-/, which are not signed:
  PUT /-/set     a JSON object; each field replaces the one before
    keys         {"AKID": "secret"}; at the start {"test": "secret"}. tokens: {"AKID": "session token"} that such a key must come with
    expired      [keys or session tokens that are answered with ExpiredToken]; invalid: the same with InvalidToken
    skew         seconds that its clock is ahead of ours
    regions      {"bucket": "eu-west-1"}: requests signed for another region are answered as region_form says:
                 "301", "301-bare" (no header, no body, as to HEAD), "307" (Location at location, if set), "400", "constraint",
                 "header" (as 301, the region only in x-amz-bucket-region), "silent" (bare 400; a HEAD of the bucket has the header)
    location     "http://127.0.0.1:PORT" of another one of these
    checksums    "yes", "refuse" (501 NotImplemented to any), "invalid" (400 InvalidRequest), "ignore" (trailers are stored as content)
    buckets      [names]; a request to another one is NoSuchBucket; unset: every bucket is there
    page         objects in a page of a list at most, 1000
  PUT /-/steps   a JSON list of steps, each for the next requests it fits, before anything else is looked at:
    {"on": "GET /b/k", "times": 2, ...}      `on`: method and the start of the path, or either; unset: all. times: 1
    what happens, one of:
    "status": 503, "code": "SlowDown", "message": ..., "headers": {...}, "body": "..."   that answer; with code: as S3's error, of which
                 "form" is s3 (default), query, ec2, json, html or empty
    "cut": N     the answer as it should be, but the connection ends after N bytes of its body; "how": "reset" resets it
    "stall": N   the same, but then silence
    "damage": N  the N-th byte of the body is another one
    "silent": 1  no answer;  "unread": 1: the connection ends before the body is read; "how": "reset"
    "late": S    as it should be, but S seconds later;  "rate": B: bytes per second of the body
    "after": 1   with status or silent: the request is carried out, and then answered so
    "keepalive": N  N blanks before the body of a 200, sent at once
    "bad-checksum": 1  as it should be, with another checksum
  GET /-/log     what came since the last reset: [{"method", "path", "query", "headers", "body" (sha256), "length", "key", "region",
                 "payload" (x-amz-content-sha256), "framed", "status"}]
  GET /-/object/BUCKET/KEY    the bytes as they lie there; PUT puts them, with the x-amz-checksum-... that come along, right or wrong
  DELETE /-/     everything as at the start;  PUT /-/quit: the end
"""
import base64
import binascii
import datetime
import hashlib
import hmac
import json
import os
import re
import socket
import struct
import sys
import threading
import time
from email.utils import formatdate
from urllib.parse import parse_qsl, quote, unquote, urlsplit
from xml.sax.saxutils import escape

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))  # which -I leaves out
from raw_server import Gone, serve  # noqa: E402

lock = threading.Lock()


class World:
    def __init__(self):
        self.reset()

    def reset(self):
        self.set = {"keys": {"test": "secret"}, "tokens": {}, "expired": [], "invalid": [], "skew": 0, "regions": {}, "region_form": "301",
                    "location": None, "checksums": "yes", "buckets": None, "page": 1000}
        self.steps, self.log, self.objects, self.uploads, self.number = [], [], {}, {}, 0

    def now(self):
        return time.time() + self.set["skew"]


world = World()


# --- checksums ---------------------------------------------------------------------------------------------------------------------

def reflected_table(polynomial):
    table = []
    for byte in range(256):
        for _ in range(8):
            byte = byte >> 1 ^ (polynomial if byte & 1 else 0)
        table.append(byte)
    return table


CRC64 = reflected_table(0x9A6C9329AC4BC9B5)
CRC32C = reflected_table(0x82F63B78)


def crc(data, table, bits):
    value = ones = (1 << bits) - 1
    for byte in data:
        value = table[(value ^ byte) & 0xFF] ^ value >> 8
    return (value ^ ones).to_bytes(bits // 8, "big")


SUMS = {
    "x-amz-checksum-crc64nvme": lambda data: crc(data, CRC64, 64),
    "x-amz-checksum-crc32c": lambda data: crc(data, CRC32C, 32),
    "x-amz-checksum-crc32": lambda data: binascii.crc32(data).to_bytes(4, "big"),
    "x-amz-checksum-sha256": lambda data: hashlib.sha256(data).digest(),
    "x-amz-checksum-sha1": lambda data: hashlib.sha1(data).digest(),
    "content-md5": lambda data: hashlib.md5(data).digest(),
}


def text_of(raw):
    return base64.b64encode(raw).decode()


# --- signatures --------------------------------------------------------------------------------------------------------------------

def mac(key, text):
    return hmac.new(key, text.encode(), hashlib.sha256).digest()


def signing_key(secret, scope):
    key = ("AWS4" + secret).encode()
    for part in scope.split("/"):
        key = mac(key, part)
    return key


class Fault(Exception):
    def __init__(self, status, code, message="", headers=None, extra="", bare=False):
        super().__init__(code)
        self.status, self.code, self.message, self.headers, self.extra, self.bare = status, code, message, headers or {}, extra, bare


def escaped(text, safe=""):
    return quote(text if isinstance(text, bytes) else text.encode("latin-1"), safe="-_.~" + safe)


class Signature:
    """Of a request by header or by query; `check` raises a Fault."""

    def __init__(self, request):
        self.request = request
        pairs = dict(request.pairs)
        header = request.headers.get("authorization", "")
        self.by_query = "X-Amz-Signature" in pairs
        if not header and not self.by_query:
            self.key = None
            return
        if self.by_query:
            credential, names, self.given = pairs["X-Amz-Credential"], pairs["X-Amz-SignedHeaders"], pairs["X-Amz-Signature"]
            self.date, self.token = pairs["X-Amz-Date"], pairs.get("X-Amz-Security-Token")
        else:
            fields = dict(part.strip().split("=", 1) for part in header.split(" ", 1)[1].split(","))
            credential, names, self.given = fields["Credential"], fields["SignedHeaders"], fields["Signature"]
            self.date, self.token = request.headers.get("x-amz-date", ""), request.headers.get("x-amz-security-token")
        self.key, self.scope = credential.split("/", 1)
        self.names = names.split(";")
        self.region, self.service = self.scope.split("/")[1:3]

    def canonical(self):
        request = self.request
        pairs = sorted((escaped(n), escaped(v)) for n, v in request.pairs if n != "X-Amz-Signature")
        path = escaped(unquote(request.raw_path, encoding="latin-1").encode("latin-1"), "/")
        if self.service != "s3":
            path = escaped(path, "/")
        headers = "".join("%s:%s\n" % (name, " ".join(request.headers.get(name, "").split())) for name in self.names)
        payload = request.headers.get("x-amz-content-sha256")
        if self.by_query:
            payload = "UNSIGNED-PAYLOAD"
        elif self.service != "s3":
            payload = hashlib.sha256(request.wire).hexdigest()
        return "\n".join((request.method, path, "&".join("=".join(p) for p in pairs), headers, ";".join(self.names), payload or ""))

    def check(self):
        if self.key is None:
            return
        when = datetime.datetime.strptime(self.date, "%Y%m%dT%H%M%SZ").replace(tzinfo=datetime.timezone.utc).timestamp()
        if self.by_query:
            if world.now() > when + int(dict(self.request.pairs)["X-Amz-Expires"]):
                raise Fault(403, "AccessDenied", "Request has expired")
        elif abs(when - world.now()) > 900:
            raise Fault(403, "RequestTimeTooSkewed", "The difference between the request time and the current time is too large.")
        if self.key in world.set["expired"] or self.token in world.set["expired"]:
            raise Fault(400, "ExpiredToken", "The provided token has expired.")
        if self.key in world.set["invalid"] or self.token in world.set["invalid"]:
            raise Fault(400, "InvalidToken", "The provided token is malformed or otherwise invalid.")
        if self.key not in world.set["keys"]:
            raise Fault(403, "InvalidAccessKeyId", "The AWS Access Key Id you provided does not exist in our records.")
        if world.set["tokens"].get(self.key) != self.token:
            raise Fault(400, "InvalidToken", "The provided token is malformed or otherwise invalid.")
        if not self.by_query and self.service == "s3" and "x-amz-content-sha256" not in self.request.headers:
            raise Fault(400, "InvalidRequest", "Missing required header for this request: x-amz-content-sha256")
        missing = [n for n in self.request.headers if n.startswith("x-amz-") and n not in self.names]
        if "host" not in self.names or missing:
            raise Fault(403, "AccessDenied", "There were headers present in the request which were not signed: " + ", ".join(missing))
        if self.date[:8] != self.scope[:8]:
            raise Fault(400, "AuthorizationHeaderMalformed", "Invalid credential date")
        to_sign = "\n".join(("AWS4-HMAC-SHA256", self.date, self.scope, hashlib.sha256(self.canonical().encode("latin-1")).hexdigest()))
        self.signing_key = signing_key(world.set["keys"][self.key], self.scope)
        if hmac.new(self.signing_key, to_sign.encode(), hashlib.sha256).hexdigest() != self.given:
            raise Fault(403, "SignatureDoesNotMatch", "The request signature we calculated does not match the signature you provided.")

    def check_chunk(self, kind, middle, data, given, previous):
        text = "\n".join(("AWS4-HMAC-SHA256-" + kind, self.date, self.scope, previous)) + "\n" + middle + hashlib.sha256(data).hexdigest()
        if hmac.new(self.signing_key, text.encode(), hashlib.sha256).hexdigest() != given:
            raise Fault(403, "SignatureDoesNotMatch", "The signature of a chunk does not match")
        return given


# --- a request and its answer ------------------------------------------------------------------------------------------------------

class Request:
    def __init__(self, method, target, headers):
        self.method, self.target, self.headers = method, target, headers
        parts = urlsplit("http://x" + target)
        self.raw_path = target.split("?", 1)[0]
        self.pairs = parse_qsl(parts.query, keep_blank_values=True, encoding="latin-1")
        self.query = {n: v.encode("latin-1").decode("utf-8", "surrogateescape") for n, v in self.pairs}
        path = unquote(self.raw_path, encoding="latin-1").encode("latin-1").decode("utf-8", "surrogateescape")
        host = headers.get("host", "").rsplit(":", 1)[0]
        if host.endswith(".localhost"):
            path = "/" + host[:-len(".localhost")] + path
        self.path = path
        self.bucket, _, self.key = path[1:].partition("/")
        self.wire = b""     # as it came
        self.body = b""     # what it is about
        self.trailer = {}
        self.framed = False


def unframe(request, signature):
    """The content of an aws-chunked body."""
    payload = request.headers.get("x-amz-content-sha256", "")
    data, content = request.wire, b""
    signed = payload.startswith("STREAMING-AWS4")
    previous = signature.given if signature.key else ""
    request.framed = True
    while True:
        line, _, data = data.partition(b"\r\n")
        size, _, extension = line.decode().partition(";")
        size = int(size, 16)
        piece, data = data[:size], data[size:]
        if signed:
            empty = hashlib.sha256(b"").hexdigest() + "\n"
            previous = signature.check_chunk("PAYLOAD", empty, piece, extension.partition("=")[2], previous)
        if size == 0:
            break
        if data[:2] != b"\r\n":
            raise Fault(400, "IncompleteBody", "The chunk does not end where it should")
        data = data[2:]
        content += piece
    text = ""
    for line in data.decode().split("\r\n"):
        name, _, value = line.partition(":")
        if name == "x-amz-trailer-signature":
            signature.check_chunk("TRAILER", "", text.encode(), value, previous)
        elif name:
            request.trailer[name.lower()] = value.strip()
            text += line + "\n"
    for name in filter(None, request.headers.get("x-amz-trailer", "").split(",")):
        if name not in request.trailer:
            raise Fault(400, "MalformedTrailerError", "The request contained trailing data that was not well-formed")
    if len(content) != int(request.headers.get("x-amz-decoded-content-length", -1)):
        raise Fault(400, "IncompleteBody", "x-amz-decoded-content-length does not fit")
    request.body = content


class Answer:
    def __init__(self, status=200, body=b"", headers=None):
        self.status, self.body, self.headers = status, body, dict(headers or {})
        self.length = len(body)


def xml(root, *parts):
    return ('<?xml version="1.0" encoding="UTF-8"?>\n<%s>%s</%s>' % (root, "".join(parts), root)).encode("utf-8", "surrogateescape")


def element(name, text):
    return "<%s>%s</%s>" % (name, escape(str(text)), name)


def error_body(form, status, code, message, extra, number):
    if form == "query":
        return xml("ErrorResponse", "<Error>", element("Type", "Sender"), element("Code", code), element("Message", message), extra,
                   "</Error>", element("RequestId", number))
    if form == "ec2":
        return xml("Response", "<Errors><Error>", element("Code", code), element("Message", message), "</Error></Errors>",
                   element("RequestID", number))
    if form == "json":
        return json.dumps({"__type": "com.amazonaws.x#" + code, "message": message}).encode()
    if form == "html":
        return b"<html><head><title>%d</title></head><body><hr>nginx</body>" % status
    if form == "empty":
        return b""
    return xml("Error", element("Code", code), element("Message", message), extra, element("RequestId", number))


class Store:
    """What S3 does, for one request."""

    def __init__(self, request, signature):
        self.request, self.signature = request, signature

    def answer(self):
        r = self.request
        if r.method == "POST" and r.path == "/" and "text/xml" not in r.headers.get("content-type", ""):
            return self.query_service()
        if not r.bucket:
            names = sorted({b for b, _ in world.objects} | set(world.set["buckets"] or ()))
            return Answer(200, xml("ListAllMyBucketsResult", "<Buckets>", *("<Bucket>%s</Bucket>" % element("Name", n) for n in names), "</Buckets>"))
        self.check_region()
        if world.set["buckets"] is not None and r.bucket not in world.set["buckets"]:
            raise Fault(404, "NoSuchBucket", "The specified bucket does not exist")
        if not r.key:
            return self.bucket()
        if "uploads" in r.query or "uploadId" in r.query:
            return self.upload()
        if "tagging" in r.query:
            return self.tagging()
        return getattr(self, "on_" + r.method.lower())()

    def query_service(self):
        pairs = dict(parse_qsl(self.request.body.decode()))
        action = pairs.get("Action", "?")
        inside = "".join(element(n.replace(".", "-"), v) for n, v in sorted(pairs.items()))
        return Answer(200, xml(action + "Response", "<%sResult>" % action, element("Account", "123456789012"), inside,
                               "</%sResult>" % action, "<ResponseMetadata>", element("RequestId", world.number), "</ResponseMetadata>"))

    def check_region(self):
        r, s = self.request, self.signature
        there = world.set["regions"].get(r.bucket)
        if not there or s.key is None or s.region == there:
            return
        form, told = world.set["region_form"], {"x-amz-bucket-region": there}
        if form == "301-bare" or (form == "silent" and (r.key or r.query)):
            raise Fault(301 if form == "301-bare" else 400, "", bare=True)
        if form == "silent":
            raise Fault(400, "", headers=told, bare=True)
        if form == "307":
            place = world.set["location"]
            raise Fault(307, "TemporaryRedirect", "Please re-send this request to the specified temporary endpoint.",
                        {"Location": place + r.target} if place else dict(told, Location="http://127.0.0.1:1" + r.target))
        if form == "400":
            raise Fault(400, "AuthorizationHeaderMalformed", "the region '%s' is wrong; expecting '%s'" % (s.region, there),
                        extra=element("Region", there))
        if form == "constraint":
            raise Fault(400, "IllegalLocationConstraintException", "The %s location constraint is incompatible" % there, told)
        raise Fault(301, "PermanentRedirect", "The bucket you are attempting to access must be addressed using the specified endpoint.",
                    told, bare=form == "header")

    # objects: {"body", "etag", "headers", "sums", "tags"}

    def find(self):
        o = world.objects.get((self.request.bucket, self.request.key))
        if o is None:
            raise Fault(404, "NoSuchKey", "The specified key does not exist.")
        return o

    def head_of(self, o):
        headers = dict(o["headers"], ETag=o["etag"], **{"Last-Modified": formatdate(o["time"], usegmt=True), "Accept-Ranges": "bytes"})
        if self.request.headers.get("x-amz-checksum-mode", "").upper() == "ENABLED":
            headers.update(o["sums"])
        return headers

    def check_conditions(self, o):
        wanted, unwanted = self.request.headers.get("if-match"), self.request.headers.get("if-none-match")
        if wanted and (o is None or wanted.strip('"') not in ("*", o["etag"].strip('"'))):
            raise Fault(412 if o else 404, "PreconditionFailed" if o else "NoSuchKey", "At least one of the pre-conditions did not hold")
        if unwanted and o is not None and unwanted.strip('"') in ("*", o["etag"].strip('"')):
            raise Fault(304 if self.request.method in ("GET", "HEAD") else 412, "PreconditionFailed", "", bare=self.request.method == "GET")

    def on_get(self):
        o = self.find()
        self.check_conditions(o)
        if "x-amz-server-side-encryption-customer-key" in o["needs"] and not all(
                self.request.headers.get(n) == v for n, v in o["needs"].items()):
            raise Fault(400, "InvalidRequest", "The object was stored using a form of Server Side Encryption.")
        headers, body = self.head_of(o), o["body"]
        found = re.fullmatch(r"bytes=(\d*)-(\d*)", self.request.headers.get("range", ""))
        if not found:
            return Answer(200, body, headers)
        first, last = found.groups()
        start = int(first) if first else max(0, len(body) - int(last))
        end = min(int(last), len(body) - 1) if first and last else len(body) - 1
        if start >= len(body):
            raise Fault(416, "InvalidRange", "The requested range is not satisfiable")
        headers["Content-Range"] = "bytes %d-%d/%d" % (start, end, len(body))
        return Answer(206, body[start:end + 1], headers)

    on_head = on_get

    def sums(self):
        r, sums = self.request, {}
        for name, f in SUMS.items():
            said = r.headers.get(name) or r.trailer.get(name)
            if said is None:
                continue
            if world.set["checksums"] == "refuse":
                raise Fault(501, "NotImplemented", "A header you provided implies functionality that is not implemented")
            if world.set["checksums"] == "invalid":
                raise Fault(400, "InvalidRequest", "Unsupported header " + name)
            if text_of(f(r.body)) != said:
                raise Fault(400, "BadDigest", "The %s you specified did not match the calculated checksum." % name)
            if name != "content-md5":
                sums[name] = said
        return sums

    def store(self, body, sums, etag=None):
        r = self.request
        keep = ("content-type", "content-encoding", "cache-control", "content-disposition", "content-language", "expires")
        headers = {n: v for n, v in r.headers.items() if n in keep or n.startswith("x-amz-meta-") or n.startswith("x-amz-storage-class")}
        if "content-encoding" in headers:
            coding = ",".join(c.strip() for c in headers["content-encoding"].split(",") if c.strip() != "aws-chunked" or not r.framed)
            headers.pop("content-encoding")
            if coding:
                headers["content-encoding"] = coding
        needs = {n: v for n, v in r.headers.items() if n.startswith("x-amz-server-side-encryption-customer-")}
        if not sums:  # the one that S3 makes by itself; of many MiB it would take Python seconds
            sums = {"x-amz-checksum-crc64nvme": text_of(SUMS["x-amz-checksum-crc64nvme"](body))} if len(body) < 1 << 20 else {}
        world.objects[(r.bucket, r.key)] = {"body": body, "etag": etag or '"%s"' % hashlib.md5(body).hexdigest(), "headers": headers,
                                            "sums": sums, "tags": [], "time": world.now(), "needs": needs}
        return world.objects[(r.bucket, r.key)]

    def on_put(self):
        r = self.request
        self.check_conditions(world.objects.get((r.bucket, r.key)))
        source = r.headers.get("x-amz-copy-source")
        if source:
            o = self.source(source)
            copy = self.store(o["body"], o["sums"])
            return Answer(200, xml("CopyObjectResult", element("ETag", copy["etag"])))
        sums = self.sums()
        o = self.store(r.body, sums)
        return Answer(200, b"", dict(sums, ETag=o["etag"]))

    def source(self, text):
        bucket, _, key = unquote(text).lstrip("/").partition("?")[0].partition("/")
        o = world.objects.get((bucket, key))
        if o is None:
            raise Fault(404, "NoSuchKey", "The specified key does not exist.")
        return o

    def on_delete(self):
        world.objects.pop((self.request.bucket, self.request.key), None)
        return Answer(204)

    def on_post(self):
        raise Fault(405, "MethodNotAllowed", "The specified method is not allowed against this resource.")

    def tagging(self):
        o = self.find()
        if self.request.method == "PUT":
            o["tags"] = re.findall(r"<Key>(.*?)</Key>\s*<Value>(.*?)</Value>", self.request.body.decode())
            return Answer(200)
        if self.request.method == "DELETE":
            o["tags"] = []
            return Answer(204)
        return Answer(200, xml("Tagging", "<TagSet>", *("<Tag><Key>%s</Key><Value>%s</Value></Tag>" % t for t in o["tags"]), "</TagSet>"))

    def upload(self):
        r = self.request
        if "uploads" in r.query:
            world.number += 1
            number = "upload-%d" % world.number
            world.uploads[number] = {"parts": {}, "request": r}
            return Answer(200, xml("InitiateMultipartUploadResult", element("Bucket", r.bucket), element("Key", r.key),
                                   element("UploadId", number)))
        upload = world.uploads.get(r.query["uploadId"])
        if upload is None:
            raise Fault(404, "NoSuchUpload", "The specified upload does not exist.")
        if r.method == "PUT":
            source, sums = r.headers.get("x-amz-copy-source"), self.sums()
            body = r.body
            if source:
                body = self.source(source)["body"]
                found = re.fullmatch(r"bytes=(\d+)-(\d+)", r.headers.get("x-amz-copy-source-range", ""))
                body = body[int(found[1]):int(found[2]) + 1] if found else body
            etag = '"%s"' % hashlib.md5(body).hexdigest()
            upload["parts"][int(r.query["partNumber"])] = (body, etag, sums)
            if source:
                return Answer(200, xml("CopyPartResult", element("ETag", etag)))
            return Answer(200, b"", dict(sums, ETag=etag))
        if r.method == "DELETE":
            del world.uploads[r.query["uploadId"]]
            return Answer(204)
        if r.method == "GET":
            return Answer(200, xml("ListPartsResult", *("<Part>%s%s%s</Part>" % (element("PartNumber", n), element("ETag", p[1]),
                                   element("Size", len(p[0]))) for n, p in sorted(upload["parts"].items()))))
        body, digests = b"", b""
        self.check_conditions(world.objects.get((r.bucket, r.key)))
        for part in re.findall(r"<Part>(.*?)</Part>", r.body.decode(), re.S):
            number, etag = int(re.search(r"<PartNumber>(\d+)", part)[1]), re.search(r"<ETag>(?:&quot;|&#34;|\")?(\w+)", part)[1]
            have = upload["parts"].get(number)
            if have is None or have[1].strip('"') != etag:
                raise Fault(400, "InvalidPart", "One or more of the specified parts could not be found.")
            body += have[0]
            digests += bytes.fromhex(etag)
            count = number
        parts = len(digests) // 16
        sums = {n: v for n, v in r.headers.items() if n in SUMS and n != "content-md5"}
        for name, said in sums.items():
            if r.headers.get("x-amz-checksum-type", "FULL_OBJECT") == "FULL_OBJECT" and text_of(SUMS[name](body)) != said:
                raise Fault(400, "BadDigest", "The %s you specified did not match the calculated checksum." % name)
        self.request, finish = upload["request"], self.request
        o = self.store(body, sums, '"%s-%d"' % (hashlib.md5(digests).hexdigest(), parts))
        self.request = finish
        del world.uploads[r.query["uploadId"]]
        return Answer(200, xml("CompleteMultipartUploadResult", element("ETag", o["etag"]), element("Key", r.key)), sums)

    def bucket(self):
        r = self.request
        if "delete" in r.query:
            if not any(n in r.headers for n in SUMS):
                raise Fault(400, "InvalidRequest", "Missing required header for this request: Content-MD5 or x-amz-checksum-*")
            self.sums()
            keys = re.findall(r"<Key>(.*?)</Key>", r.body.decode(), re.S)
            for key in keys:
                world.objects.pop((r.bucket, key.replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&")), None)
            return Answer(200, xml("DeleteResult", *("<Deleted>%s</Deleted>" % ("<Key>" + k + "</Key>") for k in keys)))
        if "uploads" in r.query:
            return Answer(200, xml("ListMultipartUploadsResult", *("<Upload>%s%s</Upload>" % (element("Key", u["request"].key), element("UploadId", n))
                                   for n, u in world.uploads.items() if u["request"].bucket == r.bucket)))
        if "location" in r.query:
            return Answer(200, xml("LocationConstraint", world.set["regions"].get(r.bucket, "")))
        if r.method == "HEAD" or r.method == "PUT":
            return Answer(200, b"", {"x-amz-bucket-region": world.set["regions"].get(r.bucket, "us-east-1")})
        if r.method == "DELETE":
            return Answer(204)
        return self.list()

    def list(self):
        r = self.request
        prefix, delimiter, after = r.query.get("prefix", ""), r.query.get("delimiter", ""), r.query.get("start-after", "")
        after = base64.b64decode(r.query["continuation-token"]).decode("utf-8", "surrogateescape") if "continuation-token" in r.query else after
        most = min(int(r.query.get("max-keys", 1000)), world.set["page"])
        url = r.query.get("encoding-type") == "url"

        def shown(key):
            return quote(key.encode("utf-8", "surrogateescape"), safe="/-_.~*").replace("%20", "+") if url else escape(key)

        entries, last, truncated = [], None, False
        keys = sorted((k for b, k in world.objects if b == r.bucket and k.startswith(prefix)), key=lambda k: k.encode("utf-8", "surrogateescape"))
        for key in keys:
            common = prefix + key[len(prefix):].split(delimiter)[0] + delimiter if delimiter and delimiter in key[len(prefix):] else None
            name = common or key
            if (after and name.encode("utf-8", "surrogateescape") <= after.encode("utf-8", "surrogateescape")) or name == last:
                continue
            if len(entries) == most:
                truncated = True
                break
            o = world.objects[(r.bucket, key)]
            stamp = datetime.datetime.fromtimestamp(o["time"], datetime.timezone.utc).strftime("%Y-%m-%dT%H:%M:%S.000Z")
            entries.append("<CommonPrefixes><Prefix>%s</Prefix></CommonPrefixes>" % shown(common) if common else
                           "<Contents><Key>%s</Key>%s%s%s<StorageClass>STANDARD</StorageClass></Contents>" % (
                               shown(key), element("LastModified", stamp), element("ETag", o["etag"]), element("Size", len(o["body"]))))
            last = name
        token = element("NextContinuationToken", base64.b64encode(last.encode("utf-8", "surrogateescape")).decode()) if truncated else ""
        return Answer(200, xml("ListBucketResult", element("Name", r.bucket), "<Prefix>%s</Prefix>" % shown(prefix),
                               element("KeyCount", len(entries)), element("MaxKeys", most), element("EncodingType", "url") if url else "",
                               element("IsTruncated", str(truncated).lower()), token, *entries))


# --- connections -------------------------------------------------------------------------------------------------------------------

class Connection:
    def __init__(self, sock):
        self.sock, self.kept = sock, b""

    def more(self):
        data = self.sock.recv(1 << 18)
        if not data:
            raise Gone
        self.kept += data

    def read_head(self):
        while b"\r\n\r\n" not in self.kept:
            self.more()
        head, _, self.kept = self.kept.partition(b"\r\n\r\n")
        return head.decode("latin-1")

    def read_body(self, headers):
        if headers.get("expect", "").lower() == "100-continue":
            self.sock.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
        if headers.get("transfer-encoding", "").lower() == "chunked":
            body = b""
            while True:
                while b"\r\n" not in self.kept:
                    self.more()
                size, _, self.kept = self.kept.partition(b"\r\n")
                size = int(size.split(b";")[0], 16)
                while len(self.kept) < size + 2:
                    self.more()
                body, self.kept = body + self.kept[:size], self.kept[size + 2:]
                if size == 0:
                    return body
        length = int(headers.get("content-length", 0))
        pieces, have = [self.kept], len(self.kept)
        while have < length:
            data = self.sock.recv(1 << 18)
            if not data:
                raise Gone
            pieces.append(data)
            have += len(data)
        data = b"".join(pieces)
        self.kept = data[length:]
        return data[:length]

    def end(self, how=None):
        if how == "reset":
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        raise Gone

    def silence(self):
        while self.sock.recv(1 << 16):
            pass
        raise Gone

    def send_head(self, answer):
        lines = ["HTTP/1.1 %d Words" % answer.status, "Date: " + formatdate(world.now(), usegmt=True),
                 "x-amz-request-id: R%08d" % world.number, "Content-Length: %d" % answer.length]
        lines += ["%s: %s" % pair for pair in answer.headers.items()]
        self.sock.sendall(("\r\n".join(lines) + "\r\n\r\n").encode("latin-1"))

    def send(self, request, answer, step):
        body = b"" if request.method == "HEAD" or answer.status == 304 else answer.body
        if "damage" in step and body:
            at = step["damage"] % len(body)
            body = body[:at] + bytes([body[at] ^ 1]) + body[at + 1:]
        if "bad-checksum" in step:
            answer.headers.update({n: text_of(SUMS[n](b"something else")) for n in answer.headers if n in SUMS})
        if "keepalive" in step:
            answer.length += step["keepalive"]
        self.send_head(answer)
        if "keepalive" in step:
            self.sock.sendall(b" " * step["keepalive"])
        if "cut" in step:
            self.sock.sendall(body[:step["cut"]])
            if step.get("how") == "reset":
                time.sleep(0.05)  # the bytes before the reset are to arrive
            self.end(step.get("how"))
        if "stall" in step:
            self.sock.sendall(body[:step["stall"]])
            self.silence()
        if "rate" in step:
            for start in range(0, len(body), max(1, step["rate"] // 20)):
                self.sock.sendall(body[start:start + max(1, step["rate"] // 20)])
                time.sleep(0.05)
            return
        self.sock.sendall(body)

    def serve(self):
        while True:
            head = self.read_head()
            first, *lines = head.split("\r\n")
            method, target, _ = first.split(" ", 2)
            headers = {}
            for line in lines:
                name, _, value = line.partition(":")
                name = name.lower()
                headers[name] = headers[name] + "," + value.strip() if name in headers else value.strip()
            request = Request(method, target, headers)
            if request.path.startswith("/-/"):
                request.wire = self.read_body(headers)
                with lock:
                    answer = control(request)
                self.send(request, answer, {})
                if request.path == "/-/quit":
                    os._exit(0)
                continue
            with lock:
                world.number += 1
                step = take_step(request)
            if "unread" in step:
                self.end(step.get("how"))
            request.wire = self.read_body(headers)
            if "late" in step:
                time.sleep(step["late"])
            with lock:
                answer = decide(request, step)
            if "silent" in step:
                self.silence()
            self.send(request, answer, step)


def take_step(request):
    line = request.method + " " + request.path + ("?" + request.target.partition("?")[2] if "?" in request.target else "")
    for step in world.steps:
        on = step.get("on", "")
        if line.startswith(on) or (on.startswith("/") and request.path.startswith(on)):
            left = step.setdefault("times", 1)
            step["times"] = left - 1
            if left == 1:
                world.steps.remove(step)
            return dict(step)
    return {}


def carry_out(request):
    try:
        signature = Signature(request)
        request.signature = signature
        signature.check()
        request.body = request.wire
        payload = request.headers.get("x-amz-content-sha256", "")
        if payload.startswith("STREAMING-") and world.set["checksums"] != "ignore":
            unframe(request, signature)
        elif re.fullmatch("[0-9a-f]{64}", payload) and hashlib.sha256(request.wire).hexdigest() != payload:
            raise Fault(400, "XAmzContentSHA256Mismatch", "The provided 'x-amz-content-sha256' header does not match what was computed.")
        return Store(request, signature).answer()
    except Fault as fault:
        body = b"" if fault.bare else error_body(getattr(request, "form", "s3"), fault.status, fault.code, fault.message, fault.extra, world.number)
        return Answer(fault.status, body, dict({"Content-Type": "application/xml"}, **fault.headers))


def decide(request, step):
    request.signature = None
    if "status" in step and not step.get("after"):
        answer = None
    else:
        answer = carry_out(request)
    if "status" in step:
        body = step.get("body", "").encode()
        if "code" in step:
            body = error_body(step.get("form", "s3"), step["status"], step["code"], step.get("message", ""), step.get("extra", ""), world.number)
        answer = Answer(step["status"], body, step.get("headers"))
    signature = request.signature or Signature(request)
    world.log.append({"method": request.method, "path": request.path.encode("utf-8", "replace").decode(), "query": request.query,
                      "headers": {n: v for n, v in request.headers.items() if n not in ("authorization", "x-amz-security-token")},
                      "length": len(request.body), "body": hashlib.sha256(request.body).hexdigest(), "key": signature.key,
                      "region": getattr(signature, "region", None), "payload": request.headers.get("x-amz-content-sha256"),
                      "framed": request.framed, "status": answer.status})
    return answer


def control(request):
    name = request.path[3:]
    if request.method == "DELETE":
        world.reset()
    elif name == "set":
        world.set.update(json.loads(request.wire))
    elif name == "steps":
        world.steps = json.loads(request.wire)
    elif name == "quit":
        pass
    elif name == "log":
        return Answer(200, json.dumps(world.log).encode())
    elif name.startswith("object/"):
        bucket, _, key = name[len("object/"):].partition("/")
        if request.method == "PUT":
            request.bucket, request.key = bucket, key
            given = {n: v for n, v in request.headers.items() if n.startswith("x-amz-checksum-")}
            Store(request, None).store(request.wire, given)
            return Answer(200)
        o = world.objects.get((bucket, key))
        return Answer(200, o["body"]) if o else Answer(404)
    else:
        return Answer(404, b"no such word\n")
    return Answer(200)


serve(Connection)
