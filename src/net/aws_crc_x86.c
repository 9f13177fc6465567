#include "aws_crc_inner.h"

#ifdef __x86_64__

#include <immintrin.h>
#include <string.h>

#define WITH_PCLMUL  __attribute__((target("sse4.2,pclmul")))
#define WITH_VPCLMUL __attribute__((target("sse4.2,pclmul,avx512f,avx512vl,vpclmulqdq")))

/* --- 128 bits at a time --- */

WITH_PCLMUL static inline __m128i load(const unsigned char *data)
{
    return _mm_loadu_si128((const __m128i *)data);
}

WITH_PCLMUL static inline __m128i move_on(__m128i block, __m128i factors, __m128i next)
{
    __m128i first = _mm_clmulepi64_si128(block, factors, 0x00), second = _mm_clmulepi64_si128(block, factors, 0x11);
    return _mm_xor_si128(_mm_xor_si128(first, second), next);
}

WITH_PCLMUL static inline __m128i factors_of(struct crc_fold fold)
{
    return _mm_set_epi64x((long long)fold.second, (long long)fold.first);
}

WITH_PCLMUL static size_t fold_128(const struct crc_model *m, uint64_t state, const unsigned char *data, size_t length,
                                   unsigned char block[FOLD_BLOCK])
{
    enum { BLOCKS = FOLD_STEP / FOLD_BLOCK };
    __m128i b[BLOCKS], factors = factors_of(m->by_step);
    for (int i = 0; i < BLOCKS; i++)
        b[i] = load(data + (size_t)i * FOLD_BLOCK);
    b[0] = _mm_xor_si128(b[0], _mm_set_epi64x(0, (long long)state));
    size_t folded = FOLD_STEP;
    for (; length - folded >= FOLD_STEP; folded += FOLD_STEP) {
        __builtin_prefetch(data + folded + 1024); /* may point behind the data: that is no access */
        for (int i = 0; i < BLOCKS; i++)
            b[i] = move_on(b[i], factors, load(data + folded + (size_t)i * FOLD_BLOCK));
    }
    factors = factors_of(m->by_block);
    for (int i = 1; i < BLOCKS; i++)
        b[0] = move_on(b[0], factors, b[i]);
    _mm_storeu_si128((__m128i *)block, b[0]);
    return folded;
}

/* --- 512 bits at a time: four of those blocks in one register --- */

WITH_VPCLMUL static inline __m512i move_on_wide(__m512i blocks, __m512i factors, const unsigned char *next)
{
    __m512i first = _mm512_clmulepi64_epi128(blocks, factors, 0x00), second = _mm512_clmulepi64_epi128(blocks, factors, 0x11);
    return _mm512_ternarylogic_epi64(first, second, _mm512_loadu_si512(next), 0x96); /* the exclusive or of all three */
}

WITH_VPCLMUL static size_t fold_512(const struct crc_model *m, uint64_t state, const unsigned char *data, size_t length,
                                    unsigned char block[FOLD_BLOCK])
{
    __m512i factors = _mm512_broadcast_i32x4(factors_of(m->by_wide_step));
    __m512i a = _mm512_loadu_si512(data), b = _mm512_loadu_si512(data + 64), c = _mm512_loadu_si512(data + 128),
            d = _mm512_loadu_si512(data + 192);
    a = _mm512_xor_si512(a, _mm512_zextsi128_si512(_mm_set_epi64x(0, (long long)state)));
    size_t folded = WIDE_STEP;
    for (; length - folded >= WIDE_STEP; folded += WIDE_STEP) {
        const unsigned char *next = data + folded;
        a = move_on_wide(a, factors, next);
        b = move_on_wide(b, factors, next + 64);
        c = move_on_wide(c, factors, next + 128);
        d = move_on_wide(d, factors, next + 192);
    }
    unsigned char blocks[WIDE_STEP];
    _mm512_storeu_si512(blocks, a);
    _mm512_storeu_si512(blocks + 64, b);
    _mm512_storeu_si512(blocks + 128, c);
    _mm512_storeu_si512(blocks + 192, d);
    __m128i all = load(blocks), by_block = factors_of(m->by_block);
    for (size_t i = FOLD_BLOCK; i < sizeof blocks; i += FOLD_BLOCK)
        all = move_on(all, by_block, load(blocks + i));
    _mm_storeu_si128((__m128i *)block, all);
    return folded;
}

/* --- CRC32C's own instruction --- */

WITH_PCLMUL static uint64_t crc32c_instruction(uint64_t state, const unsigned char *data, size_t length)
{
    for (; length >= 8; data += 8, length -= 8) {
        uint64_t x;
        memcpy(&x, data, 8);
        state = _mm_crc32_u64(state, x);
    }
    for (; length; data++, length--)
        state = _mm_crc32_u8((uint32_t)state, *data);
    return state;
}

crc_fold_function *crc_fold_way(enum aws_crc_way way)
{
    bool narrow = __builtin_cpu_supports("pclmul") && __builtin_cpu_supports("sse4.2");
    if (way == AWS_CRC_FOLD && narrow)
        return fold_128;
    if (way == AWS_CRC_WIDE && narrow && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512vl") &&
        __builtin_cpu_supports("vpclmulqdq"))
        return fold_512;
    return NULL;
}

crc_short_function *crc32c_short(void)
{
    return __builtin_cpu_supports("sse4.2") ? crc32c_instruction : NULL;
}

#endif
