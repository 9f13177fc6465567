/* zk_words.h - what ZooKeeper's numbers, names and lines mean. Pure: no library, no loop, no memory of its own. */
#ifndef APPLIANCE_ZK_WORDS_H
#define APPLIANCE_ZK_WORDS_H

#include "appliance/err.h"

#include <stdbool.h>
#include <stddef.h>

/* ZooKeeper's own error numbers (zookeeper.h), as far as somebody here branches on them. zk_send.c checks that they are the same. */
enum zk_code {
    ZK_OK = 0,
    ZK_RUNTIME = -2,
    ZK_CONNECTIONLOSS = -4,
    ZK_MARSHALLING = -5,
    ZK_OPERATIONTIMEOUT = -7,
    ZK_BADARGUMENTS = -8,
    ZK_INVALIDSTATE = -9,
    ZK_NONODE = -101,
    ZK_NOAUTH = -102,
    ZK_BADVERSION = -103,
    ZK_NOCHILDRENFOREPHEMERALS = -108,
    ZK_NODEEXISTS = -110,
    ZK_NOTEMPTY = -111,
    ZK_SESSIONEXPIRED = -112,
    ZK_AUTHFAILED = -115,
    ZK_CLOSING = -116,
    /* ours; ZooKeeper has nothing below -130 */
    ZK_QUEUEFULL = -1001, /* more is under way than may be */
    ZK_TOOLARGE = -1002,  /* a server would cut the connection on seeing it */
    ZK_NOMEMORY = -1003,
};

/* The word programs branch on, as the documentation of ZooKeeper has it without its Z: "NONODE". Never NULL: "ERROR" for an unknown one. */
const char *zk_code_name(int code);
enum err_kind zk_code_kind(int code);
/* Half a sentence for people: "no such node". Never NULL. */
const char *zk_code_text(int code);

/* Fills err: "zk create /a: no such node (NONODE)". `verb` and `path` may be NULL. Returns false. */
bool zk_fail(struct err *, int code, const char *verb, const char *path);

/* Whether a server would take it: absolute, no empty, "." or ".." part, no control characters, no final slash (but "/" itself, and when
 * `is_sequential` the server appends a number). NULL, or half a sentence that says what is wrong. */
const char *zk_path_fault(const char *path, size_t length, bool is_sequential);

/* What a line of the library's log says, in words for people: false when it says nothing they need. `line` is
 * "2026-11-23 04:12:42,123:7(0x7f):ZOO_ERROR@handle_socket_error_msg@2456: Socket 127.0.0.1:2181 zk retcode=-4, errno=111(Connection
 * refused): server refused to accept the client"; then out is "127.0.0.1:2181: Connection refused". */
bool zk_log_words(const char *line, char *out, size_t size);

#endif
