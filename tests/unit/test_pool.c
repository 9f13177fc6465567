/* The pool answers as realloc does, whatever the sizes, and gives chunks back once nobody uses them. */
#include "appliance/pool.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { BLOCKS = 4000, ROUNDS = 200000 };

struct held {
    unsigned char *at;
    size_t size;
    unsigned char mark;
};

static struct held held[BLOCKS];

static void check(const struct held *h)
{
    for (size_t i = 0; i < h->size; i++)
        assert_int_equal(h->at[i], h->mark);
}

static void resize(struct held *h, size_t size)
{
    unsigned char *at = pool_allocate(NULL, h->at, h->size, size);
    if (size == 0) {
        assert_null(at);
        *h = (struct held){0};
        return;
    }
    assert_non_null(at);
    assert_int_equal((uintptr_t)at % 8, 0);
    size_t kept = h->size < size ? h->size : size;
    *h = (struct held){.at = at, .size = kept, .mark = h->mark};
    check(h); /* what was there is there still */
    h->size = size;
    h->mark = (unsigned char)rand();
    memset(at, h->mark, size);
}

static size_t any_size(void)
{
    return (size_t)(rand() % 10 ? rand() % 300 : rand() % 5000);
}

static long resident_kib(void)
{
    long pages = 0;
    FILE *statm = fopen("/proc/self/statm", "re");
    assert_non_null(statm);
    assert_int_equal(fscanf(statm, "%*s %ld", &pages), 1);
    fclose(statm);
    return pages * 4;
}

static void keeps_every_block_apart(void **state)
{
    (void)state;
    srand(1);
    for (int i = 0; i < ROUNDS; i++) {
        struct held *h = &held[rand() % BLOCKS];
        check(h);
        resize(h, rand() % 4 ? any_size() : 0);
        if (i % 10000 == 0)
            pool_trim();
    }
    for (int i = 0; i < BLOCKS; i++) {
        check(&held[i]);
        if (held[i].at)
            resize(&held[i], 0);
    }
}

static void gives_unused_chunks_back_and_takes_them_again(void **state)
{
    (void)state;
#ifdef __SANITIZE_ADDRESS__
    skip(); /* malloc's alone then, and the sanitizer keeps what was freed */
#endif
    enum { MANY = 400000, SIZE = 48 };
    void **blocks = malloc(MANY * sizeof *blocks);
    assert_non_null(blocks);
    memset(blocks, 1, MANY * sizeof *blocks);
    long before = resident_kib();
    for (int round = 0; round < 3; round++) {
        for (int i = 0; i < MANY; i++) {
            blocks[i] = pool_allocate(NULL, NULL, 0, SIZE);
            assert_non_null(blocks[i]);
            memset(blocks[i], round, SIZE);
        }
        long full = resident_kib();
        assert_true(full - before > MANY / 1024 * SIZE * 9 / 10);
        for (int i = 0; i < MANY; i++)
            pool_allocate(NULL, blocks[i], SIZE, 0);
        pool_trim();
        assert_true(resident_kib() - before < (full - before) / 20);
    }
    free(blocks);
}

/* As a Lua task does that allocates without end, again and again. */
static void keeps_nothing_of_bursts_of_different_sizes(void **state)
{
    (void)state;
#ifdef __SANITIZE_ADDRESS__
    skip();
#endif
    enum { BURST = POOL_CEILING / 2, LEAST = 48, MANY = BURST / LEAST };
    void **blocks = malloc(MANY * sizeof *blocks);
    assert_non_null(blocks);
    memset(blocks, 1, MANY * sizeof *blocks);
    long before = resident_kib();
    for (size_t size = LEAST; size <= 240; size += 24) {
        int count = 0;
        for (; (size_t)count * size < BURST; count++) {
            blocks[count] = pool_allocate(NULL, NULL, 0, size);
            assert_non_null(blocks[count]);
            memset(blocks[count], 1, size);
        }
        while (count > 0)
            pool_allocate(NULL, blocks[--count], size, 0);
        assert_true(resident_kib() - before < 4096);
    }
    free(blocks);
}

/* Modules stay while what was allocated between them goes: its memory must not stay with them. */
static void what_lasts_holds_no_memory_of_what_passes(void **state)
{
    (void)state;
#ifdef __SANITIZE_ADDRESS__
    skip();
#endif
    enum { MANY = 200000, SIZE = 48 };
    void **lasting = calloc(MANY, sizeof *lasting), **passing = calloc(MANY, sizeof *passing);
    assert_true(lasting && passing);
    memset(lasting, 1, MANY * sizeof *lasting);
    memset(passing, 1, MANY * sizeof *passing);
    long before = resident_kib();
    for (int i = 0; i < MANY; i++) {
        pool_lasting(true);
        lasting[i] = pool_allocate(NULL, NULL, 0, SIZE);
        pool_lasting(false);
        passing[i] = pool_allocate(NULL, NULL, 0, SIZE);
        assert_true(lasting[i] && passing[i]);
        memset(lasting[i], 1, SIZE);
        memset(passing[i], 2, SIZE);
    }
    long full = resident_kib() - before;
    for (int i = 0; i < MANY; i++)
        pool_allocate(NULL, passing[i], SIZE, 0);
    pool_trim();
    assert_true(resident_kib() - before < full * 6 / 10); /* half of it lasts */
    for (int i = 0; i < MANY; i++)
        pool_allocate(NULL, lasting[i], SIZE, 0);
    pool_trim();
    assert_true(resident_kib() - before < full / 20);
    free(lasting);
    free(passing);
}

static void refuses_what_is_above_its_ceiling(void **state)
{
    (void)state;
    assert_null(pool_allocate(NULL, NULL, 0, (size_t)POOL_CEILING + 1));
    void *most = pool_allocate(NULL, NULL, 0, (size_t)POOL_CEILING / 2);
    assert_non_null(most);
    assert_null(pool_allocate(NULL, NULL, 0, (size_t)POOL_CEILING / 2 + 1));
    assert_null(pool_allocate(NULL, most, (size_t)POOL_CEILING / 2, 0));
    void *again = pool_allocate(NULL, NULL, 0, (size_t)POOL_CEILING / 2 + 1);
    assert_non_null(again);
    pool_allocate(NULL, again, (size_t)POOL_CEILING / 2 + 1, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(keeps_every_block_apart),
        cmocka_unit_test(gives_unused_chunks_back_and_takes_them_again),
        cmocka_unit_test(keeps_nothing_of_bursts_of_different_sizes),
        cmocka_unit_test(what_lasts_holds_no_memory_of_what_passes),
        cmocka_unit_test(refuses_what_is_above_its_ceiling),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
