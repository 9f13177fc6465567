#include "appliance/xml.h"
#include "s3_put_inner.h"

#include <stdio.h>
#include <strings.h>

/* --- headers --- */

static bool begins(const char *name, const char *with)
{
    return strncasecmp(name, with, strlen(with)) == 0;
}

static bool goes_with(const char *name, enum s3_put_use use)
{
    bool always = begins(name, "x-amz-expected-bucket-owner") || begins(name, "x-amz-request-payer");
    bool key = begins(name, "x-amz-server-side-encryption-customer-"); /* SSE-C: S3 forgets it after each request */
    bool condition = begins(name, "If-");
    bool checksum = begins(name, "x-amz-checksum-") || begins(name, "x-amz-sdk-checksum-") || begins(name, "Content-MD5");
    switch (use) {
    case S3_FOR_CREATE: return !condition && !checksum && !begins(name, "Content-Length");
    case S3_FOR_PART: return always || key;
    case S3_FOR_COMPLETE: return always || key || condition;
    case S3_FOR_ABORT: return always;
    }
    return false;
}

bool s3_put_headers(struct headers *headers, const struct headers *of_object, enum s3_put_use use, struct err *err)
{
    const char *name, *value;
    headers_free(headers);
    headers_init(headers, S3_PUT_HEADERS_CEILING);
    for (size_t at = 0; of_object && headers_next(of_object, &at, &name, &value);)
        if (goes_with(name, use) && !headers_add_text(headers, name, value, err))
            return false;
    return true;
}

/* --- XML --- */

bool s3_put_complete_xml(struct buf *out, const struct s3_stored *stored, int count, enum aws_checksum_kind kind, struct err *err)
{
    bool ok = buf_text(out, "<CompleteMultipartUpload xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\">");
    for (int i = 0; ok && i < count; i++) {
        ok = buf_format(out, "<Part><PartNumber>%d</PartNumber><ETag>", i + 1) && xml_escape(out, bytes_of(stored[i].etag), err) &&
             buf_text(out, "</ETag>");
        if (ok && *stored[i].checksum)
            ok = buf_format(out, "<Checksum%s>%s</Checksum%s>", aws_checksum_name(kind), stored[i].checksum, aws_checksum_name(kind));
        ok = ok && buf_text(out, "</Part>");
    }
    ok = ok && buf_text(out, "</CompleteMultipartUpload>");
    return ok || err_set(err, ERR_SYSTEM, "no memory for the list of %d parts, or one of them has an odd ETag", count);
}

bool s3_put_xml_text(struct bytes body, const char *name, char *out, size_t size, struct err *err)
{
    struct xml_document document = {0};
    struct err why;
    *out = 0;
    while (body.length && (*body.data == ' ' || *body.data == '\n' || *body.data == '\r' || *body.data == '\t')) {
        body.data++; /* S3 keeps the connection alive with blanks while it is not done */
        body.length--;
    }
    if (!xml_read(&document, body, &XML_LIMITS_DEFAULT, &why))
        return err_set(err, ERR_PROTOCOL, "the answer is no XML that can be read (%.100s)", why.text);
    bool ok = true;
    for (size_t i = 0; i + 1 < document.count; i++) {
        const struct xml_node *text = &document.nodes[i + 1];
        if (document.nodes[i].kind != XML_ELEMENT || strcmp(document.nodes[i].name, name) != 0 || text->kind != XML_TEXT)
            continue;
        ok = text->text.length < size || err_set(err, ERR_PROTOCOL, "the answer has a %s of %zu bytes", name, text->text.length);
        if (ok)
            snprintf(out, size, "%.*s", (int)text->text.length, text->text.data);
        break;
    }
    xml_free(&document);
    return ok;
}

/* --- the checksum of the whole --- */

static bool decode(const char *text, uint64_t *value, size_t *length)
{
    static const char letters[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    unsigned bits = 0;
    uint64_t taken = 0;
    *value = 0;
    *length = 0;
    for (; *text && *text != '='; text++) {
        const char *letter = strchr(letters, *text);
        if (!letter || *length == 8)
            return false;
        taken = taken << 6 | (uint64_t)(letter - letters);
        bits += 6;
        if (bits >= 8) {
            bits -= 8;
            *value = *value << 8 | (taken >> bits & 0xff);
            ++*length;
        }
    }
    return *length > 0;
}

bool s3_put_join(const struct s3_stored *stored, int count, enum aws_checksum_kind kind, char text[AWS_CHECKSUM_TEXT_SIZE])
{
    struct aws_checksum all = {.kind = kind};
    unsigned char raw[AWS_CHECKSUM_RAW_SIZE];
    *text = 0;
    if (kind != AWS_CHECKSUM_CRC64NVME && kind != AWS_CHECKSUM_CRC32C && kind != AWS_CHECKSUM_CRC32)
        return false;
    for (int i = 0; i < count; i++) {
        struct aws_checksum one = {.kind = kind, .length = (uint64_t)stored[i].length};
        size_t length;
        if (!decode(stored[i].checksum, &one.crc, &length) || !aws_checksum_join(&all, &one))
            return false;
    }
    size_t length = aws_checksum_finish(&all, raw);
    aws_checksum_text(raw, length, 0, text);
    return true;
}
