/* Checksums: all ways agree on all data, wherever it is cut and wherever it lies. */
#include "appliance/aws_crc.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *, size_t);

static void must(bool holds)
{
    if (!holds)
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *input, size_t length)
{
    if (length < 2)
        return 0;
    /* Short inputs are repeated, so that the long ways are gone, too. */
    size_t repeats = 1 + input[0] % 32, size = (length - 1) * repeats, cut = (size_t)input[1] * size / 255;
    unsigned char *data = malloc(size);
    for (size_t i = 0; i < repeats; i++)
        memcpy(data + i * (length - 1), input + 1, length - 1);
    for (int kind = 0; kind < AWS_CRC_KINDS; kind++) {
        uint64_t expected = aws_crc_by(AWS_CRC_TABLE, kind, 0, data, size), first = aws_crc(kind, 0, data, cut);
        for (int way = 0; way < AWS_CRC_WAYS; way++)
            must(aws_crc_by(way, kind, 0, data, size) == expected);
        must(aws_crc(kind, first, data + cut, size - cut) == expected);
        must(aws_crc_combine(kind, first, aws_crc(kind, 0, data + cut, size - cut), size - cut) == expected);
    }
    free(data);
    return 0;
}
