/* The reading half of credentials_profile.h: lines into sections, sections into the set. */
#include "credentials_profile_inner.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>

/* How a section of one file counts: "[default]" of config only when there is no "[profile default]", so both are kept until the end. */
enum section_kind { SECTION_PROFILE, SECTION_SSO_SESSION, SECTION_SERVICES, SECTION_PLAIN_DEFAULT, SECTION_IGNORED };

struct section {
    enum section_kind kind;
    struct profile profile;
};

struct reading {
    struct profile_set *set;
    enum profile_file file;
    int line;
    int faults;
    char *at; /* where the next text goes in the block */
    struct section *sections;
    size_t count;
    /* Where in the file we are: */
    bool in_section;
    struct section *section;            /* NULL: before the first one, or in one that is passed over */
    bool in_property;                   /* a line above can be continued */
    bool nested;                        /* and must be by "name = value" */
    struct profile_property *continued; /* NULL: its name is not valid, so its lines are passed over */
};

static void note(struct reading *r, bool fault, const char *format, ...) __attribute__((format(printf, 3, 4)));

static void note(struct reading *r, bool fault, const char *format, ...)
{
    struct profile_set *set = r->set;
    r->faults += fault;
    /* Half of the room is for faults alone: they are why the file is refused. */
    if (set->note_count >= (fault ? PROFILE_NOTE_LIMIT : PROFILE_NOTE_LIMIT / 2))
        return;
    struct profile_note *n = &set->notes[set->note_count++];
    *n = (struct profile_note){.fault = fault, .file = r->file, .line = r->line};
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(n->text, sizeof n->text, format, arguments);
    va_end(arguments);
}

/* --- what is found --- */

/* How much of it stands in a note. */
static int shown(struct bytes text)
{
    return text.length < 60 ? (int)text.length : 60;
}

static bool is_name(struct bytes text)
{
    for (size_t i = 0; i < text.length; i++)
        if (!isalnum((unsigned char)text.data[i]) && !(text.data[i] && strchr("-_/.%@:+", text.data[i])))
            return false;
    return text.length > 0;
}

/* The block is twice the file and more, and each text is made of a part of a line with one zero or '\n' added: there is room. */
static char *keep(struct reading *r, struct bytes text)
{
    char *copy = r->at;
    if (text.length)
        memcpy(copy, text.data, text.length);
    copy[text.length] = 0;
    r->at += text.length + 1;
    return copy;
}

/* NULL: no room. Names and values are in the block already. */
static struct profile_property *put(struct profile *profile, const struct profile_property *property)
{
    struct profile_property *old = (struct profile_property *)profile_property(profile, property->name);
    if (!old) {
        if (profile->count == PROFILE_PROPERTY_LIMIT)
            return NULL;
        if ((profile->count & (profile->count - 1)) == 0) { /* a power of two: full */
            size_t room = profile->count ? profile->count * 2 : 1;
            struct profile_property *more = realloc(profile->properties, room * sizeof *more);
            if (!more)
                return NULL;
            profile->properties = more;
        }
        old = &profile->properties[profile->count++];
    }
    *old = *property;
    return old;
}

static struct section *section_of(struct reading *r, enum section_kind kind, struct bytes name)
{
    for (size_t i = 0; i < r->count; i++) {
        struct section *s = &r->sections[i];
        if (s->kind == kind && bytes_equal(bytes_of(s->profile.name), name))
            return s;
    }
    if (r->count == PROFILE_COUNT_LIMIT) {
        note(r, true, "more than %d sections", PROFILE_COUNT_LIMIT);
        return NULL;
    }
    struct section *s = &r->sections[r->count++];
    *s = (struct section){.kind = kind, .profile = {.name = keep(r, name)}};
    return s;
}

/* Takes `word` and the blanks behind it off the front. */
static bool take_word(struct bytes *text, const char *word)
{
    size_t length = strlen(word);
    if (text->length <= length || memcmp(text->data, word, length) != 0 || !profile_is_blank(text->data[length]))
        return false;
    *text = profile_trim((struct bytes){text->data + length, text->length - length});
    return true;
}

static enum section_kind kind_of(struct reading *r, struct bytes *name)
{
    struct bytes whole = *name;
    enum section_kind kind = SECTION_PROFILE;
    if (r->file == PROFILE_CONFIG) {
        if (take_word(name, "sso-session"))
            kind = SECTION_SSO_SESSION;
        else if (take_word(name, "services"))
            kind = SECTION_SERVICES;
        else if (!take_word(name, "profile")) {
            if (bytes_equal(*name, bytes_of("default")))
                return SECTION_PLAIN_DEFAULT;
            note(r, false, "[%.*s] is passed over: here a profile's name stands behind the word profile, as in [profile %.*s]",
                 shown(whole), whole.data, shown(whole), whole.data);
            return SECTION_IGNORED;
        }
    } else if (take_word(name, "profile") && is_name(*name)) {
        note(r, false, "[%.*s] is passed over: in this file a profile's name stands alone, as in [%.*s]", shown(whole), whole.data,
             shown(*name), name->data);
        return SECTION_IGNORED;
    }
    if (is_name(*name))
        return kind;
    note(r, false, "[%.*s] is passed over: a name has letters, digits and -_/.%%@:+ only", shown(whole), whole.data);
    return SECTION_IGNORED;
}

static void read_section(struct reading *r, struct bytes line)
{
    r->in_section = true;
    r->section = NULL;
    r->in_property = false;
    line = profile_without_comment(line, true);
    if (line.length < 2 || line.data[line.length - 1] != ']') {
        note(r, true, "a section must end with ']'");
        return;
    }
    struct bytes name = profile_trim((struct bytes){line.data + 1, line.length - 2});
    enum section_kind kind = kind_of(r, &name);
    if (kind != SECTION_IGNORED)
        r->section = section_of(r, kind, name);
}

static void read_property(struct reading *r, struct bytes line)
{
    struct bytes name, value;
    r->in_property = false;
    if (!r->in_section) {
        note(r, true, "a section such as [default] was expected before the first property");
        return;
    }
    if (!profile_split(profile_without_comment(line, false), &name, &value)) {
        note(r, true, "an '=' was expected between a property's name and its value");
        return;
    }
    if (name.length == 0) {
        note(r, true, "a property without a name");
        return;
    }
    r->in_property = true;
    r->nested = value.length == 0;
    r->continued = NULL;
    if (!is_name(name)) {
        note(r, false, "the property %.*s is passed over: a name has letters, digits and -_/.%%@:+ only", shown(name), name.data);
        return;
    }
    if (!r->section)
        return;
    struct profile_property property = {.file = r->file, .line = r->line};
    char *small = keep(r, name);
    for (char *c = small; *c; c++)
        *c = (char)tolower((unsigned char)*c);
    property.name = small;
    property.value = keep(r, value); /* last in the block, so that lines can be put behind it */
    r->continued = put(&r->section->profile, &property);
    if (!r->continued)
        note(r, true, "more than %d properties in one section", PROFILE_PROPERTY_LIMIT);
}

static void read_continuation(struct reading *r, struct bytes line)
{
    bool comment = line.data[0] == '#' || line.data[0] == ';';
    if (!r->in_property) {
        /* An indented comment where nothing can be continued hurts nobody; botocore takes it, too. */
        if (!comment)
            note(r, true,
                 r->in_section ? "an indented line continues the property above it, and there is none"
                               : "a section such as [default] was expected before the first line");
        return;
    }
    if (r->nested) {
        struct bytes name, value;
        if (comment)
            return;
        if (!profile_split(profile_without_comment(line, false), &name, &value)) {
            note(r, true, "an '=' was expected between the name and the value of an indented property");
            return;
        }
        if (name.length == 0) {
            note(r, true, "an indented property without a name");
            return;
        }
    }
    if (!r->continued)
        return;
    r->at[-1] = '\n';
    keep(r, line);
}

static void read_line(struct reading *r, struct bytes line)
{
    if (line.length && line.data[line.length - 1] == '\r')
        line.length--;
    struct bytes inner = profile_trim(line);
    if (inner.length == 0 || line.data[0] == '#' || line.data[0] == ';')
        return;
    if (memchr(line.data, 0, line.length))
        note(r, true, "a zero byte: is this a text file?");
    else if (line.data[0] == '[')
        read_section(r, line);
    else if (profile_is_blank(line.data[0]))
        read_continuation(r, inner);
    else
        read_property(r, line);
}

/* --- from one file's sections into the set --- */

static struct profile *profile_for(struct profile_set *set, enum profile_kind kind, const char *name)
{
    struct profile *found = (struct profile *)profile_find(set, kind, name);
    if (found)
        return found;
    struct profile *more = realloc(set->profiles, (set->count + 1) * sizeof *more);
    if (!more)
        return NULL;
    set->profiles = more;
    more[set->count] = (struct profile){.name = name, .kind = kind};
    return &more[set->count++];
}

static bool merge(struct reading *r, struct err *err)
{
    bool prefixed_default = false;
    for (size_t i = 0; i < r->count; i++)
        prefixed_default |=
            r->file == PROFILE_CONFIG && r->sections[i].kind == SECTION_PROFILE && strcmp(r->sections[i].profile.name, "default") == 0;
    for (size_t i = 0; i < r->count; i++) {
        const struct section *s = &r->sections[i];
        if (s->kind == SECTION_PLAIN_DEFAULT && prefixed_default)
            continue;
        enum profile_kind kind = s->kind == SECTION_SSO_SESSION ? PROFILE_SSO_SESSION
                                 : s->kind == SECTION_SERVICES  ? PROFILE_SERVICES
                                                                : PROFILE_NORMAL;
        struct profile *profile = profile_for(r->set, kind, s->profile.name);
        for (size_t j = 0; profile && j < s->profile.count; j++)
            if (!put(profile, &s->profile.properties[j]))
                profile = NULL;
        if (!profile)
            return err_set(err, ERR_INVALID, "%s: no room for the profile %.60s: it may have %d properties", r->set->texts[r->file].path,
                           s->profile.name, PROFILE_PROPERTY_LIMIT);
    }
    return true;
}

static bool first_fault(const struct reading *r, const char *path, struct err *err)
{
    for (size_t i = 0; i < r->set->note_count; i++) {
        const struct profile_note *n = &r->set->notes[i];
        if (!n->fault || n->file != r->file)
            continue;
        if (r->faults > 1)
            return err_set(err, ERR_INVALID, "%s:%d: %s (and %d more)", path, n->line, n->text, r->faults - 1);
        return err_set(err, ERR_INVALID, "%s:%d: %s", path, n->line, n->text);
    }
    return err_set(err, ERR_INVALID, "%s: %d faults", path, r->faults);
}

bool profile_read(struct profile_set *set, enum profile_file file, const char *path, struct bytes text, struct err *err)
{
    struct profile_texts *texts = &set->texts[file];
    if (texts->path)
        return err_set(err, ERR_CONFLICT, "%s: this set has a file of that kind already", path);
    if (text.length > PROFILE_FILE_LIMIT)
        return err_set(err, ERR_INVALID, "%s: %zu bytes, more than the %d it may have", path, text.length, PROFILE_FILE_LIMIT);
    struct reading r = {.set = set, .file = file};
    texts->path = strdup(path);
    texts->size = 2 * text.length + 16;
    texts->block = calloc(1, texts->size);
    r.sections = calloc(PROFILE_COUNT_LIMIT, sizeof *r.sections);
    r.at = texts->block;
    bool ok = texts->path && texts->block && r.sections;
    if (!ok) {
        free(r.sections);
        return err_set(err, ERR_SYSTEM, "%s: no memory to read it", path);
    }
    if (text.length >= 3 && memcmp(text.data, "\xef\xbb\xbf", 3) == 0) /* what Windows editors put first */
        text = (struct bytes){text.data + 3, text.length - 3};
    while (text.length) {
        const char *end = memchr(text.data, '\n', text.length);
        size_t length = end ? (size_t)(end - text.data) : text.length;
        r.line++;
        read_line(&r, (struct bytes){text.data, length});
        length += end != NULL;
        text = (struct bytes){text.data + length, text.length - length};
    }
    ok = r.faults == 0 ? merge(&r, err) : first_fault(&r, path, err);
    for (size_t i = 0; i < r.count; i++)
        free(r.sections[i].profile.properties);
    free(r.sections);
    return ok;
}
