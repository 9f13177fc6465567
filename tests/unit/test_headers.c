/* Header lines as a list: what may go in, and how it is found again. */
#include "appliance/headers.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
/* cmocka.h wants the four above before it */
#include <cmocka.h>

static struct headers list;
static struct err err;

static int begin(void **unused)
{
    (void)unused;
    headers_init(&list, 200);
    err = (struct err){0};
    return 0;
}

static int end(void **unused)
{
    (void)unused;
    headers_free(&list);
    return 0;
}

static void finds_without_regard_to_case(void **unused)
{
    (void)unused;
    assert_true(headers_add_text(&list, "Content-Type", " text/plain \t", &err));
    assert_true(headers_add_text(&list, "X-Empty", "  ", &err));
    assert_string_equal(headers_find(&list, "content-TYPE"), "text/plain");
    assert_string_equal(headers_find(&list, "x-empty"), "");
    assert_null(headers_find(&list, "Content"));
}

static void walks_in_the_order_of_adding(void **unused)
{
    (void)unused;
    headers_add_text(&list, "b", "1", &err);
    headers_add_text(&list, "a", "2", &err);
    headers_add_text(&list, "B", "3", &err);
    assert_int_equal(list.count, 3);
    const char *name, *value, *names[3], *values[3];
    int count = 0;
    for (size_t at = 0; headers_next(&list, &at, &name, &value); count++) {
        names[count] = name;
        values[count] = value;
    }
    assert_int_equal(count, 3);
    assert_string_equal(names[0], "b");
    assert_string_equal(names[2], "B");
    assert_string_equal(values[1], "2");
}

static void replaces_all_of_a_name(void **unused)
{
    (void)unused;
    headers_add_text(&list, "a", "1", &err);
    headers_add_text(&list, "b", "2", &err);
    headers_add_text(&list, "A", "3", &err);
    assert_true(headers_set(&list, "a", bytes_of("4"), &err));
    assert_int_equal(list.count, 2);
    assert_string_equal(headers_find(&list, "A"), "4");
    assert_string_equal(headers_find(&list, "b"), "2");
    headers_remove(&list, "b");
    headers_remove(&list, "never there");
    assert_null(headers_find(&list, "b"));
    assert_int_equal(list.count, 1);
}

static void refuses_what_would_end_a_line(void **unused)
{
    (void)unused;
    assert_false(headers_add_text(&list, "a", "1\r\nx: 2", &err));
    assert_int_equal(err.kind, ERR_INVALID);
    assert_non_null(strstr(err.text, "header a"));
    assert_false(headers_add(&list, "a", (struct bytes){"1\0002", 3}, &err));
    assert_false(headers_add_text(&list, "a b", "1", &err));
    assert_false(headers_add_text(&list, "a:", "1", &err));
    assert_false(headers_add_text(&list, "", "1", &err));
    assert_int_equal(list.count, 0);
}

static void keeps_its_ceiling(void **unused)
{
    (void)unused;
    char long_value[200];
    memset(long_value, 'x', sizeof long_value);
    assert_true(headers_add_text(&list, "a", "1", &err));
    assert_false(headers_add(&list, "b", (struct bytes){long_value, sizeof long_value}, &err));
    assert_non_null(strstr(err.text, "longer than 200"));
    assert_int_equal(list.count, 1);
    assert_string_equal(headers_find(&list, "a"), "1");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(finds_without_regard_to_case, begin, end),
        cmocka_unit_test_setup_teardown(walks_in_the_order_of_adding, begin, end),
        cmocka_unit_test_setup_teardown(replaces_all_of_a_name, begin, end),
        cmocka_unit_test_setup_teardown(refuses_what_would_end_a_line, begin, end),
        cmocka_unit_test_setup_teardown(keeps_its_ceiling, begin, end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
