/* asking.h - tests of the store of credentials: one that asks fake_imds.py, and somebody who asks it. */
#ifndef TEST_ASKING_H
#define TEST_ASKING_H

#include "giving.h"

#include "appliance/credentials.h"
#include "appliance/log.h"

enum { MANY = 50, HOUR_MS = 3600 * 1000 };

static struct credentials_store *store;
static struct credentials_spec spec;
static struct credentials_ask asks[MANY];
static int ended;
static char *folder;
static char said[8192]; /* what the log got */

#define ROLE "arn:aws:iam::123456789012:role/reader"

static inline void on_told(struct credentials_ask *ask)
{
    (void)ask;
    ended++;
}

static inline void keep_log(enum log_level level, const char *text, size_t length)
{
    (void)level;
    size_t have = strlen(said);
    snprintf(said + have, sizeof said - have, "%.*s\n", (int)length, text);
}

static inline int begin(void **state)
{
    giving_begin(state);
    folder = scratch_new();
    memset(asks, 0, sizeof asks);
    said[0] = 0;
    log_set_sink(keep_log);
    spec = (struct credentials_spec){.environment = environment};
    store = NULL;
    set("AWS_REGION", "eu-west-1");
    return 0;
}

static inline int end(void **state)
{
    for (int i = 0; i < MANY; i++)
        credentials_ask_stop(&asks[i]);
    credentials_close(store);
    unsetenv("https_proxy");
    log_set_sink(NULL);
    scratch_free(folder);
    return giving_end(state);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, begin, end)

static inline void from_instance(void)
{
    set("AWS_EC2_METADATA_SERVICE_ENDPOINT", "%s", giver_at("/"));
    set("AWS_METADATA_SERVICE_TIMEOUT", "15");
    set("AWS_METADATA_SERVICE_NUM_ATTEMPTS", "1");
}

static inline void from_container(void)
{
    set("AWS_CONTAINER_CREDENTIALS_FULL_URI", "%s", giver_at("/container/role"));
}

static inline struct credentials_ask *ask_for(const char *role)
{
    struct err err;
    if (!store)
        store = credentials_open(loop, &spec, &err);
    assert_non_null(store);
    credentials_ask_stop(&asks[0]);
    ended = 0;
    if (!credentials_ask_start(&asks[0], store, role, on_told, &err))
        fail_msg("%s", err.text);
    assert_int_equal(ended, 0);
    TURN_UNTIL(loop, ended);
    return &asks[0];
}

static inline void assert_keys(const char *role, const char *id)
{
    struct credentials_ask *ask = ask_for(role);
    if (!ask->ok)
        fail_msg("%s", ask->err.text);
    assert_string_equal(ask->keys.access_key_id, id);
}

static inline void assert_refused(const char *role, enum err_kind kind, const char *words)
{
    struct credentials_ask *ask = ask_for(role);
    assert_false(ask->ok);
    assert_null(ask->keys.access_key_id);
    assert_says(ask->err.text, words);
    assert_int_equal(ask->err.kind, kind);
}

static inline void write_profiles(const char *format, ...) __attribute__((format(printf, 1, 2)));

static inline void write_profiles(const char *format, ...)
{
    char text[2000];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    scratch_write(folder, "config", text, 0600);
    set("AWS_CONFIG_FILE", "%s", scratch_path(folder, "config"));
}

#endif
