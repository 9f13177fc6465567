/* zk_send.c - what is asked of ZooKeeper over a handle of the library, and what its threads say of that: answers and watches.
 * Requests are handed over in the loop; answers come on the library's thread, and go to the loop as messages. The library gets numbers of
 * ours, not pointers, but for a multi, whose results it writes by itself: that one is the handle's until it has told of it. */
#include "zk_handle.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

_Static_assert(sizeof(void *) == 8, "the library's pointers carry our numbers of 64 bits");
_Static_assert(ZK_CONNECTIONLOSS == (int)ZCONNECTIONLOSS && ZK_RUNTIME == (int)ZRUNTIMEINCONSISTENCY &&
                   ZK_MARSHALLING == (int)ZMARSHALLINGERROR && ZK_OPERATIONTIMEOUT == (int)ZOPERATIONTIMEOUT &&
                   ZK_BADARGUMENTS == (int)ZBADARGUMENTS && ZK_INVALIDSTATE == (int)ZINVALIDSTATE && ZK_NONODE == (int)ZNONODE &&
                   ZK_NOAUTH == (int)ZNOAUTH && ZK_BADVERSION == (int)ZBADVERSION && ZK_NODEEXISTS == (int)ZNODEEXISTS &&
                   ZK_NOTEMPTY == (int)ZNOTEMPTY && ZK_SESSIONEXPIRED == (int)ZSESSIONEXPIRED && ZK_AUTHFAILED == (int)ZAUTHFAILED &&
                   ZK_CLOSING == (int)ZCLOSING && ZK_NOCHILDRENFOREPHEMERALS == (int)ZNOCHILDRENFOREPHEMERALS,
               "zk_words.h has the library's numbers");

struct zk_multi {
    uint64_t id;
    int count;
    struct zk_outcome *outcomes;
    zoo_op_t *ops;
    zoo_op_result_t *results;
    struct Stat *stats;
    struct zk_multi *next;
};

/* --- what its threads call --- */

static void put_stat(struct zk_message *m, const struct Stat *stat)
{
    if (!m || !stat)
        return;
    m->has_stat = true;
    m->stat = (struct zk_stat){.czxid = stat->czxid,
                               .mzxid = stat->mzxid,
                               .pzxid = stat->pzxid,
                               .owner = stat->ephemeralOwner,
                               .version = stat->version,
                               .cversion = stat->cversion,
                               .children = stat->numChildren,
                               .length = stat->dataLength};
}

/* An answer must not be lost: without memory for what it says, it says that. */
static struct zk_message *answer_new(const void *data, int code, size_t length)
{
    struct zk_message *m = zk_message_new(ZK_SAID_ANSWER, zk_number_of(data), length > ZK_ANSWER_CEILING ? 0 : length);
    while (!m) /* an answer without contents is 200 bytes */
        m = zk_message_new(ZK_SAID_ANSWER, zk_number_of(data), 0), code = code ? code : ZK_NOMEMORY;
    m->code = code || length <= ZK_ANSWER_CEILING ? code : ZK_TOOLARGE;
    return m;
}

static void said_void(int code, const void *data)
{
    zk_inbox_put(answer_new(data, code, 0));
}

static void said_stat(int code, const struct Stat *stat, const void *data)
{
    struct zk_message *m = answer_new(data, code, 0);
    put_stat(m, stat);
    zk_inbox_put(m);
}

static void said_data(int code, const char *value, int length, const struct Stat *stat, const void *data)
{
    size_t size = code == 0 && value && length > 0 ? (size_t)length : 0;
    struct zk_message *m = answer_new(data, code, size);
    if (m->length > 0)
        memcpy(m->data, value, m->length);
    put_stat(m, stat);
    zk_inbox_put(m);
}

static void said_string(int code, const char *value, const void *data)
{
    struct zk_message *m = answer_new(data, code, code == 0 && value ? strlen(value) : 0);
    if (m->length > 0)
        memcpy(m->data, value, m->length);
    zk_inbox_put(m);
}

static void said_strings(int code, const struct String_vector *strings, const struct Stat *stat, const void *data)
{
    size_t size = 0;
    int count = code == 0 && strings ? strings->count : 0;
    for (int i = 0; i < count; i++)
        size += strlen(strings->data[i]) + 1;
    struct zk_message *m = answer_new(data, code, size);
    if (m->length > 0 || size == 0) {
        m->count = count;
        char *at = m->data;
        for (int i = 0; i < count; i++)
            at = stpcpy(at, strings->data[i]) + 1;
    }
    put_stat(m, stat);
    zk_inbox_put(m);
}

/* Who may do what, as zkCli's setAcl takes it: "world:anyone:cdrwa". */
static int rights_text(const struct ACL *acl, char *out, size_t size)
{
    static const struct {
        int bit;
        char letter;
    } rights[] = {{4, 'c'}, {8, 'd'}, {1, 'r'}, {2, 'w'}, {16, 'a'}}; /* ZOO_PERM_*, which are no constants to C */
    char letters[8] = "";
    size_t count = 0;
    for (size_t i = 0; i < sizeof rights / sizeof *rights; i++)
        if (acl->perms & rights[i].bit)
            letters[count++] = rights[i].letter;
    return snprintf(out, size, "%s:%s:%s", acl->id.scheme, acl->id.id, letters);
}

static void said_rights(int code, struct ACL_vector *acl, struct Stat *stat, const void *data)
{
    size_t size = 0;
    int count = code == 0 && acl ? acl->count : 0;
    for (int i = 0; i < count; i++)
        size += (size_t)rights_text(&acl->data[i], NULL, 0) + 1;
    struct zk_message *m = answer_new(data, code, size);
    size_t at = 0;
    if (m->length > 0) {
        m->count = count;
        for (int i = 0; i < count; i++)
            at += (size_t)rights_text(&acl->data[i], m->data + at, size + 1 - at) + 1;
    }
    put_stat(m, stat);
    zk_inbox_put(m);
}

static void said_multi(int code, const void *data)
{
    const struct zk_multi *multi = data;
    struct zk_message *m = answer_new((const void *)(uintptr_t)multi->id, code, 0);
    m->multi = (struct zk_multi *)multi;
    zk_inbox_put(m);
}

static void said_watch(zhandle_t *zh, int type, int state, const char *path, void *context)
{
    (void)zh, (void)state, (void)path;
    if (type != ZOO_SESSION_EVENT) /* those go to every watch; `said_session` is enough */
        zk_inbox_put(zk_message_new(ZK_SAID_WATCH, zk_number_of(context), 0));
}

/* --- requests --- */

static const struct ACL_vector *acl_of(const struct zk_handle *h, int mode)
{
    return h->auth && !(mode & ZK_OPEN) ? &ZOO_CREATOR_ALL_ACL : &ZOO_OPEN_ACL_UNSAFE;
}

static int mode_of(int mode)
{
    if (mode & ZK_CONTAINER)
        return ZOO_CONTAINER;
    if (mode & ZK_EPHEMERAL)
        return mode & ZK_SEQUENTIAL ? ZOO_EPHEMERAL_SEQUENTIAL : ZOO_EPHEMERAL;
    return mode & ZK_SEQUENTIAL ? ZOO_PERSISTENT_SEQUENTIAL : ZOO_PERSISTENT;
}

void zk_multi_free(struct zk_multi *multi)
{
    if (!multi)
        return;
    for (int i = 0; multi->outcomes && i < multi->count; i++)
        free((char *)multi->outcomes[i].path);
    free(multi->outcomes);
    free(multi->ops);
    free(multi->results);
    free(multi->stats);
    free(multi);
}

void zk_multis_free(struct zk_handle *h)
{
    for (struct zk_multi *multi = h->multis, *next; multi; multi = next) {
        next = multi->next;
        zk_multi_free(multi);
    }
    h->multis = NULL;
}

static bool prepare_part(const struct zk_handle *h, struct zk_multi *multi, int i, const struct zk_part *part)
{
    zoo_op_t *op = &multi->ops[i];
    switch (part->verb) {
    case ZK_CHECK: zoo_check_op_init(op, part->path, part->version); break;
    case ZK_DELETE: zoo_delete_op_init(op, part->path, part->version); break;
    case ZK_SET: zoo_set_op_init(op, part->path, part->data.data, (int)part->data.length, part->version, &multi->stats[i]); break;
    case ZK_CREATE: {
        size_t size = strlen(part->path) + 16; /* and the number of a sequential node */
        char *path = calloc(1, size);
        multi->outcomes[i].path = path;
        if (!path)
            return false;
        zoo_create_op_init(op, part->path, part->data.data, (int)part->data.length, acl_of(h, part->mode), mode_of(part->mode), path,
                           (int)size);
        break;
    }
    default: return false;
    }
    return true;
}

static struct zk_multi *multi_new(const struct zk_handle *h, const struct zk_request *r)
{
    size_t count = (size_t)r->part_count;
    struct zk_multi *multi = calloc(1, sizeof *multi);
    if (!multi)
        return NULL;
    *multi = (struct zk_multi){.id = r->id,
                               .count = r->part_count,
                               .outcomes = calloc(count, sizeof *multi->outcomes),
                               .ops = calloc(count, sizeof *multi->ops),
                               .results = calloc(count, sizeof *multi->results),
                               .stats = calloc(count, sizeof *multi->stats)};
    bool ok = multi->outcomes && multi->ops && multi->results && multi->stats;
    for (int i = 0; ok && i < r->part_count; i++)
        ok = prepare_part(h, multi, i, &r->parts[i]);
    if (!ok) {
        zk_multi_free(multi);
        return NULL;
    }
    return multi;
}

static int send_multi(struct zk_handle *h, const struct zk_request *r)
{
    struct zk_multi *multi = multi_new(h, r);
    if (!multi)
        return ZK_NOMEMORY;
    int code = zoo_amulti(h->usable, multi->count, multi->ops, multi->results, said_multi, multi);
    if (code != ZOK) {
        zk_multi_free(multi);
        return code;
    }
    multi->next = h->multis;
    h->multis = multi;
    return ZOK;
}

static int hand_over(struct zk_handle *h, const struct zk_request *r, uint64_t point_id)
{
    const struct zk_part *what = &r->what;
    const void *id = (const void *)(uintptr_t)r->id;
    void *point = (void *)(uintptr_t)point_id;
    watcher_fn watcher = point_id ? said_watch : NULL;
    zhandle_t *zh = h->usable;
    switch (what->verb) {
    case ZK_GET: return zoo_awget(zh, what->path, watcher, point, said_data, id);
    case ZK_EXISTS: return zoo_awexists(zh, what->path, watcher, point, said_stat, id);
    case ZK_CHILDREN: return zoo_awget_children2(zh, what->path, watcher, point, said_strings, id);
    case ZK_RIGHTS: return zoo_aget_acl(zh, what->path, said_rights, id);
    case ZK_SET: return zoo_aset(zh, what->path, what->data.data, (int)what->data.length, what->version, said_stat, id);
    case ZK_CREATE:
        return zoo_acreate(zh, what->path, what->data.data, (int)what->data.length, acl_of(h, what->mode), mode_of(what->mode), said_string,
                           id);
    case ZK_DELETE: return zoo_adelete(zh, what->path, what->version, said_void, id);
    case ZK_SYNC: return zoo_async(zh, what->path, said_string, id);
    case ZK_MULTI: return send_multi(h, r);
    case ZK_CHECK: break;
    }
    return ZK_BADARGUMENTS;
}

int zk_handle_send(struct zk_handle *h, const struct zk_request *r, uint64_t point_id)
{
    if (!h->usable || is_unrecoverable(h->usable))
        return ZK_CONNECTIONLOSS;
    if (h->in_library >= 2 * ZK_REQUESTS) /* with those that were given up meanwhile */
        return ZK_QUEUEFULL;
    int code = hand_over(h, r, point_id);
    if (code == ZOK)
        h->in_library++;
    return code == ZINVALIDSTATE || code == ZMARSHALLINGERROR ? ZK_CONNECTIONLOSS : code;
}

void zk_multi_take(struct zk_handle *h, struct zk_multi *multi)
{
    for (struct zk_multi **at = &h->multis; *at; at = &(*at)->next)
        if (*at == multi) {
            *at = multi->next;
            return;
        }
}

void zk_handle_answered(struct zk_handle *h, struct zk_multi *multi)
{
    h->in_library--;
    if (multi) {
        zk_multi_take(h, multi);
        zk_multi_free(multi);
    }
}

/* The library leaves its own names behind; they become ours. */
const struct zk_outcome *zk_multi_outcomes(const struct zk_multi *multi, int *count)
{
    for (int i = 0; i < multi->count; i++) {
        multi->outcomes[i].code = multi->results[i].err;
        struct zk_message m = {0};
        if (multi->results[i].err == ZOK && multi->results[i].stat) {
            put_stat(&m, &multi->stats[i]);
            multi->outcomes[i].stat = m.stat;
        }
    }
    *count = multi->count;
    return multi->outcomes;
}
