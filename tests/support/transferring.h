/* transferring.h - whole downloads and uploads against tests/support/fault_s3.py, turned in place until they are done. */
#ifndef TEST_TRANSFERRING_H
#define TEST_TRANSFERRING_H

#include "appliance/offload.h"
#include "appliance/s3_get.h"
#include "appliance/s3_parts.h"
#include "appliance/s3_put.h"
#include "requesting.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

static struct s3_get get;
static struct s3_get_spec get_spec;
static struct s3_put put;
static struct s3_put_spec put_spec;
static char *folder;
static int descriptors;

static inline int transfer_begin(void **unused)
{
    signal(SIGPIPE, SIG_IGN);
    requesting_begin(unused);
    folder = scratch_new();
    memset(&get, 0, sizeof get);
    memset(&put, 0, sizeof put);
    get_spec = (struct s3_get_spec){.request = spec, .ceiling = 64 << 20, .fd = -1};
    put_spec = (struct s3_put_spec){.request = spec, .fd = -1};
    http_shutdown(); /* what told the server to begin anew */
    descriptors = open_descriptors();
    return 0;
}

static inline int transfer_end(void **unused)
{
    s3_get_stop(&get);
    s3_put_stop(&put);
    s3_put_drop_leftovers();
    offload_stop();
    http_shutdown();
    assert_int_equal(open_descriptors(), descriptors);
    scratch_free(folder);
    return requesting_end(unused);
}

#define TRANSFER(name) cmocka_unit_test_setup_teardown(name, transfer_begin, transfer_end)

/* --- bytes that tell where they are from --- */

static inline char pattern_at(int64_t at)
{
    return (char)((uint64_t)at * 2654435761u >> 13);
}

static inline char *pattern(size_t length)
{
    char *data = malloc(length + 1);
    for (size_t i = 0; i < length; i++)
        data[i] = pattern_at((int64_t)i);
    data[length] = 0;
    return data;
}

static inline bool is_pattern(const char *data, size_t length, int64_t first)
{
    for (size_t i = 0; i < length; i++)
        if (data[i] != pattern_at(first + (int64_t)i))
            return false;
    return true;
}

/* An object of that length in the server, as another client would have put it there, with a checksum header or NULL. */
static inline void place_with(const char *where, size_t length, const char *header, const char *value)
{
    struct headers sums;
    headers_init(&sums, 1024);
    if (header)
        assert_true(headers_add_text(&sums, header, value, NULL));
    struct http_fetch fetch = {0};
    struct http_spec http = HTTP_SPEC_DEFAULT;
    char url[512];
    char *data = pattern(length);
    snprintf(url, sizeof url, "http://127.0.0.1:%d/-/object/%s", port(), where);
    http.method = "PUT";
    http.url = url;
    http.no_proxy = true;
    http.headers = &sums;
    http.body = (struct http_body){.kind = HTTP_FROM_MEMORY, .data = data, .length = (int64_t)length};
    told = 0;
    assert_true(http_fetch_start(&fetch, loop, &http, on_told, NULL));
    TURN_UNTIL(loop, told);
    assert_int_equal(fetch.status, 200);
    http_fetch_stop(&fetch);
    headers_free(&sums);
    free(data);
}

static inline void place(const char *where, size_t length)
{
    place_with(where, length, NULL, NULL);
}

/* That the object in the server has these bytes. */
static inline void assert_stored(const char *where, size_t length)
{
    struct http_fetch fetch = {0};
    struct http_spec http = HTTP_SPEC_DEFAULT;
    char url[512];
    snprintf(url, sizeof url, "http://127.0.0.1:%d/-/object/%s", port(), where);
    http.url = url;
    http.no_proxy = true;
    http.ceiling = 256 << 20;
    told = 0;
    assert_true(http_fetch_start(&fetch, loop, &http, on_told, NULL));
    TURN_UNTIL(loop, told);
    assert_int_equal(fetch.status, 200);
    assert_int_equal(fetch.body.length, length);
    assert_true(is_pattern(fetch.body.data, length, 0));
    http_fetch_stop(&fetch);
}

static inline const char *make_file(const char *name, size_t length)
{
    const char *path = scratch_path(folder, name);
    char *data = pattern(length);
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, data, length), length);
    close(fd);
    free(data);
    return path;
}

static inline void assert_file(const char *path, size_t length)
{
    char *data = malloc(length + 1);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    assert_true(fd >= 0);
    size_t at = 0;
    ssize_t count;
    while (at <= length && (count = read(fd, data + at, length + 1 - at)) > 0)
        at += (size_t)count;
    close(fd);
    assert_int_equal(at, length);
    assert_true(is_pattern(data, length, 0));
    free(data);
}

static inline int entries_in(const char *path)
{
    char command[600];
    snprintf(command, sizeof command, "ls -A '%s' | wc -l", path);
    FILE *list = popen(command, "r");
    int count = -1;
    assert_int_equal(fscanf(list, "%d", &count), 1);
    pclose(list);
    return count;
}

/* --- to the end --- */

static inline void on_got(struct s3_get *g)
{
    (void)g;
    ended++;
}
static inline void on_put_done(struct s3_put *p)
{
    (void)p;
    ended++;
}

static inline void start_get(void)
{
    s3_get_stop(&get);
    ended = 0;
    if (!s3_get_start(&get, loop, client, &get_spec, on_got, &err))
        fail_msg("%s", err.text);
    assert_int_equal(ended, 0);
}

static inline void run_get(void)
{
    start_get();
    TURN_UNTIL(loop, ended);
    assert_int_equal(ended, 1);
}

static inline void start_put(void)
{
    s3_put_stop(&put);
    ended = 0;
    if (!s3_put_start(&put, loop, client, &put_spec, on_put_done, &err))
        fail_msg("%s", err.text);
    assert_int_equal(ended, 0);
}

static inline void run_put(void)
{
    start_put();
    TURN_UNTIL(loop, ended);
    assert_int_equal(ended, 1);
}

static inline void assert_got(int64_t length)
{
    if (!get.ok)
        fail_msg("failed: %s", get.err.text);
    assert_int_equal(get.length, length);
    assert_int_equal(get.received, length);
}

static inline void assert_put(void)
{
    if (!put.ok)
        fail_msg("failed: %s", put.err.text);
}

static inline void assert_words(bool ok, const struct err *e, enum err_kind kind, va_list words)
{
    if (ok)
        fail_msg("it went well, and should not");
    for (const char *word; (word = va_arg(words, const char *));)
        if (!strstr(e->text, word))
            fail_msg("no \"%s\" in: %s", word, e->text);
    if (e->kind != kind)
        fail_msg("%s instead of %s: %s", err_kind_name(e->kind), err_kind_name(kind), e->text);
}

static inline void assert_get_failed(enum err_kind kind, ...)
{
    va_list words;
    va_start(words, kind);
    assert_words(get.ok, &get.err, kind, words);
    va_end(words);
}

static inline void assert_put_failed(enum err_kind kind, ...)
{
    va_list words;
    va_start(words, kind);
    assert_words(put.ok, &put.err, kind, words);
    va_end(words);
}

#endif
