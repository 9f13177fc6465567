/* What ZooKeeper's numbers, paths and log lines mean. */
#include "appliance/zk_words.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
/* cmocka.h wants these before it */
#include <cmocka.h>

static void test_names_what_failed(void **state)
{
    (void)state;
    struct err err = {0};
    assert_false(zk_fail(&err, ZK_NONODE, "get", "/a"));
    assert_string_equal(err.text, "zk get /a: no such node (NONODE)");
    assert_int_equal(err.kind, ERR_MISSING);
    assert_int_equal(err.code, ZK_NONODE);
    zk_fail(&err, ZK_BADVERSION, "multi", NULL);
    assert_string_equal(err.text, "zk multi: somebody else changed it meanwhile (BADVERSION)");
    assert_int_equal(err.kind, ERR_CONFLICT);
    zk_fail(&err, -555, "set", "/b");
    assert_string_equal(err.text, "zk set /b: an error that this version does not know (ERROR -555)");
    assert_int_equal(err.kind, ERR_PROTOCOL);
    assert_false(zk_fail(NULL, ZK_NONODE, NULL, NULL));
}

static void test_gives_each_number_a_kind(void **state)
{
    (void)state;
    assert_int_equal(zk_code_kind(ZK_CONNECTIONLOSS), ERR_TIMEOUT);
    assert_int_equal(zk_code_kind(ZK_NOAUTH), ERR_DENIED);
    assert_int_equal(zk_code_kind(ZK_NODEEXISTS), ERR_CONFLICT);
    assert_int_equal(zk_code_kind(ZK_CLOSING), ERR_CANCELLED);
    assert_int_equal(zk_code_kind(ZK_TOOLARGE), ERR_INVALID);
    assert_int_equal(zk_code_kind(ZK_QUEUEFULL), ERR_THROTTLED);
    for (int code = -1100; code < 0; code++) {
        assert_non_null(zk_code_name(code));
        assert_true(strlen(zk_code_text(code)) > 3);
        assert_true(zk_code_kind(code) != ERR_NONE);
    }
    assert_int_equal(zk_code_kind(ZK_OK), ERR_NONE);
}

static bool is_fine(const char *path, bool is_sequential)
{
    return zk_path_fault(path, strlen(path), is_sequential) == NULL;
}

static void test_takes_paths_that_servers_take(void **state)
{
    (void)state;
    const char *const good[] = {"/", "/a", "/a/b", "/.a", "/..a/b.", "/a b", "/\xc3\xa4", "/..."};
    const char *const bad[] = {"", "a", "//", "/a/", "/a//b", "/.", "/..", "/a/./b", "/a/../b", "/a\n", "/\x7f", "/a/.."};
    for (size_t i = 0; i < sizeof good / sizeof *good; i++)
        assert_true(is_fine(good[i], false));
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_false(is_fine(bad[i], false));
    assert_non_null(zk_path_fault("/a\0b", 4, false));
    /* a number follows */
    assert_true(is_fine("/a/", true) && is_fine("/a/.", true) && is_fine("/a/..", true) && is_fine("/", true));
    assert_false(is_fine("/a//", true));
    assert_false(is_fine("/./", true));
}

static void assert_words(const char *line, const char *wanted)
{
    char out[240] = "";
    bool has_words = zk_log_words(line, out, sizeof out);
    assert_int_equal(has_words, wanted != NULL);
    if (wanted)
        assert_string_equal(out, wanted);
}

#define HEAD "2026-11-23 04:12:42,123:7(0x7f12):ZOO_ERROR@"

static void test_reads_the_log_of_the_library(void **state)
{
    (void)state;
    assert_words(HEAD "handle_socket_error_msg@2456: Socket 127.0.0.1:2181 zk retcode=-4, errno=111(Connection refused): server refused to "
                      "accept the client",
                 "127.0.0.1:2181: Connection refused");
    assert_words(HEAD "f@1: Socket [::1]:2181 zk retcode=-4, errno=112(Host is down): failed while receiving a server response",
                 "[::1]:2181: it has closed the connection");
    assert_words(HEAD "f@1: Socket [10.0.0.1:2181] zk retcode=-7, errno=110(Connection timed out): connection to 10.0.0.1:2181 timed out",
                 "10.0.0.1:2181: Connection timed out");
    assert_words(HEAD "f@1: Socket 10.0.0.1:2181 zk retcode=-2, errno=0(Success): unexpected server response: expected 0x1",
                 "10.0.0.1:2181: unexpected server response: expected 0x1");
    assert_words(HEAD "f@1: Socket 10.0.0.1:2181 zk retcode=-112, errno=116(Stale file handle): sessionId=0x1 has expired.", NULL);
    assert_words(HEAD "f@99: out of memory\n", "out of memory");
    assert_words("no head at all", "no head at all");
    assert_words("user@host: x@: y", "user@host: x@: y");
    assert_words(HEAD "f@1: Socket 10.0.0.1:2181 and nothing more", NULL);
    assert_words("", NULL);
    char small[8];
    assert_true(zk_log_words(HEAD "f@99: out of memory", small, sizeof small));
    assert_string_equal(small, "out of ");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_names_what_failed),
        cmocka_unit_test(test_gives_each_number_a_kind),
        cmocka_unit_test(test_takes_paths_that_servers_take),
        cmocka_unit_test(test_reads_the_log_of_the_library),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
