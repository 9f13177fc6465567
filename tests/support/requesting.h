/* requesting.h - requests of the engine against tests/support/fault_s3.py, turned in place until they are done, with a store of credentials that a
 * test scripts: it defines the functions of credentials.h itself, so that the real store is not linked. */
#ifndef TEST_REQUESTING_H
#define TEST_REQUESTING_H

#include "appliance/aws_request.h"
#include "appliance/credentials.h"
#include "faults.h"
#include "turning.h"

#include <stdio.h>
#include <string.h>

static struct loop *loop;
static struct faults faults;
static struct aws_client *client;
static struct aws_settings settings;
static struct aws_request request;
static struct aws_spec spec;
static struct headers headers;
static struct aws_endpoint endpoint;
static struct err err;
static int ended;

/* --- the store: its keys, and what a refusal makes of them --- */

static struct fake_store {
    struct credentials keys, next; /* next: what a refused set is replaced with */
    bool is_silent;
    bool has_next, waits; /* waits: nothing is held, so that it must be asked */
    uint64_t generation;
    int asked, refused, regions_asked;
    char region[64];
    struct err err; /* kind: asking fails so */
    struct timer timer;
    struct credentials_ask *asking;
} store;

const struct credentials *credentials_held(struct credentials_store *s, const char *role, uint64_t *generation)
{
    (void)s, (void)role;
    *generation = store.generation;
    return store.waits || store.err.kind ? NULL : &store.keys;
}

static void answer_ask(struct timer *timer)
{
    struct credentials_ask *ask = store.asking;
    store.asking = ask->next;
    if (store.asking)
        timer_start(timer, loop, 0, answer_ask);
    ask->ok = store.err.kind == ERR_NONE;
    ask->err = store.err;
    ask->generation = store.generation;
    if (ask->ok)
        assert_true(credentials_copy(&ask->keys, &store.keys, NULL));
    store.waits = false;
    ask->done(ask);
}

bool credentials_ask_start(struct credentials_ask *ask, struct credentials_store *s, const char *role,
                           void (*done)(struct credentials_ask *), struct err *e)
{
    (void)s, (void)role, (void)e;
    *ask = (struct credentials_ask){.done = done, .next = store.asking};
    store.asking = ask;
    store.asked++;
    if (!store.is_silent)
        timer_start(&store.timer, loop, 0, answer_ask);
    return true;
}

void credentials_ask_stop(struct credentials_ask *ask)
{
    for (struct credentials_ask **at = &store.asking; *at; at = &(*at)->next)
        if (*at == ask) {
            *at = ask->next;
            break;
        }
    if (!store.asking)
        timer_stop(&store.timer);
    credentials_free(&ask->keys);
}

bool credentials_refused(struct credentials_store *s, const char *role, uint64_t generation)
{
    (void)s, (void)role;
    store.refused++;
    if (generation != store.generation || !store.has_next)
        return generation != store.generation;
    credentials_free(&store.keys);
    store.keys = store.next;
    store.next = (struct credentials){0};
    store.has_next = false;
    store.waits = true;
    store.generation++;
    return true;
}

static struct timer region_timer;
static struct credentials_region *region_asking;

static void answer_region(struct timer *timer)
{
    (void)timer;
    struct credentials_region *r = region_asking;
    region_asking = NULL;
    snprintf(r->region, sizeof r->region, "%s", store.region);
    if (!*r->region)
        err_set(&r->err, ERR_MISSING, "no region is known: set AWS_REGION");
    r->done(r);
}

void credentials_region_start(struct credentials_region *r, struct credentials_store *s, void (*done)(struct credentials_region *))
{
    (void)s;
    *r = (struct credentials_region){.done = done};
    region_asking = r;
    store.regions_asked++;
    timer_start(&region_timer, loop, 0, answer_region);
}

void credentials_region_stop(struct credentials_region *r)
{
    if (region_asking == r) {
        region_asking = NULL;
        timer_stop(&region_timer);
    }
}

static inline void set_keys(struct credentials *to, const char *id, const char *secret, const char *token)
{
    credentials_free(to);
    assert_true(credentials_set(to, bytes_of(id), bytes_of(secret), bytes_of(token ? token : ""), bytes_of(""), CREDENTIALS_NEVER, NULL));
}

/* --- the server --- */

static inline void tell_at(int port, const char *method, const char *what, const char *text);

static int told;
static inline void on_told(struct http_fetch *f)
{
    (void)f;
    told++;
}

static char answer_text[1 << 20];

/* A request to the server's own words, without the engine; its body is in answer_text. */
static inline void tell_at(int port, const char *method, const char *what, const char *text)
{
    struct http_fetch fetch = {0};
    struct http_spec http = HTTP_SPEC_DEFAULT;
    char url[512];
    snprintf(url, sizeof url, "http://127.0.0.1:%d/-/%s", port, what);
    http.method = method;
    http.url = url;
    http.no_proxy = true;
    if (text)
        http.body = (struct http_body){.kind = HTTP_FROM_MEMORY, .data = text, .length = (int64_t)strlen(text)};
    told = 0;
    assert_true(http_fetch_start(&fetch, loop, &http, on_told, NULL));
    TURN_UNTIL(loop, told);
    if (fetch.failure || fetch.status != 200)
        fail_msg("%s %s: %d %s", method, url, fetch.status, fetch.failure ? fetch.err.text : "");
    snprintf(answer_text, sizeof answer_text, "%.*s", (int)fetch.body.length, fetch.body.data ? fetch.body.data : "");
    http_fetch_stop(&fetch);
}
static inline int port(void)
{
    return faults_port(&faults, "plain");
}
static inline void set(const char *json)
{
    tell_at(port(), "PUT", "set", json);
}
static inline void steps(const char *json)
{
    tell_at(port(), "PUT", "steps", json);
}
static inline void object(const char *where, const char *text)
{
    char what[256];
    snprintf(what, sizeof what, "object/%s", where);
    tell_at(port(), "PUT", what, text);
}
/* What lies there now. */
static inline const char *stored(const char *where)
{
    char what[256];
    snprintf(what, sizeof what, "object/%s", where);
    tell_at(port(), "GET", what, NULL);
    return answer_text;
}
static inline const char *log_text(void)
{
    tell_at(port(), "GET", "log", NULL);
    return answer_text;
}
static inline int count_of(const char *text, const char *word)
{
    int count = 0;
    for (const char *at = text; (at = strstr(at, word)); at += strlen(word))
        count++;
    return count;
}

/* --- one test --- */

static inline void open_client(void)
{
    client = aws_client_open(loop, &settings, (struct credentials_store *)&store, NULL);
    assert_non_null(client);
}

static inline int requesting_begin(void **unused)
{
    (void)unused;
    static char url[64];
    ended = 0;
    memset(&request, 0, sizeof request);
    memset(&err, 0, sizeof err);
    memset(&store, 0, sizeof store);
    loop = loop_new(NULL);
    assert_non_null(loop);
    headers_init(&headers, 8192);
    snprintf(url, sizeof url, "http://127.0.0.1:%d", port());
    assert_true(aws_endpoint_read(bytes_of(url), &endpoint, NULL));
    char *const environment[] = {(char *)(uintptr_t) "AWS_REGION=us-east-1", NULL};
    assert_true(aws_settings_read(&settings, &(struct aws_settings_given){environment, NULL, NULL}, NULL));
    set_keys(&store.keys, "test", "secret", NULL);
    store.generation = 1;
    open_client();
    spec = (struct aws_spec){.service = "s3",
                             .method = "GET",
                             .bucket = bytes_of("bucket"),
                             .key = bytes_of("key"),
                             .endpoint = &endpoint,
                             .headers = &headers,
                             .flags = AWS_NO_PROXY};
    tell_at(port(), "DELETE", "", NULL);
    return 0;
}

static inline int requesting_end(void **unused)
{
    (void)unused;
    aws_request_stop(&request);
    aws_client_close(client);
    aws_settings_free(&settings);
    credentials_free(&store.keys);
    credentials_free(&store.next);
    headers_free(&headers);
    http_shutdown();
    assert_int_equal(http_fetch_count(), 0);
    assert_int_equal(loop_watch_count(loop), 0);
    assert_int_equal(loop_timer_count(loop), 0);
    loop_free(loop);
    return 0;
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, requesting_begin, requesting_end)

static inline int s3_server_start(void **unused)
{
    (void)unused;
    faults_start_program(&faults, TEST_SOURCE "/tests/support/fault_s3.py", NULL);
    return 0;
}
static inline int s3_server_stop(void **unused)
{
    (void)unused;
    faults_stop(&faults);
    return 0;
}

static inline void on_done(struct aws_request *r)
{
    (void)r;
    ended++;
}

static inline void start(struct aws_request *r)
{
    if (!aws_request_start(r, client, &spec, on_done, &err))
        fail_msg("%s", err.text);
}

/* The request of `spec`, to its end. */
static inline void run(void)
{
    aws_request_stop(&request);
    ended = 0;
    start(&request);
    assert_int_equal(ended, 0);
    TURN_UNTIL(loop, ended);
    assert_int_equal(ended, 1);
}

static inline const char *body_text(void)
{
    static char text[70000];
    snprintf(text, sizeof text, "%.*s", (int)request.fetch.body.length, request.fetch.body.data ? request.fetch.body.data : "");
    return text;
}

static inline void assert_ok(int status)
{
    if (!request.ok)
        fail_msg("failed: %s", request.err.text);
    assert_int_equal(request.fetch.status, status);
}

static inline void assert_failed(enum err_kind kind, int code, const char *name, ...)
{
    if (request.ok)
        fail_msg("%s expected, but it went well", name);
    va_list words;
    va_start(words, name);
    for (const char *word; (word = va_arg(words, const char *));)
        if (!strstr(request.err.text, word))
            fail_msg("no \"%s\" in: %s", word, request.err.text);
    va_end(words);
    if (request.err.kind != kind)
        fail_msg("%s instead of %s: %s", err_kind_name(request.err.kind), err_kind_name(kind), request.err.text);
    assert_int_equal(request.err.code, code);
    assert_string_equal(request.name, name);
}

#endif
