/* s3_inner.h - where the bytes of a download go (a file that appears when it is whole, or a descriptor that takes them in order), and the pipe that an
 * upload comes from: for s3_get*.c and s3_put*.c. */
#ifndef APPLIANCE_S3_INNER_H
#define APPLIANCE_S3_INNER_H

#include "appliance/bytes.h"
#include "appliance/loop.h"
#include "appliance/s3_parts.h"

#include <sys/types.h>

/* --- s3_file.c: a temporary file beside the one that is to be, written anywhere in it by pwrite ---
 * The pages go to the kernel's cache, so a write waits for the disk only when the kernel has too many of them (200 ms at a time, then).
 * Invariant: the temporary file is there exactly while `temp` is not NULL. */

struct s3_file { /* zeroed: none */
    char *path, *temp;
    int fd;
    int64_t size;
    struct loop *loop; /* while it is synced */
    struct offload *sync;
    void (*landed)(struct s3_file *, const struct err *); /* err->kind is ERR_NONE when it has */
};
/* mode: as for open(2), of which the umask takes away; what was there of that name stays untouched. A link is followed. */
bool s3_file_open(struct s3_file *, const char *path, mode_t mode, struct err *);
/* Takes the room on the disk now, where the file system can: a full disk is told before anything is fetched. */
bool s3_file_reserve(struct s3_file *, int64_t size, struct err *);
bool s3_file_write(struct s3_file *, int64_t offset, const char *data, size_t length, struct err *);
/* What was written there; false also when it is not all of that length. */
bool s3_file_read(const struct s3_file *, int64_t offset, char *data, size_t length, struct err *);
/* In place of the old one: with the time of its last change when changed_wall_ms >= 0, and synced to the disk first, and its name behind that, on a
 * helper thread, when `durable`: then, and only then, `landed` says how it went. Otherwise it is done, or has failed, on return. */
bool s3_file_land(struct s3_file *, struct loop *, int64_t changed_wall_ms, bool durable,
                  void (*landed)(struct s3_file *, const struct err *), struct err *);
void s3_file_drop(struct s3_file *); /* removes what has not landed; any number of times */

/* --- s3_outlet.c: a descriptor of somebody else's, written in order and without waiting for its reader --- */

struct s3_outlet { /* zeroed: closed */
    struct loop *loop;
    struct watch watch;
    int fd, given;
    bool open, socket, ask_first;
    char *ring;
    int64_t head;                      /* so much has been written */
    int64_t filled[S3_ORDERED_PARTS];  /* up to which offset the part in this place of the ring has come */
    void (*moved)(struct s3_outlet *); /* from the loop: there is more room, or it has failed */
    void (*passed)(struct s3_outlet *, int64_t offset, const char *data, size_t length); /* this was written: all bytes, in order */
    struct err err;
};
bool s3_outlet_open(struct s3_outlet *, struct loop *, int fd, void (*moved)(struct s3_outlet *),
                    void (*passed)(struct s3_outlet *, int64_t, const char *, size_t), struct err *);
/* Up to which offset bytes may be given now: those in front of it have a place. */
int64_t s3_outlet_room(const struct s3_outlet *);
/* Takes all. The bytes of one part (S3_ORDERED_PART) come in order, parts in any. False: see err. */
bool s3_outlet_put(struct s3_outlet *, int64_t offset, const char *data, size_t length);
void s3_outlet_close(struct s3_outlet *); /* the descriptor that was given stays open */

/* --- s3_inlet.c: a descriptor of somebody else's, read without waiting for its writer --- */

struct s3_inlet { /* zeroed: closed */
    struct loop *loop;
    struct watch watch;
    struct timer soon;
    int fd;
    bool open, socket;
    bool always; /* it can be read at any time */
    bool once;   /* its description is shared and waits: one read for each time that it is ready */
    bool named;  /* a pipe that nobody may have opened for writing yet, which reads like one whose writers are gone */
    void (*ready)(struct s3_inlet *);
};
enum { S3_INLET_EMPTY = -1, S3_INLET_BROKEN = -2 };
bool s3_inlet_open(struct s3_inlet *, struct loop *, int fd, void (*ready)(struct s3_inlet *), struct err *);
bool s3_inlet_wait(struct s3_inlet *, struct err *); /* `ready` is called, again and again, when there is something to be read */
void s3_inlet_rest(struct s3_inlet *);               /* until the next wait */
/* Up to `size` bytes; 0 at the end; EMPTY: nothing now; BROKEN. */
ssize_t s3_inlet_read(struct s3_inlet *, char *room, size_t size, struct err *);
void s3_inlet_close(struct s3_inlet *); /* the descriptor that was given stays open */

#endif
