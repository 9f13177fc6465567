/* credentials_agent.h - asks a container's credentials (ECS, EKS Pod Identity, any agent on loopback) where credentials_container.h says.
 * The token file is read again for each try: whoever wrote it may have written a new one. Never through a proxy. 2 s to connect, 5 s for
 * the answer, four tries with pauses for what may pass. */
#ifndef APPLIANCE_CREDENTIALS_AGENT_H
#define APPLIANCE_CREDENTIALS_AGENT_H

#include "appliance/credentials_container.h"
#include "appliance/http.h"

struct credentials_agent { /* zeroed = stopped */
    void (*done)(struct credentials_agent *);
    bool ok;
    struct credentials keys; /* when ok; may be taken over */
    struct err err;          /* unless ok. DENIED and INVALID: asking again soon is of no use */
    /* the rest is its own */
    struct loop *loop;
    const struct credentials_container *container;
    const char *ca_file;
    struct http_fetch fetch;
    struct timer pause;
    char subject[100];
    int tries;
};

/* `container` and `ca_file` (NULL: the system's authorities) must live until the stop. `done` is called in the loop, never from within. */
void credentials_agent_start(struct credentials_agent *, struct loop *, const struct credentials_container *, const char *ca_file,
                             void (*done)(struct credentials_agent *));
void credentials_agent_stop(struct credentials_agent *); /* wipes and frees the result; fine when stopped */

#endif
