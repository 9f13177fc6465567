/* probe_hive.h - what is said to a HiveServer2 (Spark's thrift server) to see that it opens a session, and what it answers. Pure.
 * A server whose catalog is gone, or that waits for a lock for ever, goes on accepting connections: only a session proves that it works.
 * SASL PLAIN and Thrift's binary protocol, all sent in one piece: SASL's two messages and the call OpenSession. The server closes the
 * session when the connection ends (ThriftBinaryCLIService, deleteContext), so none is left behind. */
#ifndef APPLIANCE_PROBE_HIVE_H
#define APPLIANCE_PROBE_HIVE_H

#include <stdbool.h>
#include <stddef.h>

enum hive_answer {
    HIVE_MORE,    /* nothing can be said yet */
    HIVE_OPEN,    /* a session was opened */
    HIVE_LOGIN,   /* it wants a login that we don't have (LDAP, CUSTOM): it speaks, and that is all that can be known */
    HIVE_FAILED,  /* it could not open a session */
    HIVE_FOREIGN, /* this is no HiveServer2, or not one that speaks SASL over plain TCP */
};

enum { HIVE_REQUEST_MAX = 200, HIVE_ANSWER_MAX = 64 };

/* Writes the request into `out` (HIVE_REQUEST_MAX bytes) -> its length. */
size_t hive_request(char *out);
/* Reads the first `length` bytes of the answer, of which more than HIVE_ANSWER_MAX are never needed. */
enum hive_answer hive_read(const char *data, size_t length);

#endif
