/* followers.h - who reads along with one output: a bounded queue each, made of whole lines, with the gaps told in it.
 * output.c keeps the list; the functions of a single follower are in output.h. */
#ifndef APPLIANCE_FOLLOWERS_H
#define APPLIANCE_FOLLOWERS_H

#include "appliance/output.h"

struct followers {
    struct follower *first;
    struct follower *next; /* whom followers_add tells next: any of them may stop from within `ready` */
};

struct followers *output_followers(struct output *); /* output.c */
void followers_add(struct followers *, const char *lines, size_t length);
void followers_end(struct followers *);

#endif
