/* aws_crc_inner.h - between the arithmetic (aws_crc.c) and the instructions of a processor (aws_crc_x86.c, aws_crc_arm.c).
 *
 * All three checksums are reflected: the first bit of the data, the lowest of its byte, is the highest power of x, and 16 bytes read as a
 * little-endian number hold x^127 in bit 0. Folding replaces a block by another of the same remainder, further on: a block times x^n is
 * its two halves, each times a power of x modulo the polynomial, so that two multiplications carry 128 bits over n bits of data. */
#ifndef APPLIANCE_AWS_CRC_INNER_H
#define APPLIANCE_AWS_CRC_INNER_H

#include "appliance/aws_crc.h"

enum { FOLD_BLOCK = 16, FOLD_STEP = 8 * FOLD_BLOCK, WIDE_STEP = 16 * FOLD_BLOCK };

/* To multiply the first and the second 8 bytes of a block with, so that it moves on by so many bytes. */
struct crc_fold {
    uint64_t first, second;
};

struct crc_model {
    uint64_t polynomial; /* reflected, without its highest power */
    unsigned width;
    struct crc_fold by_block, by_step, by_wide_step;
    uint64_t (*table)[256]; /* [n][byte], n from 0 to 7: what a byte does with n bytes behind it */
};

/* Folds the first bytes of `data`, as many as make whole steps, with the remainder `state` before them, into one block of the same
 * remainder; returns how many bytes that were. length: one step at least. */
typedef size_t crc_fold_function(const struct crc_model *, uint64_t state, const unsigned char *data, size_t length,
                                 unsigned char block[FOLD_BLOCK]);
/* Each is NULL where there is none, and there is none of a way that the processor can't go. */
crc_fold_function *crc_fold_way(enum aws_crc_way);
/* CRC32C's own instruction for short runs, or NULL. State in, state out. */
typedef uint64_t crc_short_function(uint64_t state, const unsigned char *data, size_t length);
crc_short_function *crc32c_short(void);

#endif
