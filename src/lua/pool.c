#include "appliance/pool.h"

#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#ifdef __SANITIZE_ADDRESS__
enum { SMALL = 0 }; /* the sanitizer sees what becomes of each block only when it is malloc's */
#else
enum { SMALL = 1024 };
#endif
enum { TRIM_FROM = 1 << 20 }; /* bytes given back before a look for unused chunks is worth its time */
enum { STEP = 8, CHUNK = 4 << 10, REGION = 1 << 20, CHUNKS = REGION / CHUNK, REGIONS = 2 * POOL_CEILING / REGION };

struct block {
    struct block *next;
};

/* Addresses for 256 chunks; a chunk takes memory when it is first written to. */
struct region {
    char *at;
    bool unused[CHUNKS];   /* given back */
    uint32_t free[CHUNKS]; /* bytes in the lists, while trimming */
};

static struct {
    struct block *lists[SMALL / STEP + 1]; /* by size */
    struct cut {
        char *at, *end; /* what is left of its newest chunk */
    } passing, lasting;
    bool is_lasting;
    struct region *regions[REGIONS];
    int region_count, next_chunk, unused_count; /* next_chunk: in the last region */
    int looked;                                 /* the region in which the last unused chunk was */
    size_t used, most;                          /* most: since the last trim */
} self;

static void keep(void *block, size_t size)
{
    struct block *b = block;
    b->next = self.lists[size / STEP];
    self.lists[size / STEP] = b;
}

static char *unused_chunk(void)
{
    for (int i = 0; i < self.region_count; i++, self.looked++) {
        struct region *r = self.regions[self.looked % self.region_count];
        for (int k = 0; k < CHUNKS; k++)
            if (r->unused[k]) {
                r->unused[k] = false;
                self.unused_count--;
                return r->at + (size_t)CHUNK * (size_t)k;
            }
    }
    return NULL;
}

static char *new_chunk(void)
{
    if (self.unused_count > 0)
        return unused_chunk();
    if (self.region_count == 0 || self.next_chunk == CHUNKS) {
        if (self.region_count == REGIONS)
            return NULL;
        struct region *r = calloc(1, sizeof *r);
        char *at = r ? mmap(NULL, REGION, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) : MAP_FAILED;
        if (at == MAP_FAILED) {
            free(r);
            return NULL;
        }
        r->at = at;
        self.regions[self.region_count++] = r;
        self.next_chunk = 0;
    }
    return self.regions[self.region_count - 1]->at + (size_t)CHUNK * (size_t)self.next_chunk++;
}

static void *take(size_t size)
{
    struct block *kept = self.lists[size / STEP];
    if (kept) {
        self.lists[size / STEP] = kept->next;
        return kept;
    }
    struct cut *cut = self.is_lasting ? &self.lasting : &self.passing;
    if ((size_t)(cut->end - cut->at) < size) {
        char *chunk = new_chunk();
        if (!chunk) { /* perhaps blocks of other sizes hold some that nobody uses */
            pool_trim();
            chunk = new_chunk();
        }
        if (!chunk)
            return NULL;
        if (cut->at < cut->end)
            keep(cut->at, (size_t)(cut->end - cut->at)); /* less than SMALL, as `size` is at most that */
        cut->at = chunk;
        cut->end = chunk + CHUNK;
    }
    void *block = cut->at;
    cut->at += size;
    return block;
}

static size_t rounded(size_t size)
{
    return (size + STEP - 1) & ~(size_t)(STEP - 1);
}

static void give_back(void *block, size_t size)
{
    if (size > SMALL)
        free(block);
    else if (block)
        keep(block, rounded(size));
}

static void *resize(void *block, size_t old_size, size_t new_size)
{
    if (old_size > SMALL && new_size > SMALL)
        return realloc(block, new_size);
    if (block && rounded(old_size) == rounded(new_size))
        return block;
    void *moved = new_size > SMALL ? malloc(new_size) : take(rounded(new_size));
    if (moved && block) {
        memcpy(moved, block, old_size < new_size ? old_size : new_size);
        give_back(block, old_size);
    }
    return moved;
}

/* Blocks serve their own size only, so after a burst of one size its chunks must not wait for the next such burst. Each time half of
 * the most was given back: trimming costs no more than the blocks did. */
static void trim_after_burst(void)
{
    if (self.used > self.most)
        self.most = self.used;
    if (self.used < self.most / 2 && self.most - self.used >= TRIM_FROM)
        pool_trim();
}

void pool_lasting(bool is_lasting)
{
    self.is_lasting = is_lasting;
}

void *pool_allocate(void *unused, void *block, size_t old_size, size_t new_size)
{
    (void)unused;
    if (!block)
        old_size = 0; /* a kind of object then, says the manual */
    if (new_size == 0) {
        give_back(block, old_size);
        self.used -= old_size;
        trim_after_burst();
        return NULL;
    }
    if (new_size > old_size && self.used + (new_size - old_size) > POOL_CEILING)
        return NULL;
    void *moved = resize(block, old_size, new_size);
    if (moved) {
        self.used += new_size - old_size;
        trim_after_burst();
    }
    return moved;
}

/* --- trimming: a chunk whose every byte is in the lists is used by nobody --- */

static uint32_t *free_of(const void *block)
{
    static int last; /* neighbours in a list mostly are neighbours in memory */
    for (int i = 0; i < self.region_count; i++) {
        int at = (last + i) % self.region_count;
        size_t offset = (size_t)((const char *)block - self.regions[at]->at);
        if (offset < REGION) {
            last = at;
            return &self.regions[at]->free[offset / CHUNK];
        }
    }
    return NULL; /* can't be: each block comes from a region */
}

static void count_free(void)
{
    for (int i = 0; i < self.region_count; i++)
        memset(self.regions[i]->free, 0, sizeof self.regions[i]->free);
    for (size_t size = STEP; size <= SMALL; size += STEP)
        for (struct block *b = self.lists[size / STEP]; b; b = b->next)
            *free_of(b) += (uint32_t)size;
}

static void drop_free_blocks(void)
{
    for (size_t size = STEP; size <= SMALL; size += STEP)
        for (struct block **at = &self.lists[size / STEP]; *at;)
            if (*free_of(*at) == CHUNK)
                *at = (*at)->next;
            else
                at = &(*at)->next;
}

void pool_trim(void)
{
    self.most = self.used;
    count_free();
    drop_free_blocks();
    for (int i = 0; i < self.region_count; i++)
        for (int k = 0; k < CHUNKS; k++)
            if (self.regions[i]->free[k] == CHUNK) {
                madvise(self.regions[i]->at + (size_t)CHUNK * (size_t)k, CHUNK, MADV_DONTNEED);
                self.regions[i]->unused[k] = true;
                self.unused_count++;
            }
}
