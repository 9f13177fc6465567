/* credentials_profile.h - the files that AWS's tools share: ~/.aws/config and ~/.aws/credentials, as one set of profiles.
 * Pure: reads bytes, not files, and does not know what a property means (credentials_recipe.h does).
 * Looks like an INI file, and is more: see the tests for what the SDKs agree on. The short form:
 *  - in config a profile is "[profile NAME]" or "[default]" (which "[profile default]" beats), in credentials it is "[NAME]";
 *  - a section or property whose name is not made of letters, digits and -_/.%@:+ is passed over, with a note;
 *  - the same profile again adds to the first; the last value wins, and credentials wins over config;
 *  - an indented line continues the value above (comments in it are text); under an empty value it must be "name = value".
 * Invariant: texts live in one block for each file, which is wiped when freed. */
#ifndef APPLIANCE_CREDENTIALS_PROFILE_H
#define APPLIANCE_CREDENTIALS_PROFILE_H

#include "appliance/bytes.h"
#include "appliance/err.h"

#include <stdbool.h>
#include <stddef.h>

enum profile_file { PROFILE_CONFIG, PROFILE_CREDENTIALS, PROFILE_FILES };
enum profile_kind { PROFILE_NORMAL, PROFILE_SSO_SESSION, PROFILE_SERVICES };
enum { PROFILE_FILE_LIMIT = 1024 * 1024, PROFILE_COUNT_LIMIT = 1000, PROFILE_PROPERTY_LIMIT = 200, PROFILE_NOTE_LIMIT = 32 };

struct profile_property {
    const char *name, *value; /* the name in small letters; the value may be empty, and has "\n" before each line that continues it */
    enum profile_file file;
    int line;
};

struct profile {
    const char *name;
    enum profile_kind kind;
    struct profile_property *properties; /* in the order of their first appearance */
    size_t count;
};

/* What a person should hear of: a fault (the file is refused) or something that was passed over. */
struct profile_note {
    bool fault;
    enum profile_file file;
    int line;
    char text[200]; /* without file and line */
};

struct profile_set {
    struct profile *profiles;
    size_t count;
    struct profile_note notes[PROFILE_NOTE_LIMIT];
    size_t note_count; /* of each file the first ones */
    struct profile_texts {
        char *path, *block;
        size_t size;
    } texts[PROFILE_FILES];
};

/* Reads one file into a set that is zeroed or holds the other file; config goes first, for what is read later wins. `path` is how the
 * file is called in sentences. False with ERR_INVALID when there is any fault: err->text is "PATH:LINE: sentence" of the first one,
 * with the number of others; all are in the notes. The set is then good for its notes only, and must still be freed. */
bool profile_read(struct profile_set *, enum profile_file, const char *path, struct bytes text, struct err *);
void profile_free(struct profile_set *); /* harmless twice, and on a zeroed one */

const struct profile *profile_find(const struct profile_set *, enum profile_kind, const char *name); /* NULL: none */
const struct profile_property *profile_property(const struct profile *, const char *name);           /* NULL: none; may be blank */
/* The value, or NULL when it is not there or blank. */
const char *profile_value(const struct profile *, const char *name);
/* "PATH:LINE" of a property, for sentences; `out` is cut at `size`. */
const char *profile_place(const struct profile_set *, const struct profile_property *, char *out, size_t size);
/* Of a value with lines of its own ("s3 =" and indented lines below) the one called `name`; false when there is none, or blank. */
bool profile_nested(const struct profile_property *, const char *name, struct bytes *value);

#endif
