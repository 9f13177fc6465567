/* For 64-bit ARM; compiled with the crypto and crc extensions, which are used only where the kernel says that they are there. For all
 * other processors but x86-64: nothing of the kind. */
#include "aws_crc_inner.h"

#if defined(__aarch64__) && defined(__AARCH64EL__) && defined(__ARM_FEATURE_CRC32) && \
    (defined(__ARM_FEATURE_AES) || defined(__ARM_FEATURE_CRYPTO))

#include <arm_acle.h>
#include <arm_neon.h>
#include <string.h>
#include <sys/auxv.h>

enum { HAS_PMULL = 1 << 4, HAS_CRC32 = 1 << 7 }; /* HWCAP_PMULL, HWCAP_CRC32 of asm/hwcap.h */

static inline uint64x2_t move_on(uint64x2_t block, struct crc_fold by, uint64x2_t next)
{
    poly128_t first = vmull_p64((poly64_t)vgetq_lane_u64(block, 0), (poly64_t)by.first);
    poly128_t second = vmull_p64((poly64_t)vgetq_lane_u64(block, 1), (poly64_t)by.second);
    return veorq_u64(veorq_u64(vreinterpretq_u64_p128(first), vreinterpretq_u64_p128(second)), next);
}

static inline uint64x2_t load(const unsigned char *data)
{
    return vreinterpretq_u64_u8(vld1q_u8(data));
}

static size_t fold_128(const struct crc_model *m, uint64_t state, const unsigned char *data, size_t length, unsigned char block[FOLD_BLOCK])
{
    enum { BLOCKS = FOLD_STEP / FOLD_BLOCK };
    uint64x2_t b[BLOCKS];
    for (int i = 0; i < BLOCKS; i++)
        b[i] = load(data + (size_t)i * FOLD_BLOCK);
    b[0] = veorq_u64(b[0], vcombine_u64(vcreate_u64(state), vcreate_u64(0)));
    size_t folded = FOLD_STEP;
    for (; length - folded >= FOLD_STEP; folded += FOLD_STEP)
        for (int i = 0; i < BLOCKS; i++)
            b[i] = move_on(b[i], m->by_step, load(data + folded + (size_t)i * FOLD_BLOCK));
    for (int i = 1; i < BLOCKS; i++)
        b[0] = move_on(b[0], m->by_block, b[i]);
    vst1q_u8(block, vreinterpretq_u8_u64(b[0]));
    return folded;
}

static uint64_t crc32c_instruction(uint64_t state, const unsigned char *data, size_t length)
{
    uint32_t crc = (uint32_t)state;
    for (; length >= 8; data += 8, length -= 8) {
        uint64_t x;
        memcpy(&x, data, 8);
        crc = __crc32cd(crc, x);
    }
    for (; length; data++, length--)
        crc = __crc32cb(crc, *data);
    return crc;
}

crc_fold_function *crc_fold_way(enum aws_crc_way way)
{
    return way == AWS_CRC_FOLD && (getauxval(AT_HWCAP) & HAS_PMULL) ? fold_128 : NULL;
}

crc_short_function *crc32c_short(void)
{
    return getauxval(AT_HWCAP) & HAS_CRC32 ? crc32c_instruction : NULL;
}

#elif !defined(__x86_64__)

crc_fold_function *crc_fold_way(enum aws_crc_way way)
{
    (void)way;
    return NULL;
}

crc_short_function *crc32c_short(void)
{
    return NULL;
}

#endif
