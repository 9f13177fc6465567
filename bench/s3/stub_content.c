/* stub_content.c - what every generated object is a piece of, and its CRC64NVME. */
#define _GNU_SOURCE
#include "stub.h"
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

int content_fd;
const char *content_map;
static uint64_t table[8][256];
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

uint64_t crc64nvme(uint64_t crc, const char *bytes, size_t length)
{
    crc = ~crc;
    for (; length >= 8; bytes += 8, length -= 8) {
        uint64_t word;
        memcpy(&word, bytes, 8);
        word ^= crc;
        crc = 0;
        for (int i = 0; i < 8; i++)
            crc ^= table[7 - i][(word >> (8 * i)) & 255];
    }
    for (; length; bytes++, length--)
        crc = table[0][(crc ^ (unsigned char)*bytes) & 255] ^ (crc >> 8);
    return ~crc;
}

void content_make(void)
{
    for (unsigned i = 0; i < 256; i++) {
        uint64_t value = i;
        for (int bit = 0; bit < 8; bit++)
            value = value & 1 ? (value >> 1) ^ 0x9a6c9329ac4bc9b5 : value >> 1;
        table[0][i] = value;
    }
    for (unsigned i = 0; i < 256; i++)
        for (int slice = 1; slice < 8; slice++)
            table[slice][i] = (table[slice - 1][i] >> 8) ^ table[0][table[slice - 1][i] & 255];
    content_fd = memfd_create("content", MFD_CLOEXEC);
    if (content_fd < 0 || ftruncate(content_fd, (off_t)CONTENT_PERIOD) < 0) {
        perror("memory for the content");
        exit(1);
    }
    uint64_t *words = mmap(NULL, CONTENT_PERIOD, PROT_READ | PROT_WRITE, MAP_SHARED, content_fd, 0);
    if (words == MAP_FAILED) {
        perror("memory for the content");
        exit(1);
    }
    uint64_t state = 88172645463325252;
    for (uint64_t i = 0; i < CONTENT_PERIOD / 8; i++) {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        words[i] = state;
    }
    content_map = (const char *)words;
}

void content_copy(char *into, uint64_t from, size_t length)
{
    while (length) {
        uint64_t at = from % CONTENT_PERIOD;
        size_t piece = CONTENT_PERIOD - at < length ? CONTENT_PERIOD - at : length;
        memcpy(into, content_map + at, piece);
        into += piece;
        from += piece;
        length -= piece;
    }
}

uint64_t content_crc(uint64_t length)
{
    static struct {
        uint64_t length, crc;
    } known[16];
    static unsigned next;
    pthread_mutex_lock(&lock);
    for (unsigned i = 0; i < 16; i++) {
        if (known[i].length == length && length) {
            uint64_t crc = known[i].crc;
            pthread_mutex_unlock(&lock);
            return crc;
        }
    }
    uint64_t crc = 0;
    for (uint64_t at = 0; at < length; at += CONTENT_PERIOD)
        crc = crc64nvme(crc, content_map, length - at < CONTENT_PERIOD ? length - at : CONTENT_PERIOD);
    known[next % 16].length = length;
    known[next++ % 16].crc = crc;
    pthread_mutex_unlock(&lock);
    return crc;
}
