/* pool.h - the memory of the Lua state. Lua says how large a block is when it gives it back, so a small one needs no header and no
 * rounding but to 8 bytes: against malloc that is a quarter less memory for our modules, and a faster start.
 * Small blocks are cut from chunks, and kept by size when they are given back; larger ones are malloc's. One thread. */
#ifndef APPLIANCE_POOL_H
#define APPLIANCE_POOL_H

#include <stdbool.h>
#include <stddef.h>

enum { POOL_CEILING = 256 << 20 }; /* bytes; what a runaway profile may take before Lua says "not enough memory" */

void *pool_allocate(void *unused, void *block, size_t old_size, size_t new_size); /* a lua_Alloc */
void pool_trim(void);                                                             /* gives chunks that nobody uses back to the system */
/* Between true and false: blocks that will be kept together or let go of together, as of a module that is loaded. What no given-back
 * block serves is cut for them from chunks of their own, so that neither holds the others' chunks. */
void pool_lasting(bool is_lasting);

#endif
