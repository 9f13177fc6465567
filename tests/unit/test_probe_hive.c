/* What is asked of a HiveServer2, and how its answer is read, in every piece it may come in. */
#include "appliance/probe_hive.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
/* cmocka.h wants the four above before it */
#include <cmocka.h>

/* As Spark 4.1.1 answered, up to the status. */
#define COMPLETE  "\5\0\0\0\0"
#define FRAME     "\0\0\0\x98"
#define REPLY     "\x80\1\0\2\0\0\0\xbOpenSession\0\0\0\0"
#define EXCEPTION "\x80\1\0\3\0\0\0\xbOpenSession\0\0\0\0"
#define STATUS(n) "\xc\0\0\xc\0\1\x8\0\1\0\0\0" n
#define LENGTH(s) (sizeof(s) - 1)

static void asks_for_a_session_in_one_piece(void **unused)
{
    (void)unused;
    char request[HIVE_REQUEST_MAX];
    size_t length = hive_request(request);
    static const char begins[] = "\1\0\0\0\5PLAIN\2\0\0\0\x12\0spark-appliance\0-\0\0\0";
    assert_true(length > sizeof begins && length < HIVE_REQUEST_MAX);
    assert_memory_equal(request, begins, LENGTH(begins));
    /* the frame's length is that of the rest */
    size_t frame = LENGTH(begins) + 1;
    assert_int_equal((unsigned char)request[LENGTH(begins)], length - frame);
    assert_memory_equal(request + frame, "\x80\1\0\1\0\0\0\xbOpenSession\0\0\0\0\xc\0\1\x8\0\1\0\0\0\7\xb\0\2\0\0\0\xfspark-appliance\0\0",
                        length - frame);
}

static void tells_a_session_from_a_failure(void **unused)
{
    (void)unused;
    static const struct {
        const char *data;
        size_t length;
        enum hive_answer answer;
    } cases[] = {
#define CASE(text, answer) {text, LENGTH(text), answer}
        CASE(COMPLETE FRAME REPLY STATUS("\0"), HIVE_OPEN),
        CASE(COMPLETE FRAME REPLY STATUS("\1"), HIVE_OPEN),
        CASE(COMPLETE FRAME REPLY STATUS("\3") "Hive metastore is gone", HIVE_FAILED),
        CASE(COMPLETE FRAME EXCEPTION, HIVE_FAILED),
        CASE("\3\0\0\0\4nope", HIVE_LOGIN),
        CASE("\4", HIVE_LOGIN),
        CASE("HTTP/1.1 400 Bad Request", HIVE_FOREIGN),
        CASE("\5\0\0\0\1x" FRAME REPLY STATUS("\0"), HIVE_FOREIGN),
        CASE(COMPLETE FRAME "\x80\1\0\2\0\0\0\xc"
                            "CloseSession\0\0\0\0",
             HIVE_FOREIGN),
        CASE(COMPLETE FRAME REPLY "\xc\0\0\xc\0\2\x8\0\1\0\0\0\0", HIVE_FOREIGN),
        CASE("", HIVE_MORE),
        CASE(COMPLETE, HIVE_MORE),
        CASE(COMPLETE FRAME REPLY, HIVE_MORE),
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        assert_int_equal(hive_read(cases[i].data, cases[i].length), cases[i].answer);
}

static void reads_no_more_than_it_has(void **unused)
{
    (void)unused;
    static const char whole[] = COMPLETE FRAME REPLY STATUS("\0");
    for (size_t length = 0; length < LENGTH(whole); length++) {
        char piece[LENGTH(whole)];
        memset(piece, 0x5a, sizeof piece);
        memcpy(piece, whole, length);
        assert_int_equal(hive_read(piece, length), HIVE_MORE);
    }
    assert_true(LENGTH(whole) <= HIVE_ANSWER_MAX);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(asks_for_a_session_in_one_piece),
        cmocka_unit_test(tells_a_session_from_a_failure),
        cmocka_unit_test(reads_no_more_than_it_has),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
