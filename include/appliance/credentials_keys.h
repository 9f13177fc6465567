/* credentials_keys.h - one set of AWS keys in memory, and how the rest of the code speaks of where keys come from.
 * Knows no source and no clock. Secrets are wiped when freed, and no sentence of an err ever holds one.
 * Invariant: what is in here can stand in an HTTP header: printable ASCII, no blank inside, within the ceilings below. */
#ifndef APPLIANCE_CREDENTIALS_KEYS_H
#define APPLIANCE_CREDENTIALS_KEYS_H

#include "appliance/bytes.h"
#include "appliance/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { CREDENTIALS_ID_LIMIT = 128, CREDENTIALS_SECRET_LIMIT = 1024, CREDENTIALS_TOKEN_LIMIT = 16 * 1024 };
#define CREDENTIALS_NEVER INT64_MAX

struct credentials {
    char *access_key_id, *secret_access_key; /* both or neither */
    char *session_token;                     /* NULL: long-term keys */
    char *account_id;                        /* NULL: not told */
    int64_t expires_wall_ms;                 /* CREDENTIALS_NEVER: not told, so they are taken for ever */
};

/* What a look at one source's settings says. A source that is not configured leaves the word to the next one; a broken one doesn't:
 * falling through would use another identity than the one that somebody meant. */
enum credentials_answer { CREDENTIALS_UNSET, CREDENTIALS_READY, CREDENTIALS_BROKEN };

/* Fills a zeroed (or freed) set with copies; blanks around each are dropped, blank ones count as not given. `account_id` and `session_token`
 * may be empty. False with ERR_INVALID and a sentence that begins with the part's name: "the secret access key holds a line break". */
bool credentials_set(struct credentials *, struct bytes access_key_id, struct bytes secret_access_key, struct bytes session_token,
                     struct bytes account_id, int64_t expires_wall_ms, struct err *);
bool credentials_copy(struct credentials *to, const struct credentials *from, struct err *);
void credentials_free(struct credentials *); /* harmless twice, and on a zeroed one */

/* Whether `text` can be the value of a header that carries a secret. `what` begins the sentence: "the token in FILE". */
bool credentials_header_check(struct bytes text, size_t limit, const char *what, struct err *);
/* Without blanks, tabs and line ends around it. */
struct bytes credentials_trim(struct bytes);
/* The value in an environment as of environ(7): NULL when it is not set or blank, which is the same to every SDK. */
const char *credentials_variable(char *const *environment, const char *name);

#endif
