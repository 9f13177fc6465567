#include "appliance/credentials_exchange.h"

#include "appliance/aws_region.h"
#include "appliance/clock.h"
#include "appliance/credentials_container.h"
#include "appliance/credentials_document.h"
#include "appliance/file.h"
#include "credentials_inner.h"

#include <stdio.h>
#include <stdlib.h>

enum { TRIES = 3, CONNECT_MS = 3000, FIRST_BYTE_MS = 10000, DEADLINE_MS = 20000, SKEW_MS = 4 * 60 * 1000 };

static void send_again(struct timer *);

static void finish(struct credentials_exchange *e)
{
    e->done(e); /* may free it */
}

/* Of a failure that may pass: once more, or it stands. */
static void try_again(struct credentials_exchange *e)
{
    if (e->tries >= TRIES)
        finish(e);
    else
        timer_start(&e->pause, e->world->loop, credentials_pause_ms(e->tries, credentials_dice()), send_again);
}

/* --- the answer --- */

/* True: our clock is off by so much that STS can't take the signature, and that is news. */
static bool is_skewed(struct credentials_exchange *e, const struct http_fetch *fetch)
{
    const char *date = headers_find(&fetch->headers, "Date");
    int64_t theirs;
    if (e->skewed || !e->with || fetch->status != 403 || !date || !aws_date_read_http(bytes_of(date), &theirs, NULL))
        return false;
    e->skew_ms = theirs - clock_wall_ms();
    return e->skewed = e->skew_ms > SKEW_MS || e->skew_ms < -SKEW_MS;
}

static bool says_expired(struct bytes body)
{
    static const char word[] = ">ExpiredToken<";
    return body.length && memmem(body.data, body.length, word, sizeof word - 1);
}

static void answered(struct http_fetch *fetch)
{
    struct credentials_exchange *e = (struct credentials_exchange *)(void *)((char *)fetch - offsetof(struct credentials_exchange, fetch));
    struct err fault;
    bool again = false;
    if (fetch->failure) {
        again = http_failure_is_transient(fetch->failure);
        err_set(&e->err, fetch->err.kind, "%s: %s", e->subject, fetch->err.text);
    } else if (fetch->status == 200) {
        e->ok = credentials_sts_read(buf_bytes(&fetch->body), &e->keys, &fault);
        if (!e->ok)
            again = !err_set(&e->err, fault.kind, "%s: %s", e->subject, fault.text);
    } else {
        again = is_skewed(e, fetch);
        again |= credentials_sts_fault(fetch->status, buf_bytes(&fetch->body), e->subject, &e->err);
        e->expired = says_expired(buf_bytes(&fetch->body));
    }
    credentials_fetch_wipe(fetch);
    if (again)
        try_again(e);
    else
        finish(e);
}

/* --- the request --- */

static bool add(struct buf *body, const char *name, struct bytes value)
{
    return value.length == 0 || (buf_format(body, "&%s=", name) && aws_escape(body, value, AWS_ESCAPE_ALL));
}

static bool add_token(struct buf *body, const char *path, struct err *err)
{
    struct buf text;
    buf_init(&text, CONTAINER_TOKEN_FILE_LIMIT);
    bool ok = file_read(path, &text, err);
    struct bytes token = credentials_trim(buf_bytes(&text));
    if (ok && token.length == 0)
        ok = err_set(err, ERR_INVALID, "%s: the token file is empty", path);
    if (ok && !add(body, "WebIdentityToken", token))
        ok = err_set(err, ERR_INVALID, "%s: the token is too long", path);
    credentials_buf_wipe(&text);
    return ok;
}

static bool write_body(struct credentials_exchange *e, struct buf *body, struct err *err)
{
    char duration[16] = "";
    const struct recipe_role *role = &e->role;
    if (role->duration_s)
        snprintf(duration, sizeof duration, "%d", role->duration_s);
    bool ok = buf_format(body, "Action=%s&Version=2011-06-15", e->with ? "AssumeRole" : "AssumeRoleWithWebIdentity") &&
              add(body, "RoleArn", bytes_of(role->role_arn)) &&
              add(body, "RoleSessionName", bytes_of(role->session_name ? role->session_name : e->session)) &&
              add(body, "DurationSeconds", bytes_of(duration)) &&
              (!role->external_id || add(body, "ExternalId", bytes_of(role->external_id)));
    if (!ok)
        return err_set(err, ERR_INVALID, "the request is too long");
    return e->with || add_token(body, e->token_file, err);
}

static struct bytes maybe(const char *text)
{
    return text ? bytes_of(text) : (struct bytes){"", 0};
}

static bool sign(struct credentials_exchange *e, const struct aws_endpoint *endpoint, struct bytes region, struct bytes body,
                 struct headers *headers, struct sigv4_result *result, struct err *err)
{
    char path[1100];
    struct buf host;
    buf_init(&host, 512);
    snprintf(path, sizeof path, "%.*s/", (int)endpoint->prefix.length, endpoint->prefix.data);
    const struct sigv4_credentials keys = {bytes_of(e->with->access_key_id), bytes_of(e->with->secret_access_key),
                                           maybe(e->with->session_token)};
    const struct sigv4_scope scope = {.region = region, .service = bytes_of("sts"), .rules = SIGV4_GENERAL};
    struct sigv4_request request = {.method = bytes_of("POST"), .path = bytes_of(path), .payload = SIGV4_PAYLOAD_HASHED};
    bool ok = aws_endpoint_host(endpoint, &host) && sigv4_hash(body, request.payload_hash);
    request.host = buf_bytes(&host);
    ok = ok ? sigv4_sign(&e->world->signing, &keys, &scope, &request, clock_wall_ms() + e->skew_ms, headers, result, err)
            : err_set(err, ERR_SYSTEM, "no memory to sign the request");
    buf_free(&host);
    return ok;
}

/* Where to, for which region it is signed, and the whole request on its way. */
static bool send_to(struct credentials_exchange *e, struct bytes url, struct bytes region, struct err *err)
{
    struct aws_endpoint endpoint;
    struct headers headers;
    struct sigv4_result result;
    struct buf body, target;
    headers_init(&headers, 64 * 1024);
    sigv4_result_init(&result);
    buf_init(&body, 256 * 1024);
    buf_init(&target, 4096);
    bool ok = aws_endpoint_read(url, &endpoint, err) && write_body(e, &body, err) &&
              headers_add_text(&headers, "Content-Type", "application/x-www-form-urlencoded; charset=utf-8", err) &&
              (!e->with || sign(e, &endpoint, region, buf_bytes(&body), &headers, &result, err));
    if (ok && !(aws_endpoint_origin(&endpoint, &target) &&
                (e->with ? buf_append(&target, result.target.data, result.target.length)
                         : buf_format(&target, "%.*s/", (int)endpoint.prefix.length, endpoint.prefix.data)) &&
                buf_append(&target, "", 1)))
        ok = err_set(err, ERR_INVALID, "the URL of STS is too long");
    if (ok) {
        struct http_spec spec = HTTP_SPEC_DEFAULT;
        spec.method = "POST";
        spec.url = target.data;
        spec.headers = &headers;
        spec.body = (struct http_body){.kind = HTTP_FROM_MEMORY, .data = body.data, .length = (int64_t)body.length};
        spec.ceiling = DOCUMENT_LIMIT;
        spec.connect_ms = CONNECT_MS;
        spec.first_byte_ms = FIRST_BYTE_MS;
        spec.deadline_ms = DEADLINE_MS;
        spec.ca_file = e->ca_file[0] ? e->ca_file : NULL;
        spec.fresh = e->tries > 0;
        ok = http_fetch_start(&e->fetch, e->world->loop, &spec, answered, err);
    }
    if (ok) {
        credentials_buf_wipe(&e->body);
        e->body = body; /* it must live as long as the request */
    } else {
        credentials_buf_wipe(&body);
    }
    credentials_headers_wipe(&headers);
    sigv4_result_free(&result);
    buf_free(&target);
    return ok;
}

static bool find_host(const struct credentials_exchange *e, struct bytes *url, struct bytes *region, struct buf *room, struct err *err)
{
    *region = bytes_of(e->region.region[0] ? e->region.region : "us-east-1");
    *url = bytes_of(e->endpoint);
    if (e->endpoint[0])
        return true;
    bool ok = buf_text(room, "https://") &&
              aws_region_host(bytes_of(e->fips ? "sts-fips" : "sts"), bytes_of(e->region.region), room, region, err);
    *url = buf_bytes(room);
    return ok;
}

static void send_now(struct credentials_exchange *e)
{
    struct err fault = {0};
    struct bytes url, region;
    struct buf room;
    buf_init(&room, 512);
    bool ok = find_host(e, &url, &region, &room, &fault) && send_to(e, url, region, &fault);
    buf_free(&room);
    e->tries++;
    if (ok)
        return;
    err_set(&e->err, fault.kind, "%s: %s", e->subject, fault.text);
    /* Whoever writes a token file may be between two of them. */
    if (!e->with && (fault.kind == ERR_MISSING || fault.kind == ERR_INVALID))
        try_again(e);
    else
        finish(e);
}

static void send_again(struct timer *timer)
{
    send_now((struct credentials_exchange *)(void *)((char *)timer - offsetof(struct credentials_exchange, pause)));
}

static void region_found(struct credentials_region *region)
{
    struct credentials_exchange *e =
        (struct credentials_exchange *)(void *)((char *)region - offsetof(struct credentials_exchange, region));
    /* An endpoint that somebody configured is no region's own, so it does without. */
    if (!region->region[0] && !e->endpoint[0]) {
        err_set(&e->err, region->err.kind, "%s: %s", e->subject, region->err.text);
        finish(e);
        return;
    }
    send_now(e);
}

void credentials_exchange_start(struct credentials_exchange *e, struct credentials_world *world, const struct recipe_role *role,
                                const struct credentials *with, const char *token_file, void (*done)(struct credentials_exchange *))
{
    memset(e, 0, sizeof *e);
    e->done = done;
    e->world = world;
    e->role = *role;
    e->with = with;
    e->token_file = token_file;
    snprintf(e->subject, sizeof e->subject, "%.90s", role->role_arn);
    snprintf(e->session, sizeof e->session, "spark-appliance-%lld", (long long)(clock_wall_ms() / 1000));
    struct credentials_look *look = credentials_world_look(world, NULL);
    if (look) {
        char room[1024];
        const char *endpoint = credentials_look_sts(look, room, sizeof room);
        const char *ca_file = world->spec.ca_file ? world->spec.ca_file : credentials_look_ca_file(look);
        e->fips = credentials_look_fips(look);
        snprintf(e->endpoint, sizeof e->endpoint, "%s", endpoint ? endpoint : "");
        snprintf(e->ca_file, sizeof e->ca_file, "%s", ca_file ? ca_file : "");
        credentials_look_free(look);
    }
    credentials_region_begin(&e->region, world, region_found);
}

void credentials_exchange_stop(struct credentials_exchange *e)
{
    timer_stop(&e->pause);
    credentials_region_stop(&e->region);
    credentials_fetch_wipe(&e->fetch);
    credentials_buf_wipe(&e->body);
    credentials_free(&e->keys);
}
