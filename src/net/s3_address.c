#include "appliance/s3_address.h"
#include "appliance/aws_region.h"

#include <arpa/inet.h>
#include <strings.h>

enum { LABEL_LIMIT = 63, BUCKET_LEAST = 3, HOST_LIMIT = 1024, PATH_LIMIT = 16 * 1024 };

/* --- buckets --- */

static bool is_lower_or_digit(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9');
}

bool s3_bucket_is_valid(struct bytes bucket)
{
    for (size_t i = 0; i < bucket.length; i++) {
        char c = bucket.data[i];
        if (!is_lower_or_digit(c) && !(c >= 'A' && c <= 'Z') && c != '-' && c != '.' && c != '_')
            return false;
    }
    return bucket.length >= BUCKET_LEAST && bucket.length <= S3_BUCKET_LIMIT;
}

static bool is_ipv4(struct bytes text)
{
    char address[INET_ADDRSTRLEN];
    struct in_addr parsed;
    if (text.length >= sizeof address)
        return false;
    memcpy(address, text.data, text.length);
    address[text.length] = 0;
    return inet_pton(AF_INET, address, &parsed) == 1;
}

bool s3_bucket_is_dns(struct bytes bucket)
{
    if (bucket.length < BUCKET_LEAST || bucket.length > LABEL_LIMIT || is_ipv4(bucket))
        return false;
    for (size_t i = 0; i < bucket.length; i++) {
        char c = bucket.data[i];
        if (is_lower_or_digit(c))
            continue;
        /* Hyphens and dots stand between letters, and no label ends or begins with a hyphen. */
        if ((c != '-' && c != '.') || i == 0 || i + 1 == bucket.length)
            return false;
        char before = bucket.data[i - 1], behind = bucket.data[i + 1];
        if (c == '.' && (!is_lower_or_digit(before) || !is_lower_or_digit(behind)))
            return false;
    }
    return true;
}

/* --- s3:// --- */

static bool refuse(struct bytes text, const char *reason, struct err *err)
{
    char shown[81];
    return err_set(err, ERR_INVALID, "%s: %s", bytes_shown(text, shown, sizeof shown), reason);
}

static bool take_scheme(struct bytes *text)
{
    static const char *const schemes[] = {"s3://", "s3a://", "s3n://"};
    for (size_t i = 0; i < sizeof schemes / sizeof *schemes; i++) {
        size_t length = strlen(schemes[i]);
        if (text->length >= length && strncasecmp(text->data, schemes[i], length) == 0) {
            *text = (struct bytes){text->data + length, text->length - length};
            return true;
        }
    }
    return false;
}

/* Cuts "?versionId=..." off the end of a key. */
static struct bytes take_version(struct bytes *key)
{
    static const char mark[] = "?versionId=";
    for (size_t id = key->length; id >= sizeof mark - 1; id--) {
        if (id < key->length && (key->data[id] == '?' || key->data[id] == '&'))
            break;
        size_t start = id - (sizeof mark - 1);
        if (id == key->length || memcmp(key->data + start, mark, sizeof mark - 1) != 0)
            continue;
        struct bytes version = {key->data + id, key->length - id};
        key->length = start;
        return version;
    }
    return (struct bytes){"", 0};
}

bool s3_uri_read(struct bytes text, struct s3_uri *uri, struct err *err)
{
    struct bytes rest = text;
    if (!take_scheme(&rest))
        return refuse(text, "the address of an object begins with s3://", err);
    if (rest.length >= 4 && strncasecmp(rest.data, "arn:", 4) == 0)
        return refuse(text, "ARNs are not taken here: use the alias of the access point", err);
    const char *slash = rest.length ? memchr(rest.data, '/', rest.length) : NULL;
    struct s3_uri u = {.bucket = {rest.data, slash ? (size_t)(slash - rest.data) : rest.length}, .key = {"", 0}};
    if (!s3_bucket_is_valid(u.bucket))
        return refuse(text, "this is no name of a bucket: it has 3 to 255 letters, digits and - . _", err);
    if (slash)
        u.key = (struct bytes){slash + 1, rest.length - u.bucket.length - 1};
    u.version = take_version(&u.key);
    if (u.key.length > S3_KEY_LIMIT)
        return refuse(text, "the key is longer than 1,024 bytes", err);
    *uri = u;
    return true;
}

/* --- addresses --- */

void s3_address_init(struct s3_address *a)
{
    *a = (struct s3_address){0};
    buf_init(&a->origin, HOST_LIMIT);
    buf_init(&a->host, HOST_LIMIT);
    buf_init(&a->path, PATH_LIMIT);
}

void s3_address_free(struct s3_address *a)
{
    buf_free(&a->origin);
    buf_free(&a->host);
    buf_free(&a->path);
}

static bool goes_into_the_host(const struct s3_place *p)
{
    const struct aws_endpoint *e = p->endpoint;
    if (p->bucket.length == 0 || p->style == S3_STYLE_PATH || (p->style == S3_STYLE_AUTO && e))
        return false;
    bool tls = !e || e->tls;
    return !(e && e->is_address) && s3_bucket_is_dns(p->bucket) && !(tls && memchr(p->bucket.data, '.', p->bucket.length));
}

static bool write_host(struct s3_address *a, const struct s3_place *p)
{
    if (a->style == S3_STYLE_VIRTUAL && (!buf_append(&a->host, p->bucket.data, p->bucket.length) || !buf_text(&a->host, ".")))
        return false;
    if (p->endpoint)
        return aws_endpoint_host(p->endpoint, &a->host);
    return buf_format(&a->host, "s3%s%s.%.*s.%s", p->fips ? "-fips" : "", p->dualstack ? ".dualstack" : "", (int)p->region.length,
                      p->region.data, aws_region_domain(p->region));
}

static bool write_path(struct s3_address *a, const struct s3_place *p)
{
    struct bytes prefix = p->endpoint ? p->endpoint->prefix : (struct bytes){"", 0};
    if (!buf_append(&a->path, prefix.data, prefix.length))
        return false;
    if (a->style == S3_STYLE_VIRTUAL || p->bucket.length == 0)
        return buf_text(&a->path, "/") && buf_append(&a->path, p->key.data, p->key.length);
    return buf_text(&a->path, "/") && buf_append(&a->path, p->bucket.data, p->bucket.length) &&
           (p->key.length == 0 || (buf_text(&a->path, "/") && buf_append(&a->path, p->key.data, p->key.length)));
}

bool s3_address_make(struct s3_address *a, const struct s3_place *p, struct err *err)
{
    buf_clear(&a->origin);
    buf_clear(&a->host);
    buf_clear(&a->path);
    if (p->bucket.length && !s3_bucket_is_valid(p->bucket))
        return refuse(p->bucket, "this is no name of a bucket: it has 3 to 255 letters, digits and - . _", err);
    if (p->key.length > S3_KEY_LIMIT || (p->key.length && p->bucket.length == 0))
        return refuse(p->key, "a key has 1,024 bytes at most, and a bucket to be in", err);
    if (!p->endpoint && !aws_region_check(p->region, err))
        return false;
    if (!p->endpoint && p->fips && !aws_region_has_fips(p->region))
        return refuse(p->region, "there is no FIPS endpoint of S3 in this region: unset AWS_USE_FIPS_ENDPOINT", err);

    a->style = goes_into_the_host(p) ? S3_STYLE_VIRTUAL : S3_STYLE_PATH;
    bool tls = !p->endpoint || p->endpoint->tls;
    bool written = write_host(a, p) && buf_text(&a->origin, tls ? "https://" : "http://") &&
                   buf_append(&a->origin, a->host.data, a->host.length) && write_path(a, p);
    return written || err_set(err, ERR_INVALID, "the endpoint's URL is too long for a bucket and a key behind it");
}
