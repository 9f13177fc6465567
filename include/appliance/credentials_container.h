/* credentials_container.h - where a container's credentials are asked for (ECS, EKS Pod Identity, any agent on loopback), decided from
 * the environment alone: nothing is contacted, no name is looked up, no file is read.
 * The rule that all SDKs share: https may go anywhere, http only to this machine or to the addresses that ECS and EKS use. */
#ifndef APPLIANCE_CREDENTIALS_CONTAINER_H
#define APPLIANCE_CREDENTIALS_CONTAINER_H

#include "appliance/credentials_keys.h"

enum { CONTAINER_URL_SIZE = 2048, CONTAINER_TOKEN_FILE_LIMIT = 64 * 1024 };

struct credentials_container {
    char url[CONTAINER_URL_SIZE];
    /* What goes into the Authorization header: the whole content of token_file, read again for each request, else `token`, else none. Both
     * belong to the environment; the file wins. */
    const char *token_file, *token;
};

/* BROKEN: err->text names the variable and the cure. */
enum credentials_answer credentials_container(char *const *environment, struct credentials_container *, struct err *);
/* Whether what was read from token_file can be sent. CR and LF are refused, at its end, too: SDKs would send or refuse them, each its way. */
bool credentials_container_token(struct bytes text, const char *path, struct err *);
/* Whether http:// to this host is allowed. `host` as in a URL, an IPv6 address in brackets. */
bool credentials_container_is_local(struct bytes host);

/* Cuts "http[s]://HOST[:PORT][/PATH][?QUERY]" into its parts; false with a sentence that begins with `what`. No user, no fragment, no
 * blanks or control characters, no letters that must be escaped. Shared with the settings of IMDS. */
struct credentials_url {
    bool tls;
    struct bytes host; /* brackets included */
    int port;          /* 0: not said */
    struct bytes path; /* with its query; may be empty */
};
bool credentials_url_cut(struct bytes text, const char *what, struct credentials_url *, struct err *);

#endif
