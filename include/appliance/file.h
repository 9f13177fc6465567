/* file.h - small files, whole: read with a ceiling, replaced atomically. May wait for a disk; the loop's thread only calls
 * these for local files of our own, and never file_replace with `durable`. */
#ifndef APPLIANCE_FILE_H
#define APPLIANCE_FILE_H

#include "appliance/buf.h"
#include "appliance/err.h"

#include <stdbool.h>
#include <sys/types.h>

/* Appends the whole file to `out`; INVALID when it is larger than out's ceiling allows. Never waits for the other end of a FIFO. */
bool file_read(const char *path, struct buf *out, struct err *);
/* Readers see the old text or the new one, never a part. `durable`: fsync before the rename, so that a power cut can't leave an empty file. */
bool file_replace(const char *path, struct bytes text, mode_t mode, bool durable, struct err *);
bool file_make_dirs(const char *path, mode_t mode, struct err *); /* like mkdir -p; existing ones are left as they are */
bool file_remove_tree(const char *path, struct err *);            /* follows no link; true when nothing was there */

#endif
