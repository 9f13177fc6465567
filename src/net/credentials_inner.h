/* credentials_inner.h - what the files behind credentials.h share, and nobody else sees. */
#ifndef CREDENTIALS_INNER_H
#define CREDENTIALS_INNER_H

#include "appliance/credentials.h"
#include "appliance/credentials_look.h"
#include "appliance/http.h"
#include "appliance/imds.h"
#include "appliance/sigv4.h"

/* --- small things (credentials_world.c) --- */

uint32_t credentials_dice(void); /* 32 bits; for pauses, not for secrets */
void credentials_buf_wipe(struct buf *);
void credentials_headers_wipe(struct headers *);
void credentials_fetch_wipe(struct http_fetch *); /* stops it; its body may have held keys */
/* The pause before try number `tries` + 1: full jitter below 0.5 s, 1 s, 2 s ..., 20 s at most, and at least 50 ms. */
int64_t credentials_pause_ms(int tries, uint32_t random);

/* For tests: as if so much time had passed. */
void credentials_pass_time(struct credentials_store *, int64_t ms);

/* --- what all fetches of one store need --- */

struct credentials_world {
    struct loop *loop;
    struct credentials_spec spec;
    struct imds *imds;
    struct sigv4_keys signing;
    bool notes_told;          /* what was passed over in the profile files is logged once */
    char instance_region[64]; /* from the metadata, asked once: it never changes */
    struct credentials_region *regions;
    int64_t ahead_ms; /* of the clocks: for tests, which can't wait for half a life */
};

bool credentials_world_open(struct credentials_world *, struct loop *, const struct credentials_spec *, struct err *);
void credentials_world_close(struct credentials_world *);
char *const *credentials_world_environment(const struct credentials_world *);
/* Reads the files and looks at the chain, and tells imds how it is reached. On the heap: it is large. NULL: no memory. */
struct credentials_look *credentials_world_look(struct credentials_world *, struct err *);
void credentials_region_begin(struct credentials_region *, struct credentials_world *, void (*done)(struct credentials_region *));

#endif
