/* giving.h - tests of those who get credentials, against tests/support/fake_imds.py: scripts it, counts what it was asked, and gives an
 * environment that leads there and nowhere else. */
#ifndef TEST_GIVING_H
#define TEST_GIVING_H

#include "appliance/http.h"
#include "appliance/json.h"
#include "faults.h"
#include "turning.h"

#include <stdio.h>
#include <string.h>

static struct loop *loop;
static struct faults giver;

/* --- the environment: a list as of environ(7), empty but for a HOME that does not exist --- */

enum { SETTINGS = 40 };
static char *environment[SETTINGS + 1];

static inline void set(const char *name, const char *format, ...) __attribute__((format(printf, 2, 3)));

static inline void set(const char *name, const char *format, ...)
{
    char value[4096], *text = NULL;
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(value, sizeof value, format, arguments);
    va_end(arguments);
    size_t length = strlen(name);
    assert_true(asprintf(&text, "%s=%s", name, value) > 0);
    for (int i = 0; i < SETTINGS; i++)
        if (!environment[i] || (strncmp(environment[i], name, length) == 0 && environment[i][length] == '=')) {
            free(environment[i]);
            environment[i] = text;
            return;
        }
    fail_msg("too many settings");
}

static inline void forget_settings(void)
{
    for (int i = 0; i < SETTINGS; i++) {
        free(environment[i]);
        environment[i] = NULL;
    }
}

static inline const char *giver_at(const char *path)
{
    static char urls[4][300];
    static int next;
    char *url = urls[next++ % 4];
    snprintf(url, sizeof urls[0], "http://127.0.0.1:%d%s", faults_port(&giver, "plain"), path);
    return url;
}

/* --- talking to it --- */

static inline void giver_done(struct http_fetch *fetch)
{
    (void)fetch;
}

/* The answer's body, valid until the next call. */
static inline const char *giver_request(const char *method, const char *path, const char *body)
{
    static char text[64 * 1024];
    struct http_fetch fetch;
    struct http_spec spec = HTTP_SPEC_DEFAULT;
    struct err err;
    spec.method = method;
    spec.url = giver_at(path);
    spec.no_proxy = true;
    if (body)
        spec.body = (struct http_body){.kind = HTTP_FROM_MEMORY, .data = body, .length = (int64_t)strlen(body)};
    if (!http_fetch_start(&fetch, loop, &spec, giver_done, &err))
        fail_msg("%s", err.text);
    TURN_UNTIL(loop, fetch.status || fetch.failure);
    TURN_UNTIL(loop, !fetch.transfer);
    if (fetch.failure)
        fail_msg("%s", fetch.err.text);
    assert_int_equal(fetch.status, 200);
    snprintf(text, sizeof text, "%.*s", (int)fetch.body.length, fetch.body.data ? fetch.body.data : "");
    http_fetch_stop(&fetch);
    return text;
}

/* JSON with ' in place of ". */
static inline void giver_script(const char *json)
{
    char text[2000];
    snprintf(text, sizeof text, "%s", json);
    for (char *c = text; *c; c++)
        *c = *c == '\'' ? '"' : *c;
    giver_request("PUT", "/test/script", text);
}

#define GIVER_AS_NEW                                                                                                                  \
    "{'token':'ok','get':'ok','container':'ok','sts':'ok','proxy':false,'v1':false,'ttl':21600,'role':'spark-node','code':'Success'," \
    "'lifetime':21600,'keep':false,'authorization':null,'region':'eu-west-1','zone':'eu-west-1b','tags':null,'spot':null,"            \
    "'rebalance':null,'lifecycle':null,'clock':0}"

static inline int giver_count(const char *what)
{
    struct json_document document;
    const char *text = giver_request("GET", "/test/counts", NULL);
    double number = -1;
    assert_true(json_read(&document, bytes_of(text), NULL, NULL));
    json_number(json_get(document.root, what), &number);
    json_free(&document);
    return (int)number;
}

/* A field of what was sent last, as "sts", "RoleArn"; "" when there is none. Valid until the next call. */
static inline const char *giver_last(const char *what, const char *field)
{
    static char text[4096];
    struct json_document document;
    struct bytes value = {"", 0};
    assert_true(json_read(&document, bytes_of(giver_request("GET", "/test/counts", NULL)), NULL, NULL));
    json_text(json_get(json_get(json_get(document.root, "last"), what), field), &value);
    snprintf(text, sizeof text, "%.*s", (int)value.length, value.data);
    json_free(&document);
    return text;
}

/* --- setup and teardown --- */

static inline int giver_start(void **unused)
{
    (void)unused;
    faults_start_program(&giver, TEST_SOURCE "/tests/support/fake_imds.py", NULL);
    return 0;
}

static inline int giver_stop(void **unused)
{
    (void)unused;
    faults_stop(&giver);
    return 0;
}

static inline int giving_begin(void **unused)
{
    (void)unused;
    loop = loop_new(NULL);
    assert_non_null(loop);
    giver_request("GET", "/test/reset", NULL);
    giver_script(GIVER_AS_NEW);
    set("HOME", "/nonexistent");
    set("PATH", "/usr/bin:/bin");
    return 0;
}

/* Whatever the test owned must be stopped by now. */
static inline int giving_end(void **unused)
{
    (void)unused;
    http_shutdown();
    assert_int_equal(http_fetch_count(), 0);
    assert_int_equal(loop_watch_count(loop), 0);
    assert_int_equal(loop_timer_count(loop), 0);
    loop_free(loop);
    forget_settings();
    return 0;
}

#define GIVING(name) cmocka_unit_test_setup_teardown(name, giving_begin, giving_end)

#define assert_says(text, words)                           \
    do {                                                   \
        if (!strstr(text, words))                          \
            fail_msg("no \"%s\" in: %s", (words), (text)); \
    } while (0)

#endif
