/* stub_s3.c - what is answered: S3 as far as clients ask for it when they read and write objects, and a metadata service with a role.
 * An object's name says what it is: the last part of its key, o-SIZE or o-SIZE-N, has SIZE bytes, and N chooses which. */
#define _GNU_SOURCE
#include "stub.h"
#include "stub_kept.h"
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

struct request {
    const char *method;
    char path[4096], query[4096];
    const char *headers; /* "\r\nName: value..." */
};

static const char *header(const struct request *request, const char *name, char *value, size_t size)
{
    char wanted[80];
    snprintf(wanted, sizeof wanted, "\r\n%s:", name);
    const char *at = strcasestr(request->headers, wanted);
    if (!at)
        return NULL;
    at += strlen(wanted);
    at += strspn(at, " ");
    snprintf(value, size, "%.*s", (int)strcspn(at, "\r\n"), at);
    return value;
}

/* Is that parameter in the query? Its value, up to the next one, is written as far as it fits. */
static bool parameter(const struct request *request, const char *name, char *value, size_t size)
{
    size_t length = strlen(name);
    for (const char *at = request->query; at && *at; at = strchr(at, '&') ? strchr(at, '&') + 1 : NULL) {
        if (strncmp(at, name, length) == 0 && strchr("=&", at[length])) {
            const char *text = at + length + (at[length] == '=');
            if (value)
                snprintf(value, size, "%.*s", (int)strcspn(text, "&"), text);
            return true;
        }
    }
    return false;
}

static bool reply(struct wire *wire, const struct request *request, int status, const char *more, const char *type, const char *body)
{
    char head[2048];
    size_t length = strlen(body);
    bool bodiless = strcmp(request->method, "HEAD") == 0 || status == 204;
    int written =
        snprintf(head, sizeof head,
                 "HTTP/1.1 %d %s\r\nServer: AmazonS3\r\nx-amz-request-id: STUB\r\n%sContent-Type: %s\r\nContent-Length: %zu\r\n\r\n",
                 status, status < 300 ? "OK" : "No", more, type, bodiless ? 0 : length);
    if (!wire_send(wire, head, (size_t)written, !bodiless && length))
        return false;
    return bodiless || !length || wire_send(wire, body, length, false);
}

static bool xml(struct wire *wire, const struct request *request, int status, const char *body)
{
    return reply(wire, request, status, "", "application/xml", body);
}

static bool refuse(struct wire *wire, const struct request *request, int status, const char *code)
{
    char body[256];
    snprintf(body, sizeof body, "<?xml version=\"1.0\"?>\n<Error><Code>%s</Code><Message>%s</Message><RequestId>STUB</RequestId></Error>",
             code, code);
    return xml(wire, request, status, body);
}

/* The end of a body, where a trailer stands. */
#define TAIL 512

/* The body of the request: thrown away (bytes NULL), or read whole. Its last bytes are in tail (TAIL + 1, may be NULL) in any case. */
static bool take_body(struct wire *wire, const struct request *request, char **bytes, size_t *total, char *tail)
{
    char value[128];
    uint64_t length = header(request, "Content-Length", value, sizeof value) ? strtoull(value, NULL, 10) : 0;
    bool chunked = header(request, "Transfer-Encoding", value, sizeof value) && strcasestr(value, "chunked");
    if (header(request, "Expect", value, sizeof value) && !wire_send(wire, "HTTP/1.1 100 Continue\r\n\r\n", 25, false))
        return false;
    char *kept = NULL;
    size_t have = 0;
    pace_begin(wire);
    do {
        char line[1024];
        if (chunked && (!wire_line(wire, line, sizeof line)))
            return false;
        if (chunked)
            length = strtoull(line, NULL, 16);
        if (bytes && length) {
            kept = realloc(kept, have + length + 1);
            if (!wire_read(wire, kept + have, length))
                return free(kept), false;
        } else {
            uint64_t end = !tail ? 0 : length < TAIL ? length : TAIL;
            if (!wire_discard(wire, length - end) || (end && !wire_read(wire, tail, end)))
                return free(kept), false;
        }
        have += length;
        if (chunked && length && !wire_line(wire, line, sizeof line))
            return free(kept), false;
        while (chunked && !length && (!wire_line(wire, line, sizeof line) ? (chunked = false) : *line != 0))
            ;
    } while (chunked && length);
    if (bytes && tail && have)
        memcpy(tail, kept + have - (have < TAIL ? have : TAIL), have < TAIL ? have : TAIL);
    if (bytes)
        *bytes = kept ? kept : calloc(1, 1);
    if (total)
        *total = have;
    return true;
}

static void latency(void)
{
    if (shape.latency_us)
        usleep(shape.latency_us);
}

/* What o-SIZE-N is: its bytes are content from N pages on. */
static bool generated(const char *path, uint64_t *size, uint64_t *from)
{
    const char *name = strrchr(path, '/');
    if (!name || strncmp(name, "/o-", 3) != 0)
        return false;
    char *end;
    *size = strtoull(name + 3, &end, 10);
    *from = *end == '-' ? strtoull(end + 1, NULL, 10) * 4096 : 0;
    return true;
}

static void checksum(const struct kept *kept, uint64_t from, uint64_t size, char text[16])
{
    uint64_t crc;
    if (kept) {
        crc = crc64nvme(0, kept->bytes, kept->length);
    } else if (from) {
        char *bytes = malloc(size + 1);
        content_copy(bytes, from, size);
        crc = crc64nvme(0, bytes, size);
        free(bytes);
    } else {
        crc = content_crc(size);
    }
    unsigned char raw[8];
    for (int i = 0; i < 8; i++)
        raw[i] = (unsigned char)(crc >> (8 * (7 - i)));
    EVP_EncodeBlock((unsigned char *)text, raw, 8);
}

static bool get_object(struct wire *wire, const struct request *request)
{
    const struct kept *kept = kept_find(request->path), *known = kept;
    uint64_t size, from, first = 0, count;
    if (kept) {
        size = kept->length;
        from = 0;
        kept = kept->bytes ? kept : NULL;
    } else if (!generated(request->path, &size, &from)) {
        return refuse(wire, request, 404, "NoSuchKey");
    } else if (strchr(request->path + 1, '/') == strrchr(request->path, '/')) {
        kept_seen(strrchr(request->path, '/') + 1);
    }
    char etag[64], value[512], more[512], sum[16];
    /* No MD5, and nothing like one, as for objects with a key of one's own: there are clients that would compare. */
    snprintf(etag, sizeof etag, "\"stub%016llx%016llx-1\"", (unsigned long long)size, (unsigned long long)from);
    if (known)
        snprintf(etag, sizeof etag, "\"%s\"", known->etag);
    if (header(request, "If-Match", value, sizeof value) && strcmp(value, etag) != 0)
        return refuse(wire, request, 412, "PreconditionFailed");
    count = size;
    int status = 200;
    int written = snprintf(more, sizeof more, "ETag: %s\r\nLast-Modified: Sun, 22 Nov 2026 00:00:00 GMT\r\nAccept-Ranges: bytes\r\n", etag);
    if (header(request, "Range", value, sizeof value) && strncmp(value, "bytes=", 6) == 0) {
        char *end;
        uint64_t last = size - 1;
        if (value[6] == '-') {
            uint64_t tail = strtoull(value + 7, NULL, 10);
            first = tail < size ? size - tail : 0;
        } else {
            first = strtoull(value + 6, &end, 10);
            if (*end == '-' && isdigit((unsigned char)end[1]) && strtoull(end + 1, NULL, 10) < last)
                last = strtoull(end + 1, NULL, 10);
        }
        if (first >= size)
            return refuse(wire, request, 416, "InvalidRange");
        count = last - first + 1;
        status = 206;
        snprintf(more + written, sizeof more - (size_t)written, "Content-Range: bytes %llu-%llu/%llu\r\n", (unsigned long long)first,
                 (unsigned long long)last, (unsigned long long)size);
    } else if (header(request, "x-amz-checksum-mode", value, sizeof value)) {
        checksum(kept, from, size, sum);
        snprintf(more + written, sizeof more - (size_t)written, "x-amz-checksum-crc64nvme: %s\r\nx-amz-checksum-type: FULL_OBJECT\r\n",
                 sum);
    }
    char head[2048];
    int length = snprintf(head, sizeof head,
                          "HTTP/1.1 %d %s\r\nServer: AmazonS3\r\nx-amz-request-id: STUB\r\n%sContent-Type: binary/octet-stream\r\n"
                          "Content-Length: %llu\r\n\r\n",
                          status, status == 200 ? "OK" : "Partial Content", more, (unsigned long long)count);
    bool body = strcmp(request->method, "HEAD") != 0 && count;
    if (!wire_send(wire, head, (size_t)length, body))
        return false;
    pace_begin(wire);
    if (!body)
        return true;
    return kept ? wire_send(wire, kept->bytes + first, count, false) : wire_content(wire, from + first, count);
}

static bool put_object(struct wire *wire, const struct request *request)
{
    char value[128], more[512], upload[64] = "", part[16] = "";
    bool framed = (header(request, "Content-Encoding", value, sizeof value) && strstr(value, "aws-chunked")) ||
                  (header(request, "x-amz-content-sha256", value, sizeof value) && strncmp(value, "STREAMING", 9) == 0);
    char *bytes = NULL, tail[TAIL + 1] = "";
    size_t length = 0;
    if (!take_body(wire, request, shape.keep ? &bytes : NULL, &length, framed ? tail : NULL))
        return false;
    parameter(request, "uploadId", upload, sizeof upload);
    parameter(request, "partNumber", part, sizeof part);
    if (header(request, "x-amz-decoded-content-length", value, sizeof value) && !shape.keep)
        length = strtoull(value, NULL, 10);
    /* The MD5 its client says, or nothing that looks like one: a dash tells clients so, as for an object with a customer's key. */
    char etag[48] = "";
    unsigned char raw[32];
    if (header(request, "Content-MD5", value, sizeof value) && EVP_DecodeBlock(raw, (unsigned char *)value, 24) == 18)
        for (int i = 0; i < 16; i++)
            sprintf(etag + 2L * i, "%02x", raw[i]);
    else if (!*part)
        strcpy(etag, "stub-1");
    kept_put(request->path, (unsigned)atoi(upload), (unsigned)atoi(part), bytes, framed && bytes ? kept_unwrap(bytes, length) : length,
             etag);
    latency();
    int written = snprintf(more, sizeof more, "ETag: \"%s\"\r\n", *etag ? etag : "stub-1");
    const char *sum = memmem(tail, TAIL, "x-amz-checksum-crc64nvme:", 25);
    if (sum)
        snprintf(value, sizeof value, "%.*s", (int)strcspn(sum + 25, "\r\n"), sum + 25);
    if (sum || header(request, "x-amz-checksum-crc64nvme", value, sizeof value))
        snprintf(more + written, sizeof more - (size_t)written, "x-amz-checksum-crc64nvme: %s\r\n", value);
    return reply(wire, request, 200, more, "application/xml", "");
}

static bool post_object(struct wire *wire, const struct request *request)
{
    static unsigned uploads;
    char body[8192], upload[64];
    if (!take_body(wire, request, NULL, NULL, NULL))
        return false;
    latency();
    const char *key = strchr(request->path + 1, '/') ? strchr(request->path + 1, '/') + 1 : "";
    if (parameter(request, "uploads", NULL, 0)) {
        unsigned number = __atomic_add_fetch(&uploads, 1, __ATOMIC_RELAXED);
        snprintf(body, sizeof body,
                 "<?xml version=\"1.0\"?>\n<InitiateMultipartUploadResult><Bucket>bench</Bucket><Key>%s</Key><UploadId>%u</UploadId>"
                 "</InitiateMultipartUploadResult>",
                 key, number);
        return xml(wire, request, 200, body);
    }
    if (parameter(request, "uploadId", upload, sizeof upload)) {
        kept_join(request->path, (unsigned)atoi(upload));
        snprintf(body, sizeof body,
                 "<?xml version=\"1.0\"?>\n<CompleteMultipartUploadResult><Bucket>bench</Bucket><Key>%s</Key><ETag>\"joined-2\"</ETag>"
                 "</CompleteMultipartUploadResult>",
                 key);
        return xml(wire, request, 200, body);
    }
    return xml(wire, request, 200, "<?xml version=\"1.0\"?>\n<DeleteResult/>");
}

/* A listing of the prefix small/: a thousand objects of 10 KiB, in one page. Without a prefix: what was asked for before. */
static bool list(struct wire *wire, const struct request *request)
{
    char prefix[512] = "";
    parameter(request, "prefix", prefix, sizeof prefix);
    if (!take_body(wire, request, NULL, NULL, NULL))
        return false;
    latency();
    if (parameter(request, "location", NULL, 0))
        return xml(wire, request, 200, "<?xml version=\"1.0\"?>\n<LocationConstraint xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\"/>");
    if (parameter(request, "versioning", NULL, 0))
        return xml(wire, request, 200, "<?xml version=\"1.0\"?>\n<VersioningConfiguration/>");
    char *body = malloc(512 * 1024);
    bool some = strncmp(prefix, "small", 5) == 0;
    int at = sprintf(body,
                     "<?xml version=\"1.0\"?>\n<ListBucketResult xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\"><Name>bench</Name>"
                     "<Prefix>%s</Prefix><KeyCount>%d</KeyCount><MaxKeys>1000</MaxKeys><IsTruncated>false</IsTruncated>",
                     some ? "small/" : "", some ? 1000 : 1);
    for (int i = 0; some && i < 1000; i++)
        at += sprintf(body + at,
                      "<Contents><Key>small/o-10240-%04d</Key><LastModified>2026-11-22T00:00:00.000Z</LastModified>"
                      "<ETag>&quot;stub%016llx%016llx-1&quot;</ETag><Size>10240</Size><StorageClass>STANDARD</StorageClass></Contents>",
                      i, 10240ULL, (unsigned long long)i * 4096);
    if (!*prefix)
        at += kept_list(body + at);
    sprintf(body + at, "</ListBucketResult>");
    bool sent = xml(wire, request, 200, body);
    free(body);
    return sent;
}

static bool metadata(struct wire *wire, const struct request *request)
{
    if (!take_body(wire, request, NULL, NULL, NULL))
        return false;
    if (strcmp(request->path, "/latest/api/token") == 0)
        return reply(wire, request, 200, "x-aws-ec2-metadata-token-ttl-seconds: 21600\r\n", "text/plain", "stub-token");
    if (strcmp(request->path, "/latest/meta-data/iam/security-credentials/") == 0)
        return reply(wire, request, 200, "", "text/plain", "bench");
    if (strncmp(request->path, "/latest/meta-data/iam/security-credentials/", 43) != 0)
        return reply(wire, request, 404, "", "text/plain", "");
    char body[512], until[40];
    time_t end = time(NULL) + 6 * 3600;
    strftime(until, sizeof until, "%Y-%m-%dT%H:%M:%SZ", gmtime(&end));
    snprintf(body, sizeof body,
             "{\"Code\":\"Success\",\"LastUpdated\":\"2026-11-22T00:00:00Z\",\"Type\":\"AWS-HMAC\",\"AccessKeyId\":\"ASIABENCH\","
             "\"SecretAccessKey\":\"bench\",\"Token\":\"session\",\"Expiration\":\"%s\"}",
             until);
    return reply(wire, request, 200, "", "text/plain", body);
}

bool answer(struct wire *wire)
{
    struct request request = {.headers = strstr(wire->head, "\r\n")};
    static _Thread_local char method[16];
    char target[8192];
    if (sscanf(wire->head, "%15s %8191s", method, target) != 2)
        return false;
    request.method = method;
    char *start = target;
    if (strncmp(target, "http://", 7) == 0 && strchr(target + 7, '/'))
        start = strchr(target + 7, '/');
    snprintf(request.path, sizeof request.path, "%.*s", (int)strcspn(start, "?"), start);
    snprintf(request.query, sizeof request.query, "%s", strchr(start, '?') ? strchr(start, '?') + 1 : "");
    if (strncmp(request.path, "/latest/", 8) == 0)
        return metadata(wire, &request);
    const char *key = *request.path ? strchr(request.path + 1, '/') : NULL;
    bool object = key && key[1];
    bool get = strcmp(method, "GET") == 0 || strcmp(method, "HEAD") == 0;
    if (object && strcmp(method, "PUT") == 0)
        return put_object(wire, &request);
    if (object && strcmp(method, "POST") == 0)
        return post_object(wire, &request);
    if (!object && get)
        return list(wire, &request);
    if (!take_body(wire, &request, NULL, NULL, NULL))
        return false;
    latency();
    if (object && get)
        return get_object(wire, &request);
    return strcmp(method, "DELETE") == 0 ? reply(wire, &request, 204, "", "text/plain", "")
                                         : xml(wire, &request, 200, "<?xml version=\"1.0\"?>\n<DeleteResult/>");
}
