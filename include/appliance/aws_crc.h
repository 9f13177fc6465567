/* aws_crc.h - the cyclic checksums of S3: CRC32, CRC32C and CRC64NVME. Pure, for any thread.
 * The processor's carry-less multiplication folds long runs, where it has one; a table does the rest, and everything elsewhere. Which way is
 * taken is decided at run time and changes no result. Fuzzed by tests/fuzz/fuzz_aws_crc.c. */
#ifndef APPLIANCE_AWS_CRC_H
#define APPLIANCE_AWS_CRC_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum aws_crc { AWS_CRC32, AWS_CRC32C, AWS_CRC64NVME, AWS_CRC_KINDS };

/* The checksum of what `before` is the checksum of, with `data` behind it; of nothing it is 0. */
uint64_t aws_crc(enum aws_crc, uint64_t before, const void *data, size_t length);
/* The checksum of two runs, one behind the other, of which the second is `second_length` bytes long: for parts that were done apart. */
uint64_t aws_crc_combine(enum aws_crc, uint64_t first, uint64_t second, uint64_t second_length);

/* How it is done: for tests and for the benchmark. FOLD: 128 bits at a time (PCLMULQDQ, PMULL); WIDE: 512 (VPCLMULQDQ with AVX-512). */
enum aws_crc_way { AWS_CRC_TABLE, AWS_CRC_FOLD, AWS_CRC_WIDE, AWS_CRC_WAYS };
bool aws_crc_can(enum aws_crc_way); /* whether this machine can */
uint64_t aws_crc_by(enum aws_crc_way, enum aws_crc, uint64_t before, const void *data, size_t length);

#endif
