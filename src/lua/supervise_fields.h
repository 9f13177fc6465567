/* supervise_fields.h - fields of a Lua table, checked. What is wrong is collected, with the field's name, and raised all at once. */
#ifndef APPLIANCE_SUPERVISE_FIELDS_H
#define APPLIANCE_SUPERVISE_FIELDS_H

#include <lua.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* One reading of a table: a second table collects what is wrong with it. */
struct reading {
    lua_State *L;
    int faults;         /* stack index */
    const char *prefix; /* of the fields now being read: "", "ready." ... */
};

void fields_fault(struct reading *, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* Raises one error with all faults, if there are any: "<subject>: <fault>; <fault>". */
void fields_raise(struct reading *, const char *subject);
/* Heap memory, or raises: the result must have an owner already. */
char *fields_copy(struct reading *, const char *text);
void *fields_zeroed(struct reading *, size_t count, size_t size);
/* Pushes the field when it is there and of that type. */
bool fields_get(struct reading *, int table, const char *field, int type);
bool fields_has_zero(lua_State *L, int index);

/* Each leaves *out as it is when the field is absent or wrong. */
void fields_string(struct reading *, int table, const char *field, char **out);
void fields_boolean(struct reading *, int table, const char *field, bool *out);
void fields_number(struct reading *, int table, const char *field, double least, double most, double scale, int64_t *out);
void fields_seconds(struct reading *, int table, const char *field, int64_t *out_ms);
void fields_int(struct reading *, int table, const char *field, int least, int most, int *out);
/* One of `words`, ended by NULL; its place in the list. */
void fields_word(struct reading *, int table, const char *field, const char *const words[], int *out);
/* A misspelt field would be passed over in silence: whoever wrote it believes it works. */
void fields_refuse_unknown(struct reading *, int table, const char *const known[]);

#endif
