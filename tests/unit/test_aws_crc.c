/* aws_crc: known answers, and every way this machine has gives what the definition gives, however the data is cut. */
#include "appliance/aws_crc.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { SIZE = 5000 };

static unsigned char data[SIZE + 1];

static int fill(void **state)
{
    (void)state;
    uint32_t x = 1;
    for (size_t i = 0; i < sizeof data; i++)
        data[i] = (unsigned char)((x = x * 1664525 + 1013904223) >> 24);
    return 0;
}

/* By the definition: bit after bit. */
static uint64_t slowly(enum aws_crc kind, const unsigned char *bytes, size_t length)
{
    static const uint64_t polynomials[] = {UINT64_C(0xedb88320), UINT64_C(0x82f63b78), UINT64_C(0x9a6c9329ac4bc9b5)};
    uint64_t ones = kind == AWS_CRC64NVME ? UINT64_MAX : UINT32_MAX, state = ones;
    for (size_t i = 0; i < length; i++) {
        state ^= bytes[i];
        for (int bit = 0; bit < 8; bit++)
            state = (state >> 1) ^ (state & 1 ? polynomials[kind] : 0);
    }
    return state ^ ones;
}

static void gives_the_known_answers(void **state)
{
    (void)state;
    static unsigned char zeros[32];
    assert_int_equal(aws_crc(AWS_CRC32, 0, "123456789", 9), 0xcbf43926);
    assert_int_equal(aws_crc(AWS_CRC32C, 0, "123456789", 9), 0xe3069283);
    assert_int_equal(aws_crc(AWS_CRC64NVME, 0, "123456789", 9), UINT64_C(0xae8b14860a799888));
    assert_int_equal(aws_crc(AWS_CRC32C, 0, zeros, 32), 0x8a9136aa); /* RFC 3720 B.4 */
    for (int kind = 0; kind < AWS_CRC_KINDS; kind++)
        assert_int_equal(aws_crc(kind, 0, "", 0), 0);
}

static void every_way_agrees_at_every_length(void **state)
{
    (void)state;
    for (int way = 0; way < AWS_CRC_WAYS; way++) {
        if (!aws_crc_can(way)) {
            print_message("way %d: not on this machine\n", way);
            continue;
        }
        for (int kind = 0; kind < AWS_CRC_KINDS; kind++)
            for (size_t length = 0; length <= SIZE; length += length < 700 ? 1 : 331)
                if (aws_crc_by(way, kind, 0, data + 1, length) != slowly(kind, data + 1, length))
                    fail_msg("way %d, kind %d, length %zu", way, kind, length);
    }
}

static void goes_on_where_it_stopped(void **state)
{
    (void)state;
    for (int kind = 0; kind < AWS_CRC_KINDS; kind++)
        for (size_t cut = 0; cut <= SIZE; cut += 97)
            assert_int_equal(aws_crc(kind, aws_crc(kind, 0, data, cut), data + cut, SIZE - cut), aws_crc(kind, 0, data, SIZE));
}

static void combines_parts_that_were_done_apart(void **state)
{
    (void)state;
    for (int kind = 0; kind < AWS_CRC_KINDS; kind++) {
        uint64_t whole = aws_crc(kind, 0, data, SIZE);
        for (size_t cut = 0; cut <= SIZE; cut += 499) {
            uint64_t first = aws_crc(kind, 0, data, cut), second = aws_crc(kind, 0, data + cut, SIZE - cut);
            assert_int_equal(aws_crc_combine(kind, first, second, SIZE - cut), whole);
        }
        /* three, from the left or from the right; and lengths that no memory has */
        uint64_t a = 0x1234567, b = 0x89abcdef, c = 0x7654321;
        uint64_t long_b = UINT64_C(1) << 62, long_c = UINT64_C(48) << 40;
        assert_int_equal(aws_crc_combine(kind, aws_crc_combine(kind, a, b, long_b), c, long_c),
                         aws_crc_combine(kind, a, aws_crc_combine(kind, b, c, long_c), long_b + long_c));
        assert_int_equal(aws_crc_combine(kind, a, 0, 0), a);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(gives_the_known_answers),
        cmocka_unit_test(every_way_agrees_at_every_length),
        cmocka_unit_test(goes_on_where_it_stopped),
        cmocka_unit_test(combines_parts_that_were_done_apart),
    };
    return cmocka_run_group_tests_name("aws_crc", tests, fill, NULL);
}
