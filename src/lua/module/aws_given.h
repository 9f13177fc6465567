/* aws_given.h - the table by which Lua asks for something of AWS, as a struct aws_spec: what aws_request.c and aws_transfer.c have in common, and
 * where the fields are listed that both take (but for query, body and presign). */
#ifndef APPLIANCE_AWS_GIVEN_H
#define APPLIANCE_AWS_GIVEN_H

#include "appliance/aws_request.h"

#include <lua.h>

/* Where the table lies on the stack, and a table of our own that keeps alive what the spec points to: the caller's may change while we wait. */
enum { AWS_GIVEN_SPEC = 1, AWS_GIVEN_PINS = 2 };

struct aws_given { /* part of an operation, whose close frees it; zeroed is fine */
    struct aws_spec spec;
    struct aws_endpoint endpoint;
    struct credentials keys;
    struct headers headers;
};
void aws_given_init(struct aws_given *);
void aws_given_free(struct aws_given *);
/* Raises at what makes no sense. */
void aws_given_read(lua_State *, struct aws_given *);

/* The string on top, kept. Pops it. */
struct bytes aws_pin(lua_State *);
/* A field of the table at `index`, kept; empty or `otherwise` when it is not there. */
struct bytes aws_bytes_field(lua_State *, int index, const char *name);
const char *aws_text_field(lua_State *, int index, const char *name, const char *otherwise);

#endif
