#include "aws_crc_inner.h"

#include <endian.h>
#include <pthread.h>
#include <string.h>

static uint64_t tables[AWS_CRC_KINDS][8][256]; /* no part of the file, and no memory until one is used */

/* The catalogue's names: CRC-32/ISO-HDLC, CRC-32/ISCSI, CRC-64/NVME. All begin and end with every bit turned over. */
static struct crc_model models[AWS_CRC_KINDS] = {
    [AWS_CRC32] = {.polynomial = UINT64_C(0xedb88320), .width = 32, .table = tables[AWS_CRC32]},
    [AWS_CRC32C] = {.polynomial = UINT64_C(0x82f63b78), .width = 32, .table = tables[AWS_CRC32C]},
    [AWS_CRC64NVME] = {.polynomial = UINT64_C(0x9a6c9329ac4bc9b5), .width = 64, .table = tables[AWS_CRC64NVME]},
};

/* --- polynomials of less than `width` powers: x^0 is the highest bit --- */

static uint64_t one(const struct crc_model *m)
{
    return UINT64_C(1) << (m->width - 1);
}

static uint64_t times_x(const struct crc_model *m, uint64_t a)
{
    return (a >> 1) ^ (a & 1 ? m->polynomial : 0);
}

static uint64_t times(const struct crc_model *m, uint64_t a, uint64_t b)
{
    uint64_t product = 0;
    for (uint64_t bit = one(m); bit; bit >>= 1) {
        if (a & bit)
            product ^= b;
        b = times_x(m, b);
    }
    return product;
}

static uint64_t x_to_the(const struct crc_model *m, uint64_t n)
{
    uint64_t result = one(m), square = times_x(m, one(m));
    for (; n; n >>= 1) {
        if (n & 1)
            result = times(m, result, square);
        square = times(m, square, square);
    }
    return result;
}

/* --- constants, made when a checksum is first used: 16 KiB of tables, of which a node without S3 sees nothing --- */

static struct crc_fold fold_by(const struct crc_model *m, uint64_t bytes)
{
    /* The product of two reflected numbers comes out one power too high, hence the -1; the first half is 64 powers above the second. */
    unsigned shift = 64 - m->width;
    return (struct crc_fold){x_to_the(m, 8 * bytes + 63) << shift, x_to_the(m, 8 * bytes - 1) << shift};
}

static void prepare(struct crc_model *m)
{
    for (unsigned byte = 0; byte < 256; byte++) {
        uint64_t state = byte;
        for (int bit = 0; bit < 8; bit++)
            state = times_x(m, state);
        m->table[0][byte] = state;
    }
    for (unsigned n = 1; n < 8; n++)
        for (unsigned byte = 0; byte < 256; byte++) {
            uint64_t state = m->table[n - 1][byte];
            m->table[n][byte] = m->table[0][state & 0xff] ^ (state >> 8);
        }
    m->by_block = fold_by(m, FOLD_BLOCK);
    m->by_step = fold_by(m, FOLD_STEP);
    m->by_wide_step = fold_by(m, WIDE_STEP);
}

static void prepare_crc32(void)
{
    prepare(&models[AWS_CRC32]);
}

static void prepare_crc32c(void)
{
    prepare(&models[AWS_CRC32C]);
}

static void prepare_crc64nvme(void)
{
    prepare(&models[AWS_CRC64NVME]);
}

static const struct crc_model *model_of(enum aws_crc kind)
{
    static pthread_once_t once[AWS_CRC_KINDS] = {PTHREAD_ONCE_INIT, PTHREAD_ONCE_INIT, PTHREAD_ONCE_INIT};
    static void (*const prepares[AWS_CRC_KINDS])(void) = {prepare_crc32, prepare_crc32c, prepare_crc64nvme};
    pthread_once(&once[kind], prepares[kind]);
    return &models[kind];
}

/* --- checksums --- */

static uint64_t by_table(const struct crc_model *m, uint64_t state, const unsigned char *data, size_t length)
{
    uint64_t(*t)[256] = m->table;
    for (; length >= 8; data += 8, length -= 8) {
        uint64_t x;
        memcpy(&x, data, 8);
        x = le64toh(x) ^ state;
        state = t[7][x & 0xff] ^ t[6][x >> 8 & 0xff] ^ t[5][x >> 16 & 0xff] ^ t[4][x >> 24 & 0xff] ^ t[3][x >> 32 & 0xff] ^
                t[2][x >> 40 & 0xff] ^ t[1][x >> 48 & 0xff] ^ t[0][x >> 56];
    }
    for (; length; data++, length--)
        state = t[0][(state ^ *data) & 0xff] ^ (state >> 8);
    return state;
}

static uint64_t by_best_of_short(enum aws_crc kind, const struct crc_model *m, uint64_t state, const unsigned char *data, size_t length)
{
    crc_short_function *own = kind == AWS_CRC32C ? crc32c_short() : NULL;
    return own ? own(state, data, length) : by_table(m, state, data, length);
}

bool aws_crc_can(enum aws_crc_way way)
{
    return way == AWS_CRC_TABLE || crc_fold_way(way) != NULL;
}

uint64_t aws_crc_by(enum aws_crc_way way, enum aws_crc kind, uint64_t before, const void *data, size_t length)
{
    const struct crc_model *m = model_of(kind);
    const unsigned char *bytes = data;
    uint64_t ones = UINT64_MAX >> (64 - m->width), state = (before ^ ones) & ones;
    if (way == AWS_CRC_TABLE)
        return by_table(m, state, bytes, length) ^ ones;

    crc_fold_function *fold = crc_fold_way(way);
    if (fold && length >= (way == AWS_CRC_WIDE ? WIDE_STEP : FOLD_STEP)) {
        unsigned char block[FOLD_BLOCK];
        size_t folded = fold(m, state, bytes, length, block);
        state = by_best_of_short(kind, m, 0, block, FOLD_BLOCK);
        bytes += folded;
        length -= folded;
    }
    return by_best_of_short(kind, m, state, bytes, length) ^ ones;
}

uint64_t aws_crc(enum aws_crc kind, uint64_t before, const void *data, size_t length)
{
    bool wide = length >= WIDE_STEP && crc_fold_way(AWS_CRC_WIDE);
    return aws_crc_by(wide ? AWS_CRC_WIDE : AWS_CRC_FOLD, kind, before, data, length);
}

uint64_t aws_crc_combine(enum aws_crc kind, uint64_t first, uint64_t second, uint64_t second_length)
{
    const struct crc_model *m = model_of(kind);
    /* Eight powers a byte, multiplied by squaring: 8 * length itself need not fit. */
    uint64_t power = x_to_the(m, second_length);
    for (int doubled = 0; doubled < 3; doubled++)
        power = times(m, power, power);
    return times(m, first, power) ^ second;
}
