/* aws_checksum.h - the checksums that S3 keeps with an object: taken piece by piece, written as S3 writes them, held against its answers.
 * Pure but for memory that libcrypto takes for the hashes among them. One struct belongs to one thread at a time. */
#ifndef APPLIANCE_AWS_CHECKSUM_H
#define APPLIANCE_AWS_CHECKSUM_H

#include "appliance/aws_crc.h"
#include "appliance/buf.h"
#include "appliance/err.h"

enum aws_checksum_kind {
    AWS_CHECKSUM_NONE,
    AWS_CHECKSUM_CRC64NVME, /* the best first: fastest, and the only one that S3 has for every object */
    AWS_CHECKSUM_CRC32C,
    AWS_CHECKSUM_CRC32,
    AWS_CHECKSUM_SHA256,
    AWS_CHECKSUM_SHA1,
    AWS_CHECKSUM_MD5, /* only as Content-MD5, and for the keys of SSE-C */
    AWS_CHECKSUM_KINDS
};

enum { AWS_CHECKSUM_RAW_SIZE = 32, AWS_CHECKSUM_TEXT_SIZE = 56 /* base64, "-10000" and a zero */ };

/* "CRC64NVME", as in x-amz-checksum-algorithm; NULL for NONE. */
const char *aws_checksum_name(enum aws_checksum_kind);
/* "x-amz-checksum-crc64nvme", "Content-MD5"; NULL for NONE. */
const char *aws_checksum_header(enum aws_checksum_kind);
/* Of either of these, in any case; NONE for any other. */
enum aws_checksum_kind aws_checksum_kind_of(struct bytes name_or_header);

struct aws_checksum {
    enum aws_checksum_kind kind;
    uint64_t crc, length; /* length: of what was added */
    void *hash;           /* EVP_MD_CTX */
};
/* False: libcrypto does not have it (MD5 where only FIPS is allowed), or memory is short. With NONE everything succeeds and does nothing. */
bool aws_checksum_start(struct aws_checksum *, enum aws_checksum_kind, struct err *);
bool aws_checksum_add(struct aws_checksum *, const void *data, size_t length);
/* The raw checksum, most significant byte first; returns its length, or 0. Ends it, too. */
size_t aws_checksum_finish(struct aws_checksum *, unsigned char raw[AWS_CHECKSUM_RAW_SIZE]);
void aws_checksum_end(struct aws_checksum *); /* at any time, any number of times */

/* The same for what lies in memory as a whole: its text in base64. */
bool aws_checksum_of(enum aws_checksum_kind, struct bytes data, char text[AWS_CHECKSUM_TEXT_SIZE], struct err *);
/* The raw checksum in base64. parts > 0: of that many parts, with "-N" behind it (COMPOSITE). */
void aws_checksum_text(const unsigned char *raw, size_t length, unsigned parts, char text[AWS_CHECKSUM_TEXT_SIZE]);
/* Of a cyclic checksum, FULL_OBJECT: two neighbours become one. False for the other kinds, which can't. */
bool aws_checksum_join(struct aws_checksum *first, const struct aws_checksum *second);

/* What S3 says of an object against what we made of its bytes. */
enum aws_checksum_verdict {
    AWS_CHECKSUM_SAME,
    AWS_CHECKSUM_DIFFERENT,
    AWS_CHECKSUM_OF_PARTS /* "...-N": of the checksums of parts whose lengths we don't know, so it says nothing about the whole */
};
enum aws_checksum_verdict aws_checksum_compare(struct bytes said, const unsigned char *raw, size_t length);

/* Appends base64 (RFC 4648, with its =). False without room. */
bool aws_base64(struct buf *, struct bytes raw);

#endif
