/* Longer than our files are, because it is the one that may know curl.h; what can do without is in fetch_*.c. In order: limits, the end
 * of a transfer, what libcurl tells of one, the loop on its behalf, start and stop. */
#include "appliance/http.h"
#include "appliance/clock.h"
#include "appliance/sys.h"
#include "fetch_inner.h"

#include <arpa/inet.h>
#include <curl/curl.h>
#include <errno.h>
#include <linux/sockios.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/ioctl.h>

#define OWNER(pointer, type, member) ((type *)(void *)((char *)(pointer)-offsetof(type, member)))

enum { SMALL_PIECE = 64 * 1024 };
/* libcurl takes these by their bits; sys/epoll.h is the loop's alone. */
enum { READABLE = 0x001, WRITABLE = 0x004, BROKEN = 0x008, HUNG_UP = 0x010, PEER_DONE = 0x2000 };

struct http_transfer {
    struct http_fetch *fetch; /* NULL: given up from within a callback of libcurl; to be buried once we are outside of it */
    CURL *easy;
    struct curl_slist *headers;
    struct fetch_turn turn;
    struct fetch_body body;
    ssize_t (*push)(struct http_fetch *, const char *, size_t);
    struct timer timer;
    enum fetch_stage stage;
    bool added, paused, resume, listed, second_try;
    int64_t connect_ms, first_byte_ms, stall_ms, stall_bytes, deadline_ms;
    int64_t started_ns, stage_due_ns, deadline_ns;
    int64_t window_bytes; /* moved when the stall window began */
    int fd;               /* of its connection while libcurl waits for it, which may have been there before us; -1 */
    int unsent;           /* in the kernel's buffer when the stage or its window began */
    struct fetch_head head;
    int socket_error;
    enum http_failure failure; /* ours; beats what libcurl says */
    struct err err;
    struct http_transfer *next, *previous, *next_listed;
    char *ca_file;
    char origin[FETCH_ORIGIN_SIZE];
    char detail[CURL_ERROR_SIZE];
};

static struct {
    struct loop *loop;
    CURLM *multi;
    struct timer due, idle, soon;
    struct http_transfer *first, *listed; /* listed: something is to be done for them outside of libcurl */
    int count, inside;                    /* inside: libcurl calls us back, and must not be called */
    bool settling;
} self;

static void settle(void);

static void on_soon(struct timer *unused)
{
    (void)unused;
    settle();
}

/* For what the owner asks for: no callback of anybody comes from within these calls. */
static void settle_soon(void)
{
    if (self.listed && !self.inside && !self.settling)
        timer_start_ns(&self.soon, self.loop, 0, on_soon);
}

static void list(struct http_transfer *t)
{
    if (t->listed)
        return;
    t->listed = true;
    t->next_listed = self.listed;
    self.listed = t;
}

/* --- limits --- */

static void on_limit(struct timer *);

static void arm(struct http_transfer *t)
{
    int64_t due = t->stage_due_ns < t->deadline_ns ? t->stage_due_ns : t->deadline_ns;
    if (due == INT64_MAX)
        timer_stop(&t->timer);
    else
        timer_start_ns(&t->timer, self.loop, due - clock_ns(), on_limit);
}

static int in_kernel(const struct http_transfer *t)
{
    int unsent = 0;
    return t->fd >= 0 && ioctl(t->fd, SIOCOUTQ, &unsent) == 0 ? unsent : 0;
}

static void enter_stage(struct http_transfer *t, enum fetch_stage stage)
{
    int64_t limit = stage == FETCH_WAITING ? t->first_byte_ms : stage == FETCH_SENDING || stage == FETCH_RECEIVING ? t->stall_ms : 0;
    t->stage = stage;
    t->stage_due_ns = limit && !t->paused ? clock_ns() + limit * NS_PER_MS : INT64_MAX;
    t->window_bytes = t->fetch->received + t->fetch->sent;
    t->unsent = in_kernel(t);
    arm(t);
}

static void pause_here(struct http_transfer *t)
{
    t->paused = true; /* the peer can't help that it is slow now */
    enter_stage(t, t->stage);
}

/* --- the end of a transfer --- */

static void close_all(struct timer *unused)
{
    (void)unused;
    self.inside++;
    curl_multi_cleanup(self.multi);
    self.inside--;
    self.multi = NULL;
    timer_stop(&self.due);
}

static void bury(struct http_transfer *t)
{
    if (t->added)
        curl_multi_remove_handle(self.multi, t->easy);
    curl_easy_cleanup(t->easy);
    curl_slist_free_all(t->headers);
    timer_stop(&t->timer);
    struct fetch_turn *heir = fetch_turn_leave(&t->turn);
    if (heir)
        list(OWNER(heir, struct http_transfer, turn));
    if (t->listed)
        for (struct http_transfer **at = &self.listed; *at; at = &(*at)->next_listed)
            if (*at == t) {
                *at = t->next_listed;
                break;
            }
    if (t->next)
        t->next->previous = t->previous;
    if (t->previous)
        t->previous->next = t->next;
    else
        self.first = t->next;
    free(t->ca_file);
    free(t);
    if (--self.count == 0)
        timer_start(&self.idle, self.loop, HTTP_IDLE_MS, close_all);
}

static enum http_failure connect_failure(struct http_transfer *t, struct fetch_facts *facts)
{
    long code = 0;
    curl_easy_getinfo(t->easy, CURLINFO_OS_ERRNO, &code);
    facts->system_error = t->socket_error ? t->socket_error : (int)code;
    switch (facts->system_error) {
    case ECONNREFUSED: return HTTP_REFUSED;
    case ETIMEDOUT: return HTTP_CONNECT_TIMEOUT;
    default: return HTTP_UNREACHABLE;
    }
}

static enum http_failure tls_failure(struct http_transfer *t, CURLcode code, struct fetch_facts *facts)
{
    enum { NOT_SAID = 1, NOT_YET = 9, EXPIRED = 10 }; /* of X509_V_ERR_...; all above 1 are about the chain */
    long verdict = 0;
    curl_easy_getinfo(t->easy, CURLINFO_SSL_VERIFYRESULT, &verdict);
    if (code == CURLE_SSL_CACERT_BADFILE)
        facts->tls = FETCH_TLS_BUNDLE;
    else if (code == CURLE_PEER_FAILED_VERIFICATION)
        facts->tls = verdict == NOT_YET || verdict == EXPIRED ? FETCH_TLS_TIME : verdict > NOT_SAID ? FETCH_TLS_UNKNOWN_CA : FETCH_TLS_NAME;
    else if (strstr(t->detail, "wrong version number") || strstr(t->detail, "packet length too long") || strstr(t->detail, "http request"))
        facts->tls = FETCH_TLS_NOT_TLS;
    else if (strstr(t->detail, "SSL_ERROR_SYSCALL") || strstr(t->detail, "unexpected eof"))
        return HTTP_RESET;
    return HTTP_TLS;
}

/* libcurl's word for it as ours. */
static enum http_failure judge(struct http_transfer *t, CURLcode code, struct fetch_facts *facts)
{
    switch (code) {
    case CURLE_OK: return t->head.done ? HTTP_OK : HTTP_PROTOCOL;
    case CURLE_COULDNT_RESOLVE_PROXY:
    case CURLE_COULDNT_RESOLVE_HOST: return HTTP_NOT_RESOLVED;
    case CURLE_COULDNT_CONNECT: return connect_failure(t, facts);
    case CURLE_OPERATION_TIMEDOUT: return HTTP_CONNECT_TIMEOUT; /* it knows of no other limit */
    case CURLE_PARTIAL_FILE: return HTTP_TRUNCATED;
    case CURLE_RECV_ERROR: return t->head.done && strstr(t->detail, "unexpected eof") ? HTTP_TRUNCATED : HTTP_RESET;
    case CURLE_GOT_NOTHING:
    case CURLE_SEND_ERROR:
    case CURLE_SEND_FAIL_REWIND: return HTTP_RESET;
    case CURLE_SSL_CACERT_BADFILE:
    case CURLE_PEER_FAILED_VERIFICATION:
    case CURLE_SSL_CONNECT_ERROR: return tls_failure(t, code, facts);
    case CURLE_UNSUPPORTED_PROTOCOL: /* HTTP/0.9, or nothing of the kind */
    case CURLE_WEIRD_SERVER_REPLY: return HTTP_PROTOCOL;
    case CURLE_OUT_OF_MEMORY: /* its word for a header line above 100 KiB, too */
        facts->head_too_large = t->stage == FETCH_RECEIVING && !t->head.done;
        return facts->head_too_large ? HTTP_TOO_LARGE : HTTP_FAILURE;
    default: return HTTP_FAILURE;
    }
}

static int64_t limit_of(const struct http_transfer *t, enum http_failure failure)
{
    return failure == HTTP_DEADLINE             ? t->deadline_ms
           : failure == HTTP_FIRST_BYTE_TIMEOUT ? t->first_byte_ms
           : failure == HTTP_STALLED            ? t->stall_ms
                                                : t->connect_ms;
}

static void conclude(struct http_transfer *t, CURLcode code)
{
    struct http_fetch *fetch = t->fetch;
    long connects = 0;
    curl_easy_getinfo(t->easy, CURLINFO_NUM_CONNECTS, &connects);
    fetch->reused = fetch->connected_ns && connects == 0;
    fetch->total_ns = clock_ns() - t->started_ns;
    if (!*t->detail && code != CURLE_OK)
        snprintf(t->detail, sizeof t->detail, "%s", curl_easy_strerror(code));
    struct fetch_facts facts = {.origin = t->origin,
                                .address = fetch->address,
                                .detail = t->detail,
                                .ca_file = t->ca_file,
                                .received = fetch->received,
                                .expected = fetch->length,
                                .stall_bytes = t->stall_bytes,
                                .stage = t->stage};
    fetch->failure = t->failure ? t->failure : judge(t, code, &facts);
    facts.head_too_large |= t->head.too_large;
    facts.ceiling = facts.head_too_large ? t->head.ceiling : fetch->body.ceiling;
    facts.limit_ms = limit_of(t, fetch->failure);
    if (t->err.kind != ERR_NONE)
        err_set(&fetch->err, t->err.kind, "%.100s: %s", t->origin, t->err.text);
    else if (fetch->failure && !(fetch->failure == HTTP_STOPPED && fetch->err.kind != ERR_NONE)) /* who stopped it may have said why */
        fetch_describe(&fetch->err, fetch->failure, &facts);
}

/* Only outside of libcurl. */
static void finish(struct http_transfer *t, CURLcode code)
{
    struct http_fetch *fetch = t->fetch;
    if (fetch) {
        conclude(t, code);
        fetch->transfer = NULL;
        t->fetch = NULL;
    }
    bury(t);
    if (fetch)
        fetch->done(fetch);
}

/* A kept connection may have been closed by the peer just as the request went out. libcurl tries again only in some of these cases. */
static bool try_again(struct http_transfer *t, CURLcode code)
{
    long connects = 1;
    bool broke = code == CURLE_SEND_ERROR || code == CURLE_RECV_ERROR || code == CURLE_GOT_NOTHING;
    curl_easy_getinfo(t->easy, CURLINFO_NUM_CONNECTS, &connects);
    if (!broke || t->second_try || connects > 0 || t->head.bytes > 0 || t->failure || !t->fetch || !t->fetch->connected_ns)
        return false;
    t->second_try = true;
    self.inside++; /* its owner may stop it from there: then it waits for its burial */
    bool rewound = fetch_body_rewind(&t->body, t->fetch);
    self.inside--;
    if (!rewound)
        return false;
    if (!t->fetch)
        return true;
    curl_multi_remove_handle(self.multi, t->easy);
    curl_easy_setopt(t->easy, CURLOPT_FRESH_CONNECT, 1L);
    t->added = false;
    t->paused = false;
    t->fetch->sent = 0;
    t->fetch->connected_ns = 0;
    *t->detail = 0;
    enter_stage(t, FETCH_RESOLVING);
    list(t);
    return true;
}

static void on_limit(struct timer *timer)
{
    struct http_transfer *t = OWNER(timer, struct http_transfer, timer);
    int64_t now = clock_ns();
    if (now >= t->deadline_ns) {
        t->failure = HTTP_DEADLINE;
    } else if (t->stage == FETCH_WAITING) {
        /* Of a large body a lot was still on its way when libcurl had handed it to the kernel; that is not the peer's silence. */
        if (in_kernel(t) >= t->unsent)
            t->failure = HTTP_FIRST_BYTE_TIMEOUT;
    } else if ((t->fetch->received + t->fetch->sent - t->window_bytes) * 1000 < t->stall_bytes * t->stall_ms) {
        t->failure = HTTP_STALLED;
    }
    if (t->failure)
        finish(t, CURLE_OK);
    else
        enter_stage(t, t->stage);
    settle();
}

/* --- what libcurl tells us of one transfer --- */

static void say_address(struct http_fetch *fetch, const char *ip, int port)
{
    snprintf(fetch->address, sizeof fetch->address, strchr(ip, ':') ? "[%s]:%d" : "%s:%d", ip, port);
}

static curl_socket_t on_open_socket(void *argument, curlsocktype purpose, struct curl_sockaddr *to)
{
    (void)purpose;
    struct http_transfer *t = argument;
    if (!t->fetch)
        return CURL_SOCKET_BAD;
    char ip[INET6_ADDRSTRLEN] = "?";
    const struct sockaddr_in *v4 = (const struct sockaddr_in *)(const void *)&to->addr;
    const struct sockaddr_in6 *v6 = (const struct sockaddr_in6 *)(const void *)&to->addr;
    inet_ntop(to->family, to->family == AF_INET6 ? (const void *)&v6->sin6_addr : (const void *)&v4->sin_addr, ip, sizeof ip);
    say_address(t->fetch, ip, ntohs(to->family == AF_INET6 ? v6->sin6_port : v4->sin_port));
    t->stage = FETCH_CONNECTING;
    int fd = sys.socket(to->family, to->socktype | SOCK_CLOEXEC | SOCK_NONBLOCK, to->protocol);
    t->socket_error = fd < 0 ? errno : 0;
    return fd < 0 ? CURL_SOCKET_BAD : fd;
}

/* The connection is there, TLS included, and the request goes out now. Called again when a kept connection turned out to be dead. */
static int on_connected(void *argument, char *ip, char *own_ip, int port, int own_port)
{
    (void)own_ip, (void)own_port;
    struct http_transfer *t = argument;
    if (!t->fetch)
        return CURL_PREREQFUNC_ABORT;
    say_address(t->fetch, ip, port);
    t->fetch->connected_ns = clock_ns() - t->started_ns;
    enter_stage(t, t->body.from.length != 0 ? FETCH_SENDING : FETCH_WAITING);
    return CURL_PREREQFUNC_OK;
}

static size_t on_read(char *room, size_t size, size_t count, void *argument)
{
    struct http_transfer *t = argument;
    if (!t->fetch)
        return CURL_READFUNC_ABORT;
    ssize_t got = fetch_body_read(&t->body, t->fetch, room, size * count, &t->err);
    if (!t->fetch)
        return CURL_READFUNC_ABORT;
    if (got == HTTP_PAUSE) {
        pause_here(t);
        return CURL_READFUNC_PAUSE;
    }
    if (got < 0) {
        t->failure = HTTP_STOPPED;
        return CURL_READFUNC_ABORT;
    }
    t->fetch->sent = t->body.at;
    if (t->stage == FETCH_SENDING && (got == 0 || t->body.at == t->body.from.length))
        enter_stage(t, FETCH_WAITING);
    return (size_t)got;
}

static int on_seek(void *argument, curl_off_t offset, int origin)
{
    struct http_transfer *t = argument;
    if (!t->fetch || origin != SEEK_SET || offset != 0 || !fetch_body_rewind(&t->body, t->fetch))
        return CURL_SEEKFUNC_FAIL;
    if (!t->fetch)
        return CURL_SEEKFUNC_FAIL;
    t->fetch->sent = 0;
    return CURL_SEEKFUNC_OK;
}

/* One line of the head, its end included; libcurl has found it whole. */
static size_t on_header(char *line, size_t size, size_t count, void *argument)
{
    struct http_transfer *t = argument;
    if (!t->fetch)
        return 0;
    if (!fetch_head_line(&t->head, t->fetch, line, size * count)) {
        t->failure = HTTP_TOO_LARGE;
        return 0;
    }
    if (t->fetch->status >= 200 && t->stage != FETCH_RECEIVING) {
        t->fetch->first_byte_ns = clock_ns() - t->started_ns;
        enter_stage(t, FETCH_RECEIVING);
    }
    return size * count;
}

static bool keep(struct http_transfer *t, const char *data, size_t length)
{
    struct buf *body = &t->fetch->body;
    if (buf_append(body, data, length))
        return true;
    t->failure = length > body->ceiling - body->length ? HTTP_TOO_LARGE : HTTP_FAILURE;
    snprintf(t->detail, sizeof t->detail, "no memory for the answer");
    return false;
}

static size_t on_write(char *data, size_t size, size_t count, void *argument)
{
    struct http_transfer *t = argument;
    size_t length = size * count;
    if (!t->fetch || length == 0)
        return 0;
    if (!t->push || t->fetch->status / 100 != 2) {
        if (!keep(t, data, length))
            return 0;
    } else {
        ssize_t taken = t->push(t->fetch, data, length);
        if (!t->fetch)
            return 0;
        if (taken == HTTP_PAUSE) {
            pause_here(t);
            return CURL_WRITEFUNC_PAUSE;
        }
        if (taken != (ssize_t)length) {
            t->failure = HTTP_STOPPED;
            return 0;
        }
    }
    t->fetch->received += (int64_t)length;
    return length;
}

/* --- the loop on behalf of libcurl --- */

static void on_ready(struct watch *w, uint32_t events)
{
    int bits = (events & (READABLE | HUNG_UP | PEER_DONE) ? CURL_CSELECT_IN : 0) | (events & WRITABLE ? CURL_CSELECT_OUT : 0) |
               (events & BROKEN ? CURL_CSELECT_ERR : 0);
    int running;
    self.inside++;
    curl_multi_socket_action(self.multi, w->fd, bits, &running); /* may free the watch */
    self.inside--;
    settle();
}

static void on_due(struct timer *unused)
{
    (void)unused;
    int running;
    self.inside++;
    curl_multi_socket_action(self.multi, CURL_SOCKET_TIMEOUT, 0, &running);
    self.inside--;
    settle();
}

static int on_timer(CURLM *multi, long delay_ms, void *unused)
{
    (void)multi, (void)unused;
    if (delay_ms < 0)
        timer_stop(&self.due);
    else
        timer_start(&self.due, self.loop, delay_ms, on_due);
    return 0;
}

static int on_socket(CURL *easy, curl_socket_t fd, int what, void *unused, void *known)
{
    (void)unused;
    struct watch *w = known;
    struct http_transfer *t = NULL;
    curl_easy_getinfo(easy, CURLINFO_PRIVATE, &t);
    if (t)
        t->fd = what == CURL_POLL_REMOVE ? -1 : fd;
    if (t && t->stage == FETCH_CONNECTING && what == CURL_POLL_IN) /* a connection that is being made becomes writable */
        t->stage = FETCH_HANDSHAKE;
    if (what == CURL_POLL_REMOVE) {
        if (w)
            watch_stop(w);
        free(w);
        return 0;
    }
    uint32_t events = (what & CURL_POLL_IN ? READABLE : 0) | (what & CURL_POLL_OUT ? WRITABLE : 0);
    struct err err;
    bool ok;
    if (w) {
        ok = watch_change(w, events, &err);
    } else {
        w = calloc(1, sizeof *w);
        ok = w ? watch_start(w, self.loop, fd, events, on_ready, &err) : err_set(&err, ERR_SYSTEM, "no memory");
        if (ok)
            curl_multi_assign(self.multi, fd, w);
        else
            free(w);
    }
    if (!ok && t && t->fetch) {
        t->failure = HTTP_FAILURE; /* an error from here would end every transfer of libcurl */
        t->err = err;
        list(t);
    }
    return 0;
}

static void add(struct http_transfer *t)
{
    t->added = true;
    t->stage = FETCH_RESOLVING;
    self.inside++;
    CURLMcode code = curl_multi_add_handle(self.multi, t->easy);
    self.inside--;
    if (code == CURLM_OK)
        return;
    t->added = false;
    t->failure = HTTP_FAILURE;
    snprintf(t->detail, sizeof t->detail, "%s", curl_multi_strerror(code));
    list(t);
}

static void attend(struct http_transfer *t)
{
    if (!t->fetch || t->failure) {
        finish(t, CURLE_OK);
    } else if (t->turn.has && !t->added) {
        add(t);
    } else if (t->resume) {
        t->resume = false;
        if (!t->paused)
            return;
        t->paused = false;
        enter_stage(t, t->stage);
        self.inside++;
        CURLcode code = curl_easy_pause(t->easy, CURLPAUSE_CONT); /* hands over what it had kept, so it may fail as a transfer does */
        self.inside--;
        if (code != CURLE_OK && !t->failure)
            t->failure = HTTP_FAILURE;
        if (code != CURLE_OK)
            list(t);
    }
}

/* After every call into libcurl: what ended, and what its callbacks left for later. Owners' callbacks run from here, and may start and
 * stop as they like. */
static void settle(void)
{
    if (self.inside || self.settling)
        return;
    self.settling = true;
    while (self.multi) {
        int left;
        struct CURLMsg *message = curl_multi_info_read(self.multi, &left);
        if (message && message->msg == CURLMSG_DONE) {
            struct http_transfer *t = NULL;
            CURLcode code = message->data.result;
            curl_easy_getinfo(message->easy_handle, CURLINFO_PRIVATE, &t);
            if (!try_again(t, code))
                finish(t, code);
        } else if (self.listed) {
            struct http_transfer *t = self.listed;
            self.listed = t->next_listed;
            t->listed = false;
            attend(t);
        } else {
            break;
        }
    }
    self.settling = false;
    timer_stop(&self.soon);
}

/* --- start and stop --- */

static bool open_multi(struct loop *loop, struct err *err)
{
    static bool initialized;
    if (!initialized && curl_global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK)
        return err_set(err, ERR_SYSTEM, "libcurl can't be used: its initialization failed");
    initialized = true;
    self.loop = loop;
    timer_stop(&self.idle);
    if (self.multi)
        return true;
    self.multi = curl_multi_init();
    if (!self.multi)
        return err_set(err, ERR_SYSTEM, "libcurl: no memory or descriptors");
    curl_multi_setopt(self.multi, CURLMOPT_SOCKETFUNCTION, on_socket);
    curl_multi_setopt(self.multi, CURLMOPT_TIMERFUNCTION, on_timer);
    curl_multi_setopt(self.multi, CURLMOPT_PIPELINING, CURLPIPE_NOTHING);
    curl_multi_setopt(self.multi, CURLMOPT_MAXCONNECTS, 2L * HTTP_CONNECTIONS);
    return true;
}

static bool append(struct curl_slist **list, const char *line)
{
    struct curl_slist *longer = curl_slist_append(*list, line);
    if (longer)
        *list = longer;
    return longer != NULL;
}

/* What libcurl would say of itself is silenced by an empty header; one that is empty for us ends with a semicolon for it. */
static bool set_headers(struct http_transfer *t, const struct http_spec *spec, bool upload)
{
    static const struct headers none;
    const struct headers *given = spec->headers ? spec->headers : &none;
    const char *name, *value;
    bool ok = true;
    for (size_t at = 0; ok && headers_next(given, &at, &name, &value);) {
        if (upload && strcasecmp(name, "Content-Length") == 0)
            continue; /* it says so itself */
        size_t size = strlen(name) + strlen(value) + 3;
        char *line = malloc(size);
        if (line)
            snprintf(line, size, *value ? "%s: %s" : "%s;", name, value);
        ok = line && append(&t->headers, line);
        free(line);
    }
    if (!headers_find(given, "Accept"))
        ok = ok && append(&t->headers, "Accept:");
    if (!headers_find(given, "Expect"))
        ok = ok && append(&t->headers, spec->expect_continue ? "Expect: 100-continue" : "Expect:");
    return ok;
}

#define SET(option, value) (ok = ok && curl_easy_setopt(t->easy, option, value) == CURLE_OK)

static bool set_request(struct http_transfer *t, const struct http_spec *spec)
{
    bool ok = true;
    const char *method = spec->method;
    const char *coding = spec->headers ? headers_find(spec->headers, "Transfer-Encoding") : NULL;
    /* These announce a body even when it is empty: S3 answers 411 else. */
    bool expects_body = strcmp(method, "PUT") == 0 || strcmp(method, "POST") == 0 || strcmp(method, "PATCH") == 0;
    bool upload = spec->body.kind != HTTP_NO_BODY || expects_body;
    SET(CURLOPT_URL, spec->url);
    SET(CURLOPT_PATH_AS_IS, 1L);
    if (upload) {
        SET(CURLOPT_UPLOAD, 1L);
        SET(CURLOPT_INFILESIZE_LARGE, (curl_off_t)(coding ? -1 : t->body.from.length));
        SET(CURLOPT_UPLOAD_BUFFERSIZE, spec->body.length < 0 || spec->body.length > SMALL_PIECE ? (long)HTTP_PIECE : (long)SMALL_PIECE);
        SET(CURLOPT_CUSTOMREQUEST, method);
    } else if (strcmp(method, "HEAD") == 0) {
        SET(CURLOPT_NOBODY, 1L);
    } else if (strcmp(method, "GET") != 0) {
        SET(CURLOPT_CUSTOMREQUEST, method);
    }
    SET(CURLOPT_BUFFERSIZE,
        spec->push ? (long)HTTP_PIECE : (long)SMALL_PIECE); /* libcurl reads up to 100 of these before others have a turn */
    ok = ok && set_headers(t, spec, upload);
    SET(CURLOPT_HTTPHEADER, t->headers);
    return ok;
}

static bool set_connection(struct http_transfer *t, const struct http_spec *spec)
{
    bool ok = true;
    SET(CURLOPT_PROTOCOLS_STR, "http,https");
    SET(CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
    SET(CURLOPT_NOSIGNAL, 1L);
    SET(CURLOPT_QUICK_EXIT, 1L); /* stopping must not wait for a look-up: its thread cleans up behind itself */
    SET(CURLOPT_SSLVERSION, (long)CURL_SSLVERSION_TLSv1_2);
    SET(CURLOPT_SSL_VERIFYPEER, 1L);
    SET(CURLOPT_SSL_VERIFYHOST, 2L);
    if (spec->ca_file)
        SET(CURLOPT_CAINFO, spec->ca_file);
    if (spec->no_proxy)
        SET(CURLOPT_PROXY, "");
    SET(CURLOPT_SUPPRESS_CONNECT_HEADERS, 1L);
    SET(CURLOPT_TCP_KEEPALIVE, 1L);
    SET(CURLOPT_TCP_KEEPIDLE, 30L);
    SET(CURLOPT_TCP_KEEPINTVL, 10L);
    SET(CURLOPT_CONNECTTIMEOUT_MS, spec->connect_ms ? (long)spec->connect_ms : 24L * 3600 * 1000);
    SET(CURLOPT_MAXAGE_CONN, (long)HTTP_IDLE_MS / 1000);
    if (spec->fresh) {
        SET(CURLOPT_FRESH_CONNECT, 1L);
        SET(CURLOPT_DNS_CACHE_TIMEOUT, 0L);
    }
    return ok;
}

static bool set_callbacks(struct http_transfer *t)
{
    bool ok = true;
    SET(CURLOPT_PRIVATE, t);
    SET(CURLOPT_ERRORBUFFER, t->detail);
    SET(CURLOPT_OPENSOCKETFUNCTION, on_open_socket);
    SET(CURLOPT_OPENSOCKETDATA, t);
    SET(CURLOPT_PREREQFUNCTION, on_connected);
    SET(CURLOPT_PREREQDATA, t);
    SET(CURLOPT_READFUNCTION, on_read);
    SET(CURLOPT_READDATA, t);
    SET(CURLOPT_SEEKFUNCTION, on_seek);
    SET(CURLOPT_SEEKDATA, t);
    SET(CURLOPT_HEADERFUNCTION, on_header);
    SET(CURLOPT_HEADERDATA, t);
    SET(CURLOPT_WRITEFUNCTION, on_write);
    SET(CURLOPT_WRITEDATA, t);
    return ok;
}

static struct http_transfer *new_transfer(const struct http_spec *spec, const char *origin)
{
    struct http_transfer *t = calloc(1, sizeof *t);
    if (!t)
        return NULL;
    *t = (struct http_transfer){
        .body.from = spec->body,
        .push = spec->push,
        .connect_ms = spec->connect_ms,
        .first_byte_ms = spec->first_byte_ms,
        .stall_ms = spec->stall_ms,
        .stall_bytes = spec->stall_bytes,
        .deadline_ms = spec->deadline_ms,
        .stage_due_ns = INT64_MAX,
        .deadline_ns = INT64_MAX,
        .fd = -1,
        .head.ceiling = spec->head_ceiling,
        .started_ns = clock_ns(),
    };
    snprintf(t->origin, sizeof t->origin, "%s", origin);
    if (spec->deadline_ms)
        t->deadline_ns = t->started_ns + spec->deadline_ms * NS_PER_MS;
    if (spec->body.kind == HTTP_NO_BODY)
        t->body.from.length = 0;
    t->ca_file = spec->ca_file ? strdup(spec->ca_file) : NULL;
    t->easy = curl_easy_init();
    if (t->easy && set_request(t, spec) && set_connection(t, spec) && set_callbacks(t) && (!spec->ca_file || t->ca_file) &&
        fetch_turn_ask(&t->turn, origin))
        return t;
    curl_easy_cleanup(t->easy);
    curl_slist_free_all(t->headers);
    free(t->ca_file);
    free(t);
    return NULL;
}

bool http_fetch_start(struct http_fetch *fetch, struct loop *loop, const struct http_spec *spec, void (*done)(struct http_fetch *),
                      struct err *err)
{
    char origin[FETCH_ORIGIN_SIZE];
    *fetch = (struct http_fetch){.done = done, .length = -1};
    headers_init(&fetch->headers, spec->head_ceiling);
    buf_init(&fetch->body, spec->ceiling);
    if (!fetch_origin(spec->url, origin, err) || !fetch_body_check(spec, err) || !open_multi(loop, err))
        return false;
    struct http_transfer *t = new_transfer(spec, origin);
    if (!t) {
        if (self.count == 0)
            timer_start(&self.idle, self.loop, HTTP_IDLE_MS, close_all);
        return err_set(err, ERR_SYSTEM, "%.100s: no memory for the request", origin);
    }
    t->fetch = fetch;
    fetch->transfer = t;
    t->next = self.first;
    if (self.first)
        self.first->previous = t;
    self.first = t;
    self.count++;
    arm(t);
    if (t->turn.has)
        list(t);
    settle_soon();
    return true;
}

void http_fetch_stop(struct http_fetch *fetch)
{
    struct http_transfer *t = fetch->transfer;
    fetch->transfer = NULL;
    headers_free(&fetch->headers);
    buf_free(&fetch->body);
    if (!t)
        return;
    t->fetch = NULL;
    timer_stop(&t->timer);
    if (self.inside) {
        list(t);
        return;
    }
    bury(t);
    settle_soon();
}

void http_fetch_resume(struct http_fetch *fetch)
{
    struct http_transfer *t = fetch->transfer;
    if (!t)
        return;
    t->resume = true;
    list(t);
    settle_soon();
}

int http_fetch_count(void)
{
    return self.count;
}

void http_shutdown(void)
{
    if (!self.loop)
        return;
    for (struct http_transfer *t = self.first; t; t = t->next)
        fetch_turn_leave(&t->turn);
    while (self.first) {
        if (self.first->fetch)
            self.first->fetch->transfer = NULL;
        bury(self.first);
    }
    timer_stop(&self.idle);
    timer_stop(&self.soon);
    if (self.multi)
        close_all(NULL);
    self.loop = NULL;
}
