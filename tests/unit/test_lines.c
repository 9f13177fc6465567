/* Cutting bytes into blocks of whole lines, escaping for JSON, and the ring of last lines: pure. */
#include "appliance/lines.h"
#include "appliance/ring.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

struct seen {
    char data[1 << 16];
    size_t length;
    int blocks;
};

static void see(void *argument, const char *block, size_t length)
{
    struct seen *seen = argument;
    assert_int_equal(block[length - 1], '\n');
    assert_true(seen->length + length <= sizeof seen->data);
    memcpy(seen->data + seen->length, block, length);
    seen->length += length;
    seen->blocks++;
}

static void feed(struct lines *l, const char *text, size_t front, struct seen *seen)
{
    char *data = malloc(front + strlen(text) + 1); /* exactly, so that a sanitizer sees one byte too many */
    memcpy(data + front, text, strlen(text));
    lines_feed(l, data + front, strlen(text), front, see, seen);
    free(data);
}

static void assert_seen(const struct seen *seen, const char *text)
{
    assert_int_equal(seen->length, strlen(text));
    assert_memory_equal(seen->data, text, seen->length);
}

static void whole_lines_come_as_one_block(void **state)
{
    (void)state;
    struct lines l = {.ceiling = 1024};
    struct seen seen = {.length = 0};
    feed(&l, "one\ntwo\n\nfour\n", 0, &seen);
    assert_seen(&seen, "one\ntwo\n\nfour\n");
    assert_int_equal(seen.blocks, 1);
    assert_null(l.carry); /* nothing unfinished, nothing allocated */
}

static void an_unfinished_line_waits_for_its_end(void **state)
{
    (void)state;
    for (size_t front = 0; front <= 64; front += 32) {
        struct lines l = {.ceiling = 1024};
        struct seen seen = {.length = 0};
        feed(&l, "one\ntw", front, &seen);
        assert_seen(&seen, "one\n");
        feed(&l, "o\nth", front, &seen);
        feed(&l, "re", front, &seen);
        assert_seen(&seen, "one\ntwo\n");
        feed(&l, "e\n", front, &seen);
        assert_seen(&seen, "one\ntwo\nthree\n");
        lines_trim(&l);
        assert_null(l.carry);
    }
}

static void the_end_completes_a_line(void **state)
{
    (void)state;
    struct lines l = {.ceiling = 1024};
    struct seen seen = {.length = 0};
    lines_end(&l, see, &seen);
    assert_int_equal(seen.blocks, 0);
    feed(&l, "last words", 0, &seen);
    lines_end(&l, see, &seen);
    lines_end(&l, see, &seen);
    assert_seen(&seen, "last words\n");
    lines_free(&l);
}

static void a_long_line_comes_in_marked_parts(void **state)
{
    (void)state;
    struct lines l = {.ceiling = 8};
    struct seen seen = {.length = 0};
    feed(&l, "12345678", 0, &seen);
    feed(&l, "\n", 0, &seen); /* just fits */
    assert_seen(&seen, "12345678\n");
    seen.length = 0;
    feed(&l, "abcdefgh", 0, &seen);
    feed(&l, "ijklmnop", 0, &seen);
    feed(&l, "q\nrest\n", 0, &seen);
    assert_seen(&seen, "abcdefgh" LINE_PART_MARK "ijklmnop" LINE_PART_MARK "q\nrest\n");
    lines_free(&l);
}

static void newlines_are_counted_at_any_length_and_place(void **state)
{
    (void)state;
    char *data = malloc(20000);
    memset(data, '\n', 20000);
    for (size_t length = 0; length < 300; length++)
        assert_int_equal(lines_count(data + length % 17, length), length);
    assert_int_equal(lines_count(data, 20000), 20000); /* more than a lane can count at once */
    memset(data, 'x', 20000);
    assert_int_equal(lines_count(data, 20000), 0);
    for (size_t at = 0; at < 20000; at += 97)
        data[at] = '\n';
    assert_int_equal(lines_count(data, 20000), 20000 / 97 + 1);
    free(data);
}

static void assert_escaped(const char *text, size_t length, const char *expected)
{
    char *out = malloc(length * JSON_GROWTH + 1);
    size_t size = json_escape(out, text, length);
    out[size] = '\0';
    assert_string_equal(out, expected);
    free(out);
}

static void json_is_escaped_and_always_utf8(void **state)
{
    (void)state;
    static const struct {
        const char *text, *escaped;
    } cases[] = {
        {"", ""},
        {"plain text, 100 %", "plain text, 100 %"},
        {"say \"yes\" to C:\\", "say \\\"yes\\\" to C:\\\\"},
        {"\b\f\n\r\t\x1b[31m\x01\x7f", "\\b\\f\\n\\r\\t\\u001b[31m\\u0001\x7f"},
        {"gr\xc3\xbc\xc3\x9f \xe2\x82\xac \xf0\x9f\x98\x80", "gr\xc3\xbc\xc3\x9f \xe2\x82\xac \xf0\x9f\x98\x80"},
        {"\xff", "\xef\xbf\xbd"},
        {"a\xc3", "a\xef\xbf\xbd"},                                               /* cut off */
        {"\xe2\x82z", "\xef\xbf\xbdz"},                                           /* the valid beginning counts once */
        {"\xc0\xaf", "\xef\xbf\xbd\xef\xbf\xbd"},                                 /* overlong */
        {"\xed\xa0\x80", "\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd"},                 /* surrogate */
        {"\xf4\x90\x80\x80", "\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd"}, /* beyond Unicode */
        {"\x80\xbf", "\xef\xbf\xbd\xef\xbf\xbd"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        assert_escaped(cases[i].text, strlen(cases[i].text), cases[i].escaped);
    assert_escaped("a\0b", 3, "a\\u0000b");
}

static void assert_amount(uint64_t lines, uint64_t bytes, const char *expected)
{
    char text[64];
    lines_amount(text, sizeof text, lines, bytes);
    assert_string_equal(text, expected);
}

static void amounts_read_well(void **state)
{
    (void)state;
    assert_amount(1, 1, "1 line (1 byte)");
    assert_amount(12, 400, "12 lines (400 bytes)");
    assert_amount(1234, 57344, "1,234 lines (56 KiB)");
    assert_amount(1234567, 123456789, "1,234,567 lines (117 MiB)");
    assert_amount(UINT64_MAX, UINT64_MAX, "18,446,744,073,709,551,615 lines (17592186044415 MiB)");
}

static void assert_ring(const struct ring *r, size_t limit, const char *expected)
{
    char *out = malloc(limit + 1);
    size_t length = ring_lines(r, out, limit);
    assert_true(length <= limit);
    out[length] = '\0';
    assert_string_equal(out, expected);
    free(out);
}

static void the_ring_keeps_the_newest_whole_lines(void **state)
{
    (void)state;
    struct ring r = {0};
    assert_ring(&r, 100, "");
    ring_add(&r, "one\ntwo\n", 8, 2048);
    assert_ring(&r, 100, "one\ntwo\n");
    assert_ring(&r, 7, "two\n");
    assert_ring(&r, 2, "o\n"); /* rather the end of a line than nothing */
    char line[16];
    for (int i = 0; i < 1000; i++)
        ring_add(&r, line, (size_t)snprintf(line, sizeof line, "line %d\n", i), 2048);
    assert_int_equal(r.size, 2048);
    assert_ring(&r, 20, "line 998\nline 999\n");
    char *all = malloc(2048);
    size_t length = ring_lines(&r, all, 2048);
    assert_true(length > 2000);
    assert_memory_equal(all, "line ", 5);
    free(all);
    ring_add(&r, "end\n", 4, 1024); /* its share has become less */
    assert_int_equal(r.size, 1024);
    assert_ring(&r, 14, "line 999\nend\n");
    char big[3000];
    memset(big, 'x', sizeof big);
    memcpy(big + 2990, "\nlast one\n", 10);
    ring_add(&r, big, sizeof big, 1024);
    assert_ring(&r, 100, "last one\n");
    ring_free(&r);
    assert_ring(&r, 100, "");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(whole_lines_come_as_one_block),
        cmocka_unit_test(an_unfinished_line_waits_for_its_end),
        cmocka_unit_test(the_end_completes_a_line),
        cmocka_unit_test(a_long_line_comes_in_marked_parts),
        cmocka_unit_test(newlines_are_counted_at_any_length_and_place),
        cmocka_unit_test(json_is_escaped_and_always_utf8),
        cmocka_unit_test(amounts_read_well),
        cmocka_unit_test(the_ring_keeps_the_newest_whole_lines),
    };
    return cmocka_run_group_tests_name("lines", tests, NULL, NULL);
}
