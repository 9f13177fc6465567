/* Paths and log lines of ZooKeeper: never a step too far, and what is said of them holds. */
#include "appliance/zk_words.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *, size_t);

static void must(bool holds)
{
    if (!holds)
        abort();
}

static void path(const char *data, size_t length)
{
    const char *fault = zk_path_fault(data, length, false), *fault_before_number = zk_path_fault(data, length, true);
    must(!fault_before_number || fault); /* a number behind it makes nothing worse */
    if (fault)
        return;
    must(length > 0 && data[0] == '/' && !memchr(data, 0, length) && !memmem(data, length, "//", 2));
    must(length == 1 || data[length - 1] != '/');
    must(!memmem(data, length, "/../", 4) && !memmem(data, length, "/./", 3));
}

static void line(const char *data, size_t length)
{
    char *text = malloc(length + 1);
    memcpy(text, data, length);
    text[length] = 0;
    size_t size = 1 + length % 80;
    char *out = malloc(size); /* exactly as long, so that the sanitizer sees a step too far */
    if (zk_log_words(text, out, size))
        must(memchr(out, 0, size) && !strchr(out, '\n'));
    free(out);
    free(text);
}

int LLVMFuzzerTestOneInput(const uint8_t *input, size_t length)
{
    char *data = malloc(length ? length : 1);
    if (length)
        memcpy(data, input, length);
    path(data, length);
    line(data, length);
    free(data);
    return 0;
}
