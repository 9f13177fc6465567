/* stub_kept.h - what was uploaded: its size, as clients look whether it is there; and with --keep its bytes, to be read back. */
#pragma once
#include <stdbool.h>
#include <stddef.h>

struct kept {
    struct kept *next;
    char *name;      /* bucket/key as the request wrote it */
    unsigned upload; /* 0: an object; else a part of that upload */
    unsigned part;
    char *bytes; /* NULL: only their number was kept */
    size_t length;
    char etag[48]; /* without quotes; of a part: the MD5 its client said, as 32 digits, or empty */
};

void kept_put(const char *name, unsigned upload, unsigned part, char *bytes, size_t length, const char *etag); /* takes the bytes */
bool kept_join(const char *name, unsigned upload); /* the parts of an upload, in order, become the object */
const struct kept *kept_find(const char *name);    /* stays valid: nothing is ever freed while the server runs, but by a newer one */
void kept_seen(const char *name);                  /* a generated object of the bucket's root was asked for: it is listed from now on */
int kept_list(char *xml);                          /* <Contents> of those, 8 KiB at most: its length */
size_t kept_unwrap(char *bytes, size_t length);    /* aws-chunked framing taken away, in place: the length that is left */
