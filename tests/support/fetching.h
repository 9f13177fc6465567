/* fetching.h - one fetch against the fault server, turned in place until it is done. */
#ifndef TEST_FETCHING_H
#define TEST_FETCHING_H

#include "appliance/http.h"
#include "faults.h"
#include "turning.h"

#include <stdio.h>
#include <string.h>

static struct loop *loop;
static struct faults faults;
static struct http_fetch fetch;
static struct http_spec spec;
static struct headers request_headers;
static struct err err;
static int ended;

static inline void on_done(struct http_fetch *f)
{
    (void)f;
    ended++;
}

/* A URL of the fault server: scheme and host as given, its port, then the path. Good until the next-but-three call. */
static inline const char *at_port(const char *start, const char *name, const char *path)
{
    static char urls[4][4096];
    static int next;
    char *url = urls[next++ % 4];
    snprintf(url, sizeof urls[0], "%s:%d%s", start, faults_port(&faults, name), path);
    return url;
}
static inline const char *at(const char *path)
{
    return at_port("http://127.0.0.1", "plain", path);
}

/* Every test begins with `spec` at its defaults, but without a proxy, and nothing open. */
static inline int fetch_begin(void **unused)
{
    (void)unused;
    ended = 0;
    memset(&fetch, 0, sizeof fetch);
    memset(&err, 0, sizeof err);
    spec = HTTP_SPEC_DEFAULT;
    spec.no_proxy = true;
    headers_init(&request_headers, 8192);
    loop = loop_new(NULL);
    assert_non_null(loop);
    return 0;
}

static inline int fetch_end(void **unused)
{
    (void)unused;
    http_fetch_stop(&fetch);
    http_shutdown();
    headers_free(&request_headers);
    assert_int_equal(http_fetch_count(), 0);
    assert_int_equal(loop_watch_count(loop), 0);
    assert_int_equal(loop_timer_count(loop), 0);
    loop_free(loop);
    return 0;
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, fetch_begin, fetch_end)

/* Setup and teardown of a group: the server without TLS. */
static inline int plain_server_start(void **unused)
{
    (void)unused;
    faults_start(&faults, NULL);
    return 0;
}

static inline int plain_server_stop(void **unused)
{
    (void)unused;
    faults_stop(&faults);
    return 0;
}

static inline void start(struct http_fetch *f, const char *url)
{
    spec.url = url;
    spec.headers = &request_headers;
    if (!http_fetch_start(f, loop, &spec, on_done, &err))
        fail_msg("%s", err.text);
}

/* The fetch of `url` by `spec`, to its end. */
static inline void run(const char *url)
{
    http_fetch_stop(&fetch);
    ended = 0;
    start(&fetch, url);
    TURN_UNTIL(loop, ended);
    assert_int_equal(ended, 1);
}

static inline const char *body_text(void)
{
    static char text[70000];
    snprintf(text, sizeof text, "%.*s", (int)fetch.body.length, fetch.body.data ? fetch.body.data : "");
    return text;
}

static inline void assert_answer(int status, const char *body)
{
    if (fetch.failure)
        fail_msg("failed: %s", fetch.err.text);
    assert_int_equal(fetch.status, status);
    assert_string_equal(body_text(), body);
}

/* That it failed so, with a sentence that has all these words, ended by NULL. */
static inline void assert_failure(enum http_failure failure, ...)
{
    if (fetch.failure != failure)
        fail_msg("%s instead of %s: %s", http_failure_name(fetch.failure), http_failure_name(failure), fetch.err.text);
    va_list words;
    va_start(words, failure);
    for (const char *word; (word = va_arg(words, const char *));)
        if (!strstr(fetch.err.text, word))
            fail_msg("no \"%s\" in: %s", word, fetch.err.text);
    va_end(words);
}

static inline bool is_pattern(const char *data, size_t length, size_t first)
{
    for (size_t i = 0; i < length; i++)
        if ((unsigned char)data[i] != (first + i) % 251)
            return false;
    return true;
}

#endif
