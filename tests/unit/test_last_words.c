/* What a program died of, from what it printed last: pure. */
#include "appliance/last_words.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static const char *explain(const char *text)
{
    static char copy[LAST_WORDS_READ + 1], out[200];
    snprintf(copy, sizeof copy, "%s", text);
    bool is_known = last_words_explain(copy, out, sizeof out);
    assert_int_equal(is_known, out[0] != 0);
    return out;
}

static void the_port_that_is_taken_is_named(void **unused)
{
    (void)unused;
    static const char spark[] = "WARN Utils: Service 'sparkMaster' could not bind on port 7077. Attempting port 7078.\n"
                                "Exception in thread \"main\" java.net.BindException: Address already in use: Service 'sparkMaster' failed "
                                "after 0 retries (starting from 7077)! Consider explicitly setting the appropriate port\n"
                                "\tat java.base/sun.nio.ch.Net.bind0(Native Method)\n\tat java.base/java.lang.Thread.run(Thread.java:840)\n"
                                "INFO ShutdownHookManager: Shutdown hook called\n";
    assert_string_equal(explain(spark), "port 7077 is taken (its last words: Address already in use: Service 'sparkMaster' failed after 0 "
                                        "retries (starting from 7077)! Consider explicitly ...)");
    assert_string_equal(
        explain("org.apache.thrift.transport.TTransportException: Could not create ServerSocket on address /0.0.0.0:10000.\n"
                "\tat a.b(C.java:1)\nCaused by: java.net.BindException: Address already in use (Bind failed)\n"),
        "port 10000 is taken (its last words: org.apache.thrift.transport.TTransportException: Could not create ServerSocket on address "
        "/0.0.0.0:10000.)");
    static const struct {
        const char *line;
        int port;
    } others[] = {
        {"nginx: [emerg] bind() to 0.0.0.0:80 failed (98: Address already in use)", 80},
        {"Error: listen EADDRINUSE: address already in use :::8080", 8080},
        {"2026/11/22 18:10:02 listen tcp :9090: bind: address already in use", 9090},
        {"[Errno 98] error while attempting to bind on address ('0.0.0.0', 8000): address already in use", 8000},
        {"18:10:02 OSError: [Errno 98] Address already in use", 0},
        {"2026-11-22T18:10:02+01:00 Address already in use", 0},
        {"Address already in use:123456", 0},
    };
    for (size_t i = 0; i < sizeof others / sizeof *others; i++) {
        char beginning[64] = "a port that it needs is taken (";
        if (others[i].port)
            snprintf(beginning, sizeof beginning, "port %d is taken (", others[i].port);
        const char *said = explain(others[i].line);
        assert_int_equal(strncmp(said, beginning, strlen(beginning)), 0);
    }
}

static void other_reasons_are_known(void **unused)
{
    (void)unused;
    assert_string_equal(explain("a\njava.lang.OutOfMemoryError: Java heap space\n"),
                        "its memory was full (its last words: java.lang.OutOfMemoryError: Java heap space)");
    assert_non_null(strstr(explain("java.lang.OutOfMemoryError: unable to create native thread\n"), "no more threads"));
    assert_non_null(
        strstr(explain("Error: LinkageError\njava.lang.UnsupportedClassVersionError: x/Y has been compiled\n"), "its Java is too old"));
    assert_non_null(strstr(explain("cp: error writing 'x': No space left on device\n"), "the disk is full"));
    assert_string_equal(explain("sh: 1: cannot open /x: No such file or directory"),
                        "a file is missing (its last words: sh: 1: cannot open /x: No such file or directory)");
}

static void a_remark_long_before_is_no_reason(void **unused)
{
    (void)unused;
    assert_string_equal(explain("cat: /x: No such file or directory\none\ntwo\nthree\n"), "");
    assert_string_equal(explain("all is well\n"), "");
    assert_string_equal(explain(""), "");
    assert_string_equal(explain("\n\n\n"), "");
    char text[LAST_WORDS_READ] = "java.lang.OutOfMemoryError\n";
    for (int i = 0; i < 40; i++)
        strcat(text, "and on it went\n");
    assert_string_equal(explain(text), "");
}

static void the_last_known_word_counts(void **unused)
{
    (void)unused;
    assert_non_null(strstr(explain("BindException: Address already in use :80\njava.lang.OutOfMemoryError: x\n"), "its memory was full ("));
    assert_non_null(
        strstr(explain("java.lang.OutOfMemoryError: x\nBindException: Address already in use\n"), "a port that it needs is taken ("));
}

static void what_is_quoted_fits_into_a_sentence(void **unused)
{
    (void)unused;
    char line[LAST_WORDS_READ] =
        "{\"ts\":\"2026-11-22T18:10:02Z\",\"level\":\"ERROR\",\"logger\":\"a.b.c\",\"msg\":\"No space left on device\\t\x01";
    for (int i = 0; i < 200; i++)
        strcat(line, "\xC3\xA4");
    const char *said = explain(line);
    assert_non_null(strstr(said, "(its last words: No space left on device\\t "));
    assert_true(strlen(said) < 180);
    assert_string_equal(said + strlen(said) - 7, "\xC3\xA4 ...)"); /* a whole letter stands before the dots */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_port_that_is_taken_is_named),     cmocka_unit_test(other_reasons_are_known),
        cmocka_unit_test(a_remark_long_before_is_no_reason),   cmocka_unit_test(the_last_known_word_counts),
        cmocka_unit_test(what_is_quoted_fits_into_a_sentence),
    };
    return cmocka_run_group_tests_name("last words", tests, NULL, NULL);
}
