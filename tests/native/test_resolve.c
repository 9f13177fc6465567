/* Names looked up on helper threads, by a resolver of the test's own: one that answers, or fails, when it is told to. */
#include "appliance/offload.h"
#include "appliance/resolve.h"
#include "appliance/sys.h"
#include "turning.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static struct loop *loop;
static int ended;
static int (*real_getaddrinfo)(const char *, const char *, const struct addrinfo *, struct addrinfo **);
static struct {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    int inside, calls;
    bool silent; /* a name server that says nothing until this is false again */
    int code, error;
} server = {.lock = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER};

/* On the helper thread. */
static int fake_getaddrinfo(const char *name, const char *service, const struct addrinfo *hints, struct addrinfo **answer)
{
    pthread_mutex_lock(&server.lock);
    server.inside++;
    server.calls++;
    while (server.silent)
        pthread_cond_wait(&server.changed, &server.lock);
    server.inside--;
    int code = server.code;
    pthread_mutex_unlock(&server.lock);
    errno = server.error;
    if (code != 0)
        return code;
    /* Numeric, so no name server is asked; the real one makes what freeaddrinfo takes. */
    return real_getaddrinfo(strstr(name, "six") ? "fd00::6" : "10.0.0.4", service, hints, answer);
}

static int look(int *what)
{
    pthread_mutex_lock(&server.lock);
    int value = *what;
    pthread_mutex_unlock(&server.lock);
    return value;
}

static void set_silent(bool silent)
{
    pthread_mutex_lock(&server.lock);
    server.silent = silent;
    pthread_cond_broadcast(&server.changed);
    pthread_mutex_unlock(&server.lock);
}

static int begin(void **state)
{
    (void)state;
    loop = loop_new(NULL);
    ended = 0;
    server.calls = server.code = server.error = 0;
    server.silent = false;
    real_getaddrinfo = sys.getaddrinfo;
    sys.getaddrinfo = fake_getaddrinfo;
    return 0;
}

static int end(void **state)
{
    (void)state;
    set_silent(false);
    offload_stop();
    sys.getaddrinfo = real_getaddrinfo;
    assert_int_equal(loop_watch_count(loop), 0);
    loop_free(loop);
    return 0;
}

static void on_end(struct resolve *r)
{
    assert_true(r->done);
    ended++;
}

static void start(struct resolve *r, const char *name)
{
    struct err err;
    if (!resolve_start(r, loop, name, on_end, &err))
        fail_msg("%s", err.text);
}

static void test_a_name_has_addresses(void **state)
{
    (void)state;
    struct resolve four = {0}, six = {0};
    start(&four, "four.example");
    start(&six, "six.example");
    assert_false(four.done);
    TURN_UNTIL(loop, ended == 2);
    assert_true(four.answer.ok);
    assert_int_equal(four.answer.count, 1);
    assert_string_equal(four.answer.addresses[0], "10.0.0.4");
    assert_string_equal(six.answer.addresses[0], "fd00::6");
    resolve_stop(&four);
    resolve_stop(&six);
}

static void test_an_address_is_answered_at_once(void **state)
{
    (void)state;
    static const char *const given[][2] = {{"10.1.2.3", "10.1.2.3"}, {"::1", "::1"}, {"[fd00::1]", "fd00::1"}};
    for (size_t i = 0; i < sizeof given / sizeof *given; i++) {
        struct resolve r = {0};
        start(&r, given[i][0]);
        assert_true(r.done && r.answer.ok);
        assert_string_equal(r.answer.addresses[0], given[i][1]);
    }
    assert_int_equal(server.calls, 0);
    assert_int_equal(ended, 0);
}

static void test_a_failure_says_what_it_is(void **state)
{
    (void)state;
    static const struct {
        int code, error;
        enum err_kind kind;
        const char *word;
    } failures[] = {{EAI_NONAME, 0, ERR_MISSING, "a.example: there is no such name"},
                    {EAI_AGAIN, 0, ERR_TIMEOUT, "a.example: no name server answered"},
                    {EAI_SYSTEM, EACCES, ERR_DENIED, "a.example: can't be looked up"},
                    {EAI_FAIL, 0, ERR_SYSTEM, "a.example: can't be looked up"}};
    for (size_t i = 0; i < sizeof failures / sizeof *failures; i++) {
        struct resolve r = {0};
        server.code = failures[i].code;
        server.error = failures[i].error;
        ended = 0;
        start(&r, "a.example");
        TURN_UNTIL(loop, ended);
        assert_false(r.answer.ok);
        assert_int_equal(r.answer.err.kind, failures[i].kind);
        assert_non_null(strstr(r.answer.err.text, failures[i].word));
    }
}

static void test_what_can_be_no_name_is_refused(void **state)
{
    (void)state;
    struct resolve r = {0};
    struct err err;
    char longest[400];
    memset(longest, 'a', sizeof longest);
    longest[sizeof longest - 1] = 0;
    assert_false(resolve_start(&r, loop, "", on_end, &err));
    assert_false(resolve_start(&r, loop, longest, on_end, &err));
    assert_int_equal(err.kind, ERR_INVALID);
    resolve_stop(&r);
}

static void test_a_silent_server_costs_few_threads_however_often_it_is_asked(void **state)
{
    (void)state;
    enum { MANY = 300, NAMES = 20 };
    static struct resolve asked[MANY];
    set_silent(true);
    for (int i = 0; i < MANY; i++) {
        char name[32];
        snprintf(name, sizeof name, "host%d.example", i % NAMES);
        start(&asked[i], name);
        if (i % 3 == 0)
            resolve_stop(&asked[i]); /* gave up */
    }
    TURN_UNTIL(loop, look(&server.inside) == RESOLVE_AT_ONCE);
    assert_int_equal(offload_count(), RESOLVE_AT_ONCE);
    set_silent(false);
    TURN_UNTIL(loop, ended == MANY - MANY / 3);
    assert_int_equal(server.calls, NAMES);
    for (int i = 0; i < MANY; i++)
        assert_int_equal(asked[i].done, i % 3 != 0);
}

static struct resolve pair[2];

static void stop_the_other(struct resolve *r)
{
    ended++;
    resolve_stop(r == &pair[0] ? &pair[1] : &pair[0]);
}

static void test_being_told_one_may_stop_another(void **state)
{
    (void)state;
    set_silent(true);
    for (int i = 0; i < 2; i++)
        assert_true(resolve_start(&pair[i], loop, "same.example", stop_the_other, NULL));
    set_silent(false);
    TURN_UNTIL(loop, offload_count() == 0);
    assert_int_equal(ended, 1);
    assert_int_equal(server.calls, 1);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, begin, end)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_a_name_has_addresses),
        TEST(test_an_address_is_answered_at_once),
        TEST(test_a_failure_says_what_it_is),
        TEST(test_what_can_be_no_name_is_refused),
        TEST(test_a_silent_server_costs_few_threads_however_often_it_is_asked),
        TEST(test_being_told_one_may_stop_another),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
