#include "aws_inner.h"
#include "appliance/aws_region.h"

#include <inttypes.h>
#include <stdio.h>
#include <strings.h>

enum { HASHED_LIMIT = 64 * 1024, HEADER_TEXT = 64 };

#define AGENT "spark-appliance/" APPLIANCE_VERSION

/* --- where it goes: client->address, and the region that is signed for --- */

static bool make_bucket_address(struct aws_call *call, struct err *err)
{
    struct aws_client *client = call->client;
    const struct aws_spec *spec = call->request->spec;
    const struct aws_settings *settings = client->settings;
    struct s3_place place = {
        .region = bytes_of(call->request->region),
        .bucket = spec->bucket,
        .key = call->finding ? (struct bytes){"", 0} : spec->key,
        .endpoint = call->endpoint,
        .style = spec->style == S3_STYLE_AUTO ? settings->s3_style : spec->style,
        .dualstack = settings->dualstack || spec->flags & AWS_DUALSTACK,
        .fips = settings->fips || spec->flags & AWS_FIPS,
    };
    if (!s3_address_make(&client->address, &place, err))
        return false;
    if (!*call->elsewhere)
        return true;
    buf_clear(&client->address.origin);
    buf_clear(&client->address.host);
    return (buf_text(&client->address.origin, call->elsewhere) && buf_text(&client->address.host, strstr(call->elsewhere, "//") + 2)) ||
           err_set(err, ERR_SYSTEM, "no memory for an address");
}

/* FIPS and dual-stack hosts of other services are named by these rules; the few that aren't need an endpoint of their own. */
static bool write_special_host(struct buf *host, struct bytes service, struct bytes region, bool fips, bool dualstack)
{
    bool global = bytes_equal(service, bytes_of("route53"));
    const char *domain = aws_region_domain(region);
    const char *dual = strcmp(domain, "amazonaws.com.cn") == 0 ? "api.amazonwebservices.com.cn" : "api.aws";
    if (global)
        return buf_format(host, "route53%s.%s", fips ? "-fips" : "", domain);
    return buf_format(host, "%.*s%s.%.*s.%s", (int)service.length, service.data, fips ? "-fips" : "", (int)region.length, region.data,
                      dualstack ? dual : domain);
}

static bool make_service_address(struct aws_call *call, struct err *err)
{
    const struct aws_spec *spec = call->request->spec;
    const struct aws_settings *settings = call->client->settings;
    struct s3_address *a = &call->client->address;
    struct bytes service = bytes_of(spec->service), region = bytes_of(call->request->region), sign_for;
    bool fips = settings->fips || spec->flags & AWS_FIPS, dualstack = settings->dualstack || spec->flags & AWS_DUALSTACK, ok;
    buf_clear(&a->origin);
    buf_clear(&a->host);
    buf_clear(&a->path);
    if (!aws_region_host(service, region, &a->host, &sign_for, err)) /* with an endpoint, too: it says for which region is signed */
        return false;
    if (sign_for.data != region.data)
        snprintf(call->request->region, sizeof call->request->region, "%.*s", (int)sign_for.length, sign_for.data);
    if (call->endpoint) {
        buf_clear(&a->host);
        ok = aws_endpoint_host(call->endpoint, &a->host) && aws_endpoint_origin(call->endpoint, &a->origin) &&
             buf_append(&a->path, call->endpoint->prefix.data, call->endpoint->prefix.length);
    } else {
        if (fips || dualstack) {
            buf_clear(&a->host);
            ok = write_special_host(&a->host, service, region, fips, dualstack);
        } else {
            ok = true;
        }
        ok = ok && buf_text(&a->origin, "https://") && buf_append(&a->origin, a->host.data, a->host.length);
    }
    ok = ok && (spec->path.length ? buf_append(&a->path, spec->path.data, spec->path.length) : buf_text(&a->path, "/"));
    return ok || err_set(err, ERR_INVALID, "%s: the endpoint's URL is too long with the path behind it", spec->service);
}

static bool make_address(struct aws_call *call, struct err *err)
{
    const struct s3_address *a = &call->client->address;
    if (!(aws_is_s3(call->request->spec) ? make_bucket_address(call, err) : make_service_address(call, err)))
        return false;
    snprintf(call->origin, sizeof call->origin, "%.*s", (int)a->origin.length, a->origin.data);
    return true;
}

/* --- checksums --- */

/* Of the caller's own making. */
static bool has_checksum(const struct headers *headers)
{
    const char *name, *value;
    for (size_t at = 0; headers && headers_next(headers, &at, &name, &value);)
        if (strcasecmp(name, "Content-MD5") == 0 || aws_checksum_kind_of(bytes_of(name)) != AWS_CHECKSUM_NONE)
            return true;
    return false;
}

static enum aws_checksum_kind choose_checksum(struct aws_call *call)
{
    const struct aws_spec *spec = call->request->spec;
    bool needed = spec->flags & AWS_CHECKSUM_NEEDED;
    call->with_checksum = false;
    if (!aws_is_s3(spec) || call->finding || spec->body.kind == HTTP_NO_BODY || (spec->flags & AWS_CHECKSUM_OFF && !needed) ||
        has_checksum(spec->headers))
        return AWS_CHECKSUM_NONE;
    if (spec->checksum != AWS_CHECKSUM_NONE)
        return spec->checksum;
    bool refused = call->plain || (call->endpoint && aws_client_is_plain(call->client, call->origin));
    if (refused)
        return needed ? AWS_CHECKSUM_MD5 : AWS_CHECKSUM_NONE;
    if (!needed && (!call->client->settings->checksum_requests || strcmp(spec->method, "PUT") != 0))
        return AWS_CHECKSUM_NONE;
    /* A server that does not know trailers stores them: what can't be sent again must not find that out. */
    if (call->endpoint && spec->body.kind == HTTP_FROM_PULL && !spec->body.rewind)
        return AWS_CHECKSUM_NONE;
    call->with_checksum = call->endpoint != NULL;
    return AWS_CHECKSUM_CRC64NVME;
}

static bool add_checksum(struct aws_call *call, enum aws_checksum_kind kind, struct headers *headers, struct err *err)
{
    struct aws_sender *s = &call->sender;
    const struct aws_spec *spec = call->request->spec;
    if (kind != AWS_CHECKSUM_MD5 && !headers_set(headers, "x-amz-sdk-checksum-algorithm", bytes_of(aws_checksum_name(kind)), err))
        return false;
    if (s->framed)
        return headers_set(headers, "x-amz-trailer", bytes_of(aws_checksum_header(kind)), err);
    if (spec->checksum_value && kind == spec->checksum)
        return headers_set(headers, aws_checksum_header(kind), bytes_of(spec->checksum_value), err);
    if (!*s->value || s->kind != kind) {
        if (!aws_checksum_of(kind, (struct bytes){spec->body.data, (size_t)spec->body.length}, s->value, err))
            return false;
        s->kind = kind;
    }
    return headers_set(headers, aws_checksum_header(kind), bytes_of(s->value), err);
}

/* --- the body --- */

static bool is_framed(const struct aws_call *call, enum aws_checksum_kind kind)
{
    const struct aws_spec *spec = call->request->spec;
    if (spec->body.kind != HTTP_FROM_FILE && spec->body.kind != HTTP_FROM_PULL)
        return false;
    return (kind != AWS_CHECKSUM_NONE && !spec->checksum_value) || (call->client->settings->sign_payload && !(spec->flags & AWS_ANONYMOUS));
}

static bool choose_payload(struct aws_call *call, enum aws_checksum_kind kind, struct sigv4_request *request, struct err *err)
{
    const struct aws_spec *spec = call->request->spec;
    struct aws_sender *s = &call->sender;
    bool has_body = spec->body.kind != HTTP_NO_BODY && !call->finding;
    bool sign = call->client->settings->sign_payload && !(spec->flags & AWS_ANONYMOUS);
    if (!has_body || (spec->body.kind == HTTP_FROM_MEMORY && spec->body.length == 0)) {
        request->payload = SIGV4_PAYLOAD_EMPTY;
    } else if (is_framed(call, kind)) {
        request->payload = !sign ? SIGV4_PAYLOAD_UNSIGNED_TRAILER : kind ? SIGV4_PAYLOAD_CHUNKS_TRAILER : SIGV4_PAYLOAD_CHUNKS;
        return aws_sender_framed(s, request->payload, kind, err);
    } else if (spec->body.kind == HTTP_FROM_MEMORY && (sign || !aws_is_s3(spec) || spec->body.length <= HASHED_LIMIT)) {
        request->payload = SIGV4_PAYLOAD_HASHED;
        if (!*s->hash && !sigv4_hash((struct bytes){spec->body.data, (size_t)spec->body.length}, s->hash))
            return err_set(err, ERR_SYSTEM, "libcrypto can't hash with SHA-256");
        memcpy(request->payload_hash, s->hash, sizeof request->payload_hash);
    } else {
        request->payload = SIGV4_PAYLOAD_UNSIGNED;
    }
    if (s->framed)
        aws_sender_plain(s);
    return true;
}

/* --- headers --- */

static bool add_framing(const struct aws_call *call, struct headers *headers, struct err *err)
{
    char text[HEADER_TEXT], coding[256];
    const char *own = headers_find(headers, "Content-Encoding");
    snprintf(text, sizeof text, "%" PRId64, call->request->spec->body.length);
    snprintf(coding, sizeof coding, own ? "aws-chunked,%s" : "aws-chunked", own);
    return headers_set(headers, "Content-Encoding", bytes_of(coding), err) &&
           headers_set(headers, "x-amz-decoded-content-length", bytes_of(text), err);
}

static bool copy(const struct headers *from, struct headers *to, struct err *err)
{
    const char *name, *value;
    for (size_t at = 0; from && headers_next(from, &at, &name, &value);)
        if (!headers_add_text(to, name, value, err))
            return false;
    return true;
}

static bool wants_verification(const struct aws_call *call)
{
    const struct aws_spec *spec = call->request->spec;
    return aws_is_s3(spec) && spec->key.length && strcmp(spec->method, "GET") == 0 && !(spec->flags & AWS_CHECKSUM_OFF) &&
           call->client->settings->checksum_answers && !call->plain && !(call->endpoint && aws_client_is_plain(call->client, call->origin));
}

static bool make_headers(struct aws_call *call, enum aws_checksum_kind kind, struct err *err)
{
    const struct aws_spec *spec = call->request->spec;
    struct headers *headers = &call->client->headers;
    buf_clear(&headers->text);
    headers->count = 0;
    if (!call->finding && !copy(spec->headers, headers, err))
        return false;
    if (!headers_find(headers, "User-Agent") && !headers_add_text(headers, "User-Agent", AGENT, err))
        return false;
    if (aws_is_s3(spec) && spec->flags & AWS_REQUEST_PAYER && !headers_set(headers, "x-amz-request-payer", bytes_of("requester"), err))
        return false;
    bool has_mode = headers_find(headers, "x-amz-checksum-mode") != NULL;
    if (!call->finding && !has_mode && wants_verification(call)) {
        call->with_checksum = call->endpoint != NULL;
        if (!headers_add_text(headers, "x-amz-checksum-mode", "ENABLED", err))
            return false;
    }
    return (!call->sender.framed || call->finding || add_framing(call, headers, err)) &&
           (kind == AWS_CHECKSUM_NONE || add_checksum(call, kind, headers, err));
}

/* --- signing --- */

static struct sigv4_credentials of(const struct credentials *keys)
{
    return (struct sigv4_credentials){bytes_of(keys->access_key_id), bytes_of(keys->secret_access_key),
                                      keys->session_token ? bytes_of(keys->session_token) : (struct bytes){"", 0}};
}

static struct sigv4_scope scope_of(const struct aws_call *call)
{
    const struct aws_spec *spec = call->request->spec;
    return (struct sigv4_scope){bytes_of(call->request->region), bytes_of(spec->service), aws_is_s3(spec) ? SIGV4_S3 : SIGV4_GENERAL};
}

static bool sign(struct aws_call *call, const struct credentials *keys, const struct sigv4_request *request, struct err *err)
{
    struct aws_client *client = call->client;
    struct sigv4_credentials credentials = of(keys);
    struct sigv4_scope scope = scope_of(call);
    if (!sigv4_sign(&client->keys, &credentials, &scope, request, call->signed_wall_ms, &client->headers, &client->signature, err))
        return false;
    return !call->sender.framed || call->finding ||
           sigv4_chunks_start(&call->sender.chunks, &client->keys, &credentials, &scope, request, &client->signature, err);
}

static bool write_query(struct buf *out, const struct aws_spec *spec)
{
    for (size_t i = 0; i < spec->query_count; i++)
        if (!buf_text(out, i ? "&" : "?") || !aws_escape(out, spec->query[i].name, AWS_ESCAPE_ALL) || !buf_text(out, "=") ||
            !aws_escape(out, spec->query[i].value, AWS_ESCAPE_ALL))
            return false;
    return true;
}

static bool write_url(struct aws_call *call, bool is_signed, struct buf *out)
{
    const struct s3_address *a = &call->client->address;
    const struct buf *target = &call->client->signature.target;
    return buf_append(out, a->origin.data, a->origin.length) &&
           (is_signed ? buf_append(out, target->data, target->length)
                      : aws_escape(out, buf_bytes(&a->path), AWS_ESCAPE_PATH) && (call->finding || write_query(out, call->request->spec)));
}

static bool too_long(struct err *err)
{
    return err_set(err, ERR_INVALID, "the request's URL is longer than %d bytes", HTTP_URL_LIMIT);
}

static void fill_request(const struct aws_call *call, struct sigv4_request *request)
{
    const struct aws_spec *spec = call->request->spec;
    const struct s3_address *a = &call->client->address;
    request->method = bytes_of(call->finding ? "HEAD" : spec->method);
    request->path = buf_bytes(&a->path);
    request->query = spec->query;
    request->query_count = call->finding ? 0 : spec->query_count;
    request->host = buf_bytes(&a->host);
}

static void fill_spec(struct aws_call *call, struct http_spec *http)
{
    const struct aws_spec *spec = call->request->spec;
    const struct aws_settings *settings = call->client->settings;
    *http = HTTP_SPEC_DEFAULT;
    http->method = call->finding ? "HEAD" : spec->method;
    http->url = call->client->url.data;
    http->headers = &call->client->headers;
    if (!call->finding && spec->body.kind != HTTP_NO_BODY)
        aws_sender_body(&call->sender, &http->body);
    if (!call->finding && spec->push && !(spec->flags & AWS_MAY_FAIL_IN_200))
        http->push = aws_answer_push;
    if (spec->ceiling)
        http->ceiling = spec->ceiling;
    if (spec->connect_ms)
        http->connect_ms = spec->connect_ms;
    if (spec->first_byte_ms)
        http->first_byte_ms = spec->first_byte_ms;
    if (spec->stall_ms)
        http->stall_ms = spec->stall_ms;
    http->ca_file = spec->ca_file ? spec->ca_file : settings->ca_file;
    http->no_proxy = spec->flags & AWS_NO_PROXY;
    http->fresh = call->fresh;
    http->expect_continue = spec->flags & AWS_EXPECT_CONTINUE && !call->finding;
}

bool aws_make(struct aws_call *call, const struct credentials *keys, struct http_spec *http, struct err *err)
{
    struct sigv4_request request = {0};
    struct buf *url = &call->client->url;
    if (!make_address(call, err))
        return false;
    enum aws_checksum_kind kind = choose_checksum(call);
    call->request->sent_kind = kind;
    if (!choose_payload(call, kind, &request, err) || !make_headers(call, kind, err))
        return false;
    fill_request(call, &request);
    call->signed_wall_ms = aws_client_wall_ms(call->client);
    if (keys && !sign(call, keys, &request, err))
        return false;
    buf_clear(url);
    if (!write_url(call, keys != NULL, url) || !buf_append(url, "", 1))
        return too_long(err);
    fill_spec(call, http);
    return true;
}

bool aws_make_presigned(struct aws_call *call, const struct credentials *keys, struct err *err)
{
    const struct aws_spec *spec = call->request->spec;
    struct sigv4_request request = {.payload = aws_is_s3(spec) ? SIGV4_PAYLOAD_UNSIGNED : SIGV4_PAYLOAD_EMPTY};
    if (!make_address(call, err))
        return false;
    fill_request(call, &request);
    struct sigv4_credentials credentials = of(keys);
    struct sigv4_scope scope = scope_of(call);
    if (!sigv4_presign(&call->client->keys, &credentials, &scope, &request, aws_client_wall_ms(call->client), spec->presign_s,
                       spec->headers, &call->client->signature, err))
        return false;
    return write_url(call, true, &call->request->fetch.body) || too_long(err);
}
