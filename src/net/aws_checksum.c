#include "appliance/aws_checksum.h"

#include <openssl/evp.h>
#include <stdio.h>
#include <strings.h>

/* What is no cyclic checksum has a hash of libcrypto. */
static const struct {
    const char *name, *header;
    const EVP_MD *(*hash)(void);
    enum aws_crc crc;
    unsigned char length;
} kinds[AWS_CHECKSUM_KINDS] = {
    [AWS_CHECKSUM_NONE] = {0},
    [AWS_CHECKSUM_CRC64NVME] = {"CRC64NVME", "x-amz-checksum-crc64nvme", NULL, AWS_CRC64NVME, 8},
    [AWS_CHECKSUM_CRC32C] = {"CRC32C", "x-amz-checksum-crc32c", NULL, AWS_CRC32C, 4},
    [AWS_CHECKSUM_CRC32] = {"CRC32", "x-amz-checksum-crc32", NULL, AWS_CRC32, 4},
    [AWS_CHECKSUM_SHA256] = {"SHA256", "x-amz-checksum-sha256", EVP_sha256, 0, 32},
    [AWS_CHECKSUM_SHA1] = {"SHA1", "x-amz-checksum-sha1", EVP_sha1, 0, 20},
    [AWS_CHECKSUM_MD5] = {"MD5", "Content-MD5", EVP_md5, 0, 16},
};

const char *aws_checksum_name(enum aws_checksum_kind kind)
{
    return kinds[kind].name;
}

const char *aws_checksum_header(enum aws_checksum_kind kind)
{
    return kinds[kind].header;
}

static bool is(struct bytes text, const char *word)
{
    return text.length == strlen(word) && strncasecmp(text.data, word, text.length) == 0;
}

enum aws_checksum_kind aws_checksum_kind_of(struct bytes text)
{
    for (enum aws_checksum_kind kind = AWS_CHECKSUM_NONE + 1; kind < AWS_CHECKSUM_KINDS; kind++)
        if (is(text, kinds[kind].name) || is(text, kinds[kind].header))
            return kind;
    return AWS_CHECKSUM_NONE;
}

/* --- piece by piece --- */

static bool is_cyclic(enum aws_checksum_kind kind)
{
    return kind != AWS_CHECKSUM_NONE && !kinds[kind].hash;
}

bool aws_checksum_start(struct aws_checksum *sum, enum aws_checksum_kind kind, struct err *err)
{
    *sum = (struct aws_checksum){.kind = kind};
    if (!kinds[kind].hash)
        return true;
    sum->hash = EVP_MD_CTX_new();
    if (sum->hash && EVP_DigestInit_ex(sum->hash, kinds[kind].hash(), NULL) == 1)
        return true;
    aws_checksum_end(sum);
    return err_set(err, ERR_SYSTEM, "libcrypto can't make %s checksums here: choose CRC64NVME or CRC32C", kinds[kind].name);
}

bool aws_checksum_add(struct aws_checksum *sum, const void *data, size_t length)
{
    sum->length += length;
    if (is_cyclic(sum->kind))
        sum->crc = aws_crc(kinds[sum->kind].crc, sum->crc, data, length);
    else if (sum->kind != AWS_CHECKSUM_NONE)
        return sum->hash && EVP_DigestUpdate(sum->hash, data, length) == 1;
    return true;
}

size_t aws_checksum_finish(struct aws_checksum *sum, unsigned char raw[AWS_CHECKSUM_RAW_SIZE])
{
    size_t length = kinds[sum->kind].length;
    if (is_cyclic(sum->kind)) {
        for (size_t i = 0; i < length; i++)
            raw[i] = (unsigned char)(sum->crc >> 8 * (length - 1 - i));
    } else if (length && (!sum->hash || EVP_DigestFinal_ex(sum->hash, raw, NULL) != 1)) {
        length = 0;
    }
    aws_checksum_end(sum);
    return length;
}

void aws_checksum_end(struct aws_checksum *sum)
{
    EVP_MD_CTX_free(sum->hash);
    sum->hash = NULL;
}

bool aws_checksum_join(struct aws_checksum *first, const struct aws_checksum *second)
{
    if (!is_cyclic(first->kind) || first->kind != second->kind)
        return false;
    first->crc = aws_crc_combine(kinds[first->kind].crc, first->crc, second->crc, second->length);
    first->length += second->length;
    return true;
}

/* --- texts --- */

bool aws_base64(struct buf *out, struct bytes raw)
{
    if (raw.length > INT32_MAX || !buf_reserve(out, (raw.length + 2) / 3 * 4 + 1)) /* libcrypto writes a zero behind it */
        return false;
    out->length += (size_t)EVP_EncodeBlock((unsigned char *)out->data + out->length, (const unsigned char *)raw.data, (int)raw.length);
    return true;
}

void aws_checksum_text(const unsigned char *raw, size_t length, unsigned parts, char text[AWS_CHECKSUM_TEXT_SIZE])
{
    length = length < AWS_CHECKSUM_RAW_SIZE ? length : AWS_CHECKSUM_RAW_SIZE;
    int written = EVP_EncodeBlock((unsigned char *)text, raw, (int)length);
    if (parts)
        snprintf(text + written, AWS_CHECKSUM_TEXT_SIZE - (size_t)written, "-%u", parts);
}

bool aws_checksum_of(enum aws_checksum_kind kind, struct bytes data, char text[AWS_CHECKSUM_TEXT_SIZE], struct err *err)
{
    struct aws_checksum sum;
    unsigned char raw[AWS_CHECKSUM_RAW_SIZE];
    if (!aws_checksum_start(&sum, kind, err))
        return false;
    bool added = aws_checksum_add(&sum, data.data, data.length);
    size_t length = aws_checksum_finish(&sum, raw);
    if (!added || (kind != AWS_CHECKSUM_NONE && length == 0))
        return err_set(err, ERR_SYSTEM, "libcrypto failed to make a %s checksum: memory may be short", kinds[kind].name);
    aws_checksum_text(raw, length, 0, text);
    return true;
}

enum aws_checksum_verdict aws_checksum_compare(struct bytes said, const unsigned char *raw, size_t length)
{
    char ours[AWS_CHECKSUM_TEXT_SIZE];
    if (said.length && memchr(said.data, '-', said.length)) /* no letter of base64 */
        return AWS_CHECKSUM_OF_PARTS;
    aws_checksum_text(raw, length, 0, ours);
    return bytes_equal(said, bytes_of(ours)) ? AWS_CHECKSUM_SAME : AWS_CHECKSUM_DIFFERENT;
}
