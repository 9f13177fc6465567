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
/* Readers see the old text or the new one, never a part. `durable`: fsync before the rename, so that a power cut can't leave an empty file,
 * and of the directory behind it, so that it can't leave the old one. */
bool file_replace(const char *path, struct bytes text, mode_t mode, bool durable, struct err *);
/* Beside `path`: its name and `suffix`, of which the name is cut where both are longer than a name may be. False: `size` does not hold it. */
bool file_temp_name(const char *path, const char *suffix, char *out, size_t size);
/* Until the disk has what was last done to the name `path`: made, renamed, removed. Waits; true also where a file system has no such thing. */
bool file_sync_name(const char *path, struct err *);
bool file_make_dirs(const char *path, mode_t mode, struct err *); /* like mkdir -p; existing ones are left as they are */
bool file_remove_tree(const char *path, struct err *);            /* follows no link; true when nothing was there */

#endif
