/* sigv4 against AWS's own test suite and the worked examples of the S3 reference, where they stand: $CONFORMANCE, or ../shared/conformance
 * beside the checkout. */
#include "appliance/sigv4.h"

#include <dirent.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { TEXT_SIZE = 16 * 1024, SUITE_CASES = 38 };

static char folder[512];

static bool read_text(const char *path, char text[TEXT_SIZE])
{
    FILE *file = fopen(path, "rb");
    if (!file)
        return false;
    size_t length = fread(text, 1, TEXT_SIZE - 1, file);
    text[length] = 0;
    fclose(file);
    return true;
}

static void is_there_or_skip(const char *name)
{
    const char *given = getenv("CONFORMANCE");
    snprintf(folder, sizeof folder, "%s/%s", given ? given : TEST_SOURCE "/../shared/conformance", name);
    DIR *dir = opendir(folder);
    if (!dir) {
        print_message("skipped: there is no %s (set CONFORMANCE to the folder with the signing vectors)\n", folder);
        skip();
    }
    closedir(dir);
}

/* --- as much of JSON as these files use: "key": "text" or a word --- */

static bool json_field(const char *json, const char *key, char *out, size_t size)
{
    char quoted[64];
    snprintf(quoted, sizeof quoted, "\"%s\":", key);
    const char *at = strstr(json, quoted);
    out[0] = 0;
    if (!at)
        return false;
    at += strlen(quoted);
    at += strspn(at, " \n");
    bool text = *at == '"';
    size_t length = 0;
    for (at += text; *at && length + 1 < size && (text ? *at != '"' : !strchr(",}\n", *at)); at++) {
        if (*at == '\\')
            at++;
        out[length++] = at[-1] == '\\' && *at == 'n' ? '\n' : *at;
    }
    out[length] = 0;
    return true;
}

/* --- one request of the suite --- */

struct example {
    char request[TEXT_SIZE], token[2048], access_key[64], secret_key[64];
    struct sigv4_credentials credentials;
    struct sigv4_scope scope;
    struct sigv4_request sigv4;
    struct headers headers;
    char query_text[4096];
    struct aws_pair query[16];
    int64_t wall_ms;
};

static int hex(char c)
{
    return c >= '0' && c <= '9' ? c - '0' : c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

/* In place: requests of the suite hold their queries partly escaped, we take them as they are meant. */
static struct bytes unescape(char *text, size_t length)
{
    size_t out = 0;
    for (size_t i = 0; i < length; i++) {
        bool escaped = text[i] == '%' && i + 2 < length && hex(text[i + 1]) >= 0 && hex(text[i + 2]) >= 0;
        text[out++] = escaped ? (char)(hex(text[i + 1]) * 16 + hex(text[i + 2])) : text[i];
        i += escaped ? 2 : 0;
    }
    return (struct bytes){text, out};
}

static void read_query(struct example *e, struct bytes query)
{
    assert_true(query.length < sizeof e->query_text);
    memcpy(e->query_text, query.data, query.length);
    e->query_text[query.length] = 0;
    char *rest = e->query_text;
    for (char *pair; (pair = strsep(&rest, "&"));) {
        char *equals = strchr(pair, '=');
        size_t name = equals ? (size_t)(equals - pair) : strlen(pair);
        struct bytes value = equals ? unescape(equals + 1, strlen(equals + 1)) : bytes_of("");
        e->query[e->sigv4.query_count++] = (struct aws_pair){unescape(pair, name), value};
    }
    e->sigv4.query = e->query;
}

/* METHOD /path?query HTTP/1.1, headers that may be folded, an empty line, a body. */
static void read_request(struct example *e)
{
    char *rest = e->request, *line = strsep(&rest, "\n");
    char *method_end = strchr(line, ' '), *target_end = strrchr(line, ' ');
    e->sigv4.method = (struct bytes){line, (size_t)(method_end - line)};
    struct bytes target = {method_end + 1, (size_t)(target_end - method_end - 1)};
    const char *mark = memchr(target.data, '?', target.length);
    e->sigv4.path = (struct bytes){target.data, mark ? (size_t)(mark - target.data) : target.length};
    if (mark)
        read_query(e, (struct bytes){mark + 1, target.length - e->sigv4.path.length - 1});

    while (rest && *rest && *rest != '\n') {
        for (char *end = strchr(rest, '\n'); end && end[1] == ' '; end = strchr(end, '\n'))
            *end = ' '; /* what is folded is one line with blanks in it (RFC 9112 5.2) */
        line = strsep(&rest, "\n");
        char *colon = strchr(line, ':');
        *colon = 0;
        assert_true(headers_add_text(&e->headers, line, colon + 1, NULL));
    }
    struct bytes body = rest && *rest == '\n' ? bytes_of(rest + 1) : bytes_of("");
    e->sigv4.payload = SIGV4_PAYLOAD_HASHED;
    assert_true(sigv4_hash(body, e->sigv4.payload_hash));
}

static void read_example(struct example *e, const char *name)
{
    static char context[TEXT_SIZE];
    char path[1024], word[64];
    memset(e, 0, sizeof *e);
    headers_init(&e->headers, TEXT_SIZE);
    snprintf(path, sizeof path, "%s/%s/context.json", folder, name);
    assert_true(read_text(path, context));
    snprintf(path, sizeof path, "%s/%s/request.txt", folder, name);
    assert_true(read_text(path, e->request));
    json_field(context, "access_key_id", e->access_key, sizeof e->access_key);
    json_field(context, "secret_access_key", e->secret_key, sizeof e->secret_key);
    json_field(context, "token", e->token, sizeof e->token);
    e->credentials = (struct sigv4_credentials){bytes_of(e->access_key), bytes_of(e->secret_key), bytes_of(e->token)};
    e->scope = (struct sigv4_scope){.region = bytes_of("us-east-1"), .service = bytes_of("service")};
    /* Paths of the suite are escaped once in both kinds, whatever its service would do. */
    if (json_field(context, "normalize", word, sizeof word) && strcmp(word, "true") == 0)
        e->scope.rules |= SIGV4_NORMALISE;
    if (json_field(context, "sign_body", word, sizeof word) && strcmp(word, "true") == 0)
        e->scope.rules |= SIGV4_PAYLOAD_HEADER;
    if (json_field(context, "omit_session_token", word, sizeof word) && strcmp(word, "true") == 0)
        e->scope.rules |= SIGV4_TOKEN_UNSIGNED;
    assert_true(json_field(context, "timestamp", word, sizeof word) && aws_date_read_iso(bytes_of(word), &e->wall_ms, NULL));
    read_request(e);
}

static void assert_file(const char *name, const char *form, const char *part, struct bytes got)
{
    static char expected[TEXT_SIZE];
    char path[1024];
    snprintf(path, sizeof path, "%s/%s/%s-%s.txt", folder, name, form, part);
    assert_true(read_text(path, expected));
    if (!bytes_equal(bytes_of(expected), got))
        fail_msg("%s, %s-%s:\nexpected: %s\ngot: %.*s", name, form, part, expected, (int)got.length, got.data);
}

static void assert_signed(const char *name, const char *form, const struct sigv4_result *result)
{
    assert_file(name, form, "canonical-request", buf_bytes(&result->canonical));
    assert_file(name, form, "string-to-sign", buf_bytes(&result->to_sign));
    assert_file(name, form, "signature", bytes_of(result->signature));
}

/* What the suite's signed request has in these headers is what we send. */
static void assert_sent(const char *name, const struct headers *headers)
{
    static const char *const names[] = {"Authorization", "X-Amz-Date", "X-Amz-Security-Token", "x-amz-content-sha256"};
    static char sent[TEXT_SIZE];
    char path[1024], line[4096];
    snprintf(path, sizeof path, "%s/%s/header-signed-request.txt", folder, name);
    assert_true(read_text(path, sent));
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        const char *value = headers_find(headers, names[i]);
        snprintf(line, sizeof line, "\n%s:", names[i]);
        const char *at = strstr(sent, line);
        assert_true((at != NULL) == (value != NULL));
        if (value)
            assert_memory_equal(at + strlen(line), value, strlen(value));
    }
}

/* Each parameter of the suite's URL is in ours, and no other; their order is free. */
static void assert_url(const char *name, const struct sigv4_result *result)
{
    static char sent[TEXT_SIZE], ours[TEXT_SIZE];
    char path[1024];
    snprintf(path, sizeof path, "%s/%s/query-signed-request.txt", folder, name);
    assert_true(read_text(path, sent));
    char *query = strchr(sent, '?') + 1;
    *strstr(query, " HTTP/1.1") = 0;
    snprintf(ours, sizeof ours, "&%.*s&", (int)result->target.length, result->target.data);
    *strchr(ours, '?') = '&';
    size_t length = strcspn(ours + 1, "&") + 2;
    for (char *pair; (pair = strsep(&query, "&"));) {
        char wanted[4096];
        snprintf(wanted, sizeof wanted, "&%s&", pair);
        const char *first = strchr(pair, '=');
        /* a name in plain UTF-8 is escaped by us */
        if ((unsigned char)pair[0] < 0x80 && !strstr(ours, wanted))
            fail_msg("%s: %s is not in %s", name, pair, ours);
        length += (unsigned char)pair[0] < 0x80 ? strlen(pair) + 1 : strlen("%E1%88%B4") + strlen(first) + 1;
    }
    assert_int_equal(length, strlen(ours));
}

static void signs_the_suite(void **state)
{
    (void)state;
    static struct example e;
    struct sigv4_keys keys = {0};
    struct sigv4_result result;
    struct err err = {0};
    int count = 0;
    is_there_or_skip("sigv4");
    sigv4_result_init(&result);
    DIR *dir = opendir(folder);
    for (struct dirent *entry; (entry = readdir(dir));) {
        if (entry->d_name[0] == '.')
            continue;
        const char *name = entry->d_name;
        read_example(&e, name);
        unsigned payload_header = e.scope.rules & SIGV4_PAYLOAD_HEADER;
        for (int again = 0; again < 2; again++) { /* as for a second try, with the headers of the first */
            if (!sigv4_sign(&keys, &e.credentials, &e.scope, &e.sigv4, e.wall_ms, &e.headers, &result, &err))
                fail_msg("%s: %s", name, err.text);
            assert_signed(name, "header", &result);
            assert_sent(name, &e.headers);
        }
        headers_free(&e.headers);

        read_example(&e, name);
        e.scope.rules &= ~payload_header; /* a URL has no header for it, here the hash is signed all the same */
        if (!sigv4_presign(&keys, &e.credentials, &e.scope, &e.sigv4, e.wall_ms, 3600, &e.headers, &result, &err))
            fail_msg("%s: %s", name, err.text);
        assert_signed(name, "query", &result);
        assert_url(name, &result);
        headers_free(&e.headers);
        count++;
    }
    closedir(dir);
    sigv4_result_free(&result);
    sigv4_keys_clear(&keys);
    print_message("%d cases, by header and by query each\n", count);
    assert_int_equal(count, SUITE_CASES);
}

/* --- the S3 reference --- */

static const char *const S3_EXAMPLES[] = {"get-object-range", "put-object", "get-bucket-lifecycle", "list-objects",
                                          "presigned-get",    "chunked",    "chunked-trailer"};

/* The text of one case: from its name to the next case's. */
static char *case_of(char *all, const char *name)
{
    static char text[TEXT_SIZE];
    char mark[64];
    snprintf(mark, sizeof mark, "\"name\": \"%s\"", name);
    const char *start = strstr(all, mark);
    assert_non_null(start);
    const char *end = strstr(start + strlen(mark), "\"name\": ");
    snprintf(text, sizeof text, "%.*s", (int)(end ? end - start : (long)strlen(start)), start);
    return text;
}

static void read_headers(const char *text, struct headers *headers)
{
    const char *at = strstr(text, "\"headers\": {");
    const char *end = at ? strchr(at, '}') : NULL;
    if (!at)
        return;
    for (at += strlen("\"headers\": {"); (at = strchr(at, '"')) && at < end;) {
        char name[64], value[256];
        snprintf(name, sizeof name, "%.*s", (int)strcspn(at + 1, "\""), at + 1);
        json_field(at, name, value, sizeof value);
        if (strncmp(name, "x-amz-date", 10) != 0 && strcmp(name, "x-amz-content-sha256") != 0)
            assert_true(headers_add_text(headers, name, value, NULL));
        at = strchr(at, '\n');
    }
}

static void read_s3(struct example *e, const char *text)
{
    static const struct {
        const char *word;
        enum sigv4_payload payload;
    } streams[] = {{"STREAMING-AWS4-HMAC-SHA256-PAYLOAD\"", SIGV4_PAYLOAD_CHUNKS},
                   {"STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER\"", SIGV4_PAYLOAD_CHUNKS_TRAILER}};
    char word[1024];
    memset(e, 0, sizeof *e);
    headers_init(&e->headers, TEXT_SIZE);
    e->credentials =
        (struct sigv4_credentials){bytes_of("AKIAIOSFODNN7EXAMPLE"), bytes_of("wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"), {0}};
    e->scope = (struct sigv4_scope){bytes_of("us-east-1"), bytes_of("s3"), SIGV4_S3};
    assert_true(aws_date_read_basic(bytes_of("20130524T000000Z"), &e->wall_ms, NULL));
    snprintf(e->access_key, sizeof e->access_key, "GET");
    json_field(text, "method", e->access_key, sizeof e->access_key);
    e->sigv4.method = bytes_of(e->access_key[0] ? e->access_key : "GET");
    if (!json_field(text, "path", e->request, sizeof e->request))
        snprintf(e->request, sizeof e->request, "/test.txt");
    e->sigv4.path = unescape(e->request, strlen(e->request));
    if (json_field(text, "query", word, sizeof word) && word[0])
        read_query(e, bytes_of(word));
    read_headers(text, &e->headers);
    e->sigv4.payload = SIGV4_PAYLOAD_HASHED;
    json_field(text, "body", word, sizeof word);
    assert_true(sigv4_hash(bytes_of(word), e->sigv4.payload_hash));
    for (size_t i = 0; i < 2; i++)
        if (strstr(text, streams[i].word))
            e->sigv4.payload = streams[i].payload;
}

/* 66,560 letters a in chunks of 65,536, 1,024 and none. */
static void assert_chunks(struct sigv4_chunks *chunks, const char *text)
{
    static char letters[65536];
    const size_t lengths[] = {65536, 1024, 0};
    char trailer[128], wanted[SIGV4_HEX_SIZE];
    struct buf sent;
    memset(letters, 'a', sizeof letters);
    buf_init(&sent, TEXT_SIZE);
    const char *at = strstr(text, "\"chunks\"");
    struct sigv4_framing framing = {chunks->payload, 66560, 65536, 0, 0};
    size_t total = 66560;
    for (size_t i = 0; i < 3; i++) {
        at = strstr(at, "\"length\"");
        buf_clear(&sent);
        bool has_trailer = lengths[i] == 0 && json_field(text, "trailer", trailer, sizeof trailer);
        if (lengths[i]) {
            assert_true(sigv4_chunks_head(chunks, (struct bytes){letters, lengths[i]}, &sent));
            total += 2;
        } else if (has_trailer) {
            char *colon = strchr(trailer, ':');
            framing.trailer_name = (size_t)(colon - trailer);
            framing.trailer_value = strlen(colon + 1);
            assert_true(sigv4_chunks_finish(chunks, (struct bytes){trailer, framing.trailer_name}, bytes_of(colon + 1), &sent));
        } else {
            assert_true(sigv4_chunks_finish(chunks, bytes_of(""), bytes_of(""), &sent));
        }
        total += sent.length;
        json_field(at, "signature", wanted, sizeof wanted);
        char line[256];
        int length = snprintf(line, sizeof line, "%zx;chunk-signature=%s\r\n", lengths[i], wanted);
        assert_true(sent.length >= (size_t)length);
        assert_memory_equal(sent.data, line, length);
        if (has_trailer) {
            json_field(text, "trailer_signature", wanted, sizeof wanted);
            *(trailer + framing.trailer_name) = ':';
            snprintf(line, sizeof line, "%s\r\nx-amz-trailer-signature:%s\r\n\r\n", trailer, wanted);
            assert_int_equal(sent.length, (size_t)length + strlen(line));
            assert_memory_equal(sent.data + length, line, strlen(line));
        }
        at++;
    }
    assert_int_equal(total, sigv4_framed_length(&framing));
    char declared[32];
    if (json_field(text, "content-length", declared, sizeof declared))
        assert_int_equal(total, atoi(declared));
    buf_free(&sent);
}

static void signs_the_examples_of_s3(void **state)
{
    (void)state;
    static char all[TEXT_SIZE], wanted[4096];
    static struct example e;
    struct sigv4_keys keys = {0};
    struct sigv4_result result;
    struct err err = {0};
    is_there_or_skip("aws-doc-examples");
    char path[1024];
    snprintf(path, sizeof path, "%s/s3-sigv4-examples.json", folder);
    assert_true(read_text(path, all));
    sigv4_result_init(&result);
    size_t count = sizeof S3_EXAMPLES / sizeof *S3_EXAMPLES;
    for (size_t i = 0; i < count; i++) {
        const char *text = case_of(all, S3_EXAMPLES[i]);
        read_s3(&e, text);
        bool presign = strcmp(S3_EXAMPLES[i], "presigned-get") == 0, ok;
        if (presign) {
            e.sigv4.payload = SIGV4_PAYLOAD_UNSIGNED;
            e.sigv4.host = bytes_of("examplebucket.s3.amazonaws.com");
            ok = sigv4_presign(&keys, &e.credentials, &e.scope, &e.sigv4, e.wall_ms, 86400, NULL, &result, &err);
        } else {
            ok = sigv4_sign(&keys, &e.credentials, &e.scope, &e.sigv4, e.wall_ms, &e.headers, &result, &err);
        }
        if (!ok)
            fail_msg("%s: %s", S3_EXAMPLES[i], err.text);
        if (json_field(text, "canonical_request", wanted, sizeof wanted))
            assert_true(bytes_equal(bytes_of(wanted), buf_bytes(&result.canonical)));
        if (json_field(text, "string_to_sign", wanted, sizeof wanted))
            assert_true(bytes_equal(bytes_of(wanted), buf_bytes(&result.to_sign)));
        bool chunked = json_field(text, "seed_signature", wanted, sizeof wanted);
        assert_true(chunked || json_field(text, "signature", wanted, sizeof wanted));
        assert_string_equal(result.signature, wanted);
        if (chunked) {
            struct sigv4_chunks chunks;
            assert_true(sigv4_chunks_start(&chunks, &keys, &e.credentials, &e.scope, &e.sigv4, &result, &err));
            assert_chunks(&chunks, text);
            sigv4_chunks_end(&chunks);
        }
        headers_free(&e.headers);
    }
    sigv4_result_free(&result);
    sigv4_keys_clear(&keys);
    print_message("%zu examples\n", count);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(signs_the_suite),
        cmocka_unit_test(signs_the_examples_of_s3),
    };
    return cmocka_run_group_tests_name("sigv4_suite", tests, NULL, NULL);
}
