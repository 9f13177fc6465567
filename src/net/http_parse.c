#include "appliance/http_parse.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

/* --- letters --- */

static bool is_token(unsigned char c)
{
    if ((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9'))
        return true;
    return c != 0 && strchr("!#$%&'*+-.^_`|~", c);
}

static bool all_token(struct bytes text)
{
    for (size_t i = 0; i < text.length; i++)
        if (!is_token((unsigned char)text.data[i]))
            return false;
    return text.length > 0;
}

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    if (c >= 'A' && c <= 'F')
        return c - 'A' + 10;
    return -1;
}

static bool is(struct bytes text, const char *word)
{
    return text.length == strlen(word) && strncasecmp(text.data, word, text.length) == 0;
}

static bool starts_with(struct bytes text, const char *prefix)
{
    size_t length = strlen(prefix);
    return text.length >= length && strncasecmp(text.data, prefix, length) == 0;
}

static struct bytes skip(struct bytes text, size_t count)
{
    return (struct bytes){text.data + count, text.length - count};
}

static struct bytes trim(struct bytes text)
{
    while (text.length && (text.data[0] == ' ' || text.data[0] == '\t'))
        text = skip(text, 1);
    while (text.length && (text.data[text.length - 1] == ' ' || text.data[text.length - 1] == '\t'))
        text.length--;
    return text;
}

/* Cuts `*rest` at the first `mark`: what is before it is returned, *rest is what is behind it. Without a mark all is returned. */
static struct bytes cut(struct bytes *rest, char mark)
{
    const char *at = rest->length ? memchr(rest->data, mark, rest->length) : NULL;
    struct bytes first = *rest;
    if (!at) {
        *rest = (struct bytes){rest->data + rest->length, 0};
        return first;
    }
    first.length = (size_t)(at - rest->data);
    *rest = skip(*rest, first.length + 1);
    return first;
}

static enum http_parse bad(struct err *err, int status, const char *text)
{
    err_set(err, ERR_PROTOCOL, "%s", text);
    if (err)
        err->code = status;
    return HTTP_BAD;
}

/* Decimal digits only, and no more than fit. */
static bool read_length(struct bytes text, int64_t *value)
{
    *value = 0;
    if (text.length == 0 || text.length > 18)
        return false;
    for (size_t i = 0; i < text.length; i++) {
        if (text.data[i] < '0' || text.data[i] > '9')
            return false;
        *value = *value * 10 + (text.data[i] - '0');
    }
    return true;
}

/* --- heads: what requests and responses share --- */

struct head {
    struct bytes first_line, headers;
    int64_t content_length; /* -1: none */
    bool chunked, other_coding, close, wants_continue;
    int hosts;
};

/* A list such as "keep-alive, Upgrade". */
static bool list_has(struct bytes list, const char *word)
{
    while (list.length)
        if (is(trim(cut(&list, ',')), word))
            return true;
    return false;
}

static enum http_parse read_header(struct head *head, struct bytes line, struct err *err)
{
    struct bytes value = line;
    struct bytes name = cut(&value, ':');
    if (name.length == line.length)
        return bad(err, 400, "a header line has no colon");
    if (!all_token(name))
        return bad(err, 400, "a header's name has a blank or a letter that names can't have");
    value = trim(value);

    if (is(name, "Content-Length")) {
        if (head->content_length >= 0)
            return bad(err, 400, "Content-Length is given twice");
        if (!read_length(value, &head->content_length))
            return bad(err, 400, "Content-Length is not a number");
    } else if (is(name, "Transfer-Encoding")) {
        if (is(value, "chunked") && !head->chunked)
            head->chunked = true;
        else
            head->other_coding = true;
    } else if (is(name, "Connection")) {
        head->close |= list_has(value, "close");
    } else if (is(name, "Expect")) {
        if (!is(value, "100-continue"))
            return bad(err, 417, "only 100-continue can be expected here");
        head->wants_continue = true;
    } else if (is(name, "Host")) {
        head->hosts++;
    }
    return HTTP_DONE;
}

/* `*length` is where the head ends, the empty line included. */
static enum http_parse read_head(const char *data, size_t available, struct head *head, size_t *length, struct err *err)
{
    size_t window = available < HTTP_HEAD_LIMIT ? available : HTTP_HEAD_LIMIT;
    const char *end = window ? memmem(data, window, "\r\n\r\n", 4) : NULL;
    if (!end) {
        if (window && memmem(data, window, "\n\n", 2))
            return bad(err, 400, "lines must end with CR LF, not LF alone");
        if (available >= HTTP_HEAD_LIMIT)
            return bad(err, 431, "the head of the message is longer than 16 KiB");
        return HTTP_MORE;
    }
    *length = (size_t)(end - data) + 4;
    *head = (struct head){.content_length = -1};

    struct bytes rest = {data, *length - 2}; /* every line with its own line end */
    for (int count = 0; rest.length; count++) {
        struct bytes line = cut(&rest, '\n');
        if (line.length == 0 || line.data[line.length - 1] != '\r')
            return bad(err, 400, "a line ends with LF alone, it must be CR LF");
        line.length--;
        for (size_t i = 0; i < line.length; i++)
            if (((unsigned char)line.data[i] < 0x20 && line.data[i] != '\t') || line.data[i] == 0x7f)
                return bad(err, 400, "a control character is in the head of the message");
        if (count == 0) {
            head->first_line = line;
            head->headers = rest;
            continue;
        }
        if (count > HTTP_HEADERS_LIMIT)
            return bad(err, 431, "there are more than 64 headers");
        if (line.length && (line.data[0] == ' ' || line.data[0] == '\t'))
            return bad(err, 400, "a header is folded over two lines");
        enum http_parse answer = read_header(head, line, err);
        if (answer != HTTP_DONE)
            return answer;
    }
    return HTTP_DONE;
}

bool http_header_next(struct bytes *headers, struct bytes *name, struct bytes *value)
{
    if (headers->length == 0)
        return false;
    *value = cut(headers, '\n'); /* with the CR: the head was read before, so every line has both and a colon */
    value->length--;
    *name = cut(value, ':');
    *value = trim(*value);
    return true;
}

int http_header(const struct http_request *request, const char *name, struct bytes *value)
{
    struct bytes rest = request->headers, found, its_value;
    int count = 0;
    while (http_header_next(&rest, &found, &its_value))
        if (is(found, name) && count++ == 0)
            *value = its_value;
    return count;
}

/* --- requests --- */

static bool is_known_method(struct bytes method)
{
    static const char *const known[] = {"GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "CONNECT", "TRACE"};
    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        if (bytes_equal(method, bytes_of(known[i])))
            return true;
    return false;
}

static enum http_parse check_escapes(struct bytes text, struct err *err)
{
    for (size_t i = 0; i < text.length; i++) {
        unsigned char c = (unsigned char)text.data[i];
        if (c <= 0x20 || c >= 0x7f || c == '#')
            return bad(err, 400, "the path has a letter that must be escaped");
        if (c != '%')
            continue;
        int high = i + 2 < text.length ? hex_digit(text.data[i + 1]) : -1;
        int low = i + 2 < text.length ? hex_digit(text.data[i + 2]) : -1;
        if (high < 0 || low < 0)
            return bad(err, 400, "a % in the path must be followed by two hexadecimal digits");
        if (high == 0 && low == 0)
            return bad(err, 400, "the path holds a zero byte");
        i += 2;
    }
    return HTTP_DONE;
}

static enum http_parse read_target(struct bytes target, struct http_request *request, struct err *err)
{
    if (starts_with(target, "http://")) { /* the form for proxies, which every server must take */
        target = skip(target, 7);
        const char *slash = memchr(target.data, '/', target.length);
        if (!slash)
            return bad(err, 400, "the request has no path");
        target = skip(target, (size_t)(slash - target.data));
    }
    if (target.length == 0 || target.data[0] != '/')
        return bad(err, 400, "the path of a request begins with /");
    request->query = target;
    request->path = cut(&request->query, '?');
    return check_escapes(target, err);
}

static enum http_parse read_request_line(struct bytes line, struct http_request *request, struct err *err)
{
    struct bytes rest = line;
    request->method = cut(&rest, ' ');
    struct bytes target = cut(&rest, ' ');
    if (!all_token(request->method) || target.length == 0 || !starts_with(rest, "HTTP/"))
        return bad(err, 400, "the first line is not METHOD /path HTTP/1.1");
    if (bytes_equal(rest, bytes_of("HTTP/1.1")))
        request->chunks_understood = true;
    else if (!bytes_equal(rest, bytes_of("HTTP/1.0")))
        return bad(err, 505, "only HTTP/1.1 and 1.0 are spoken here");
    if (!is_known_method(request->method))
        return bad(err, 501, "the method is not known here: use GET, HEAD or POST");
    return read_target(target, request, err);
}

enum http_parse http_parse_request(const char *data, size_t length, struct http_request *request, size_t *used, struct err *err)
{
    *request = (struct http_request){0};
    *used = 0;
    /* An empty line before a request is left over from a sloppy client's last body (RFC 9112 2.2). */
    size_t start = length >= 2 && memcmp(data, "\r\n", 2) == 0 ? 2 : 0;
    if (length > start && data[start] != '\r' && !is_token((unsigned char)data[start]))
        return bad(err, 400, "this is not HTTP");

    struct head head;
    size_t head_length;
    enum http_parse answer = read_head(data + start, length - start, &head, &head_length, err);
    if (answer != HTTP_DONE)
        return answer;
    answer = read_request_line(head.first_line, request, err);
    if (answer != HTTP_DONE)
        return answer;
    if (request->chunks_understood && head.hosts != 1)
        return bad(err, 400, "exactly one Host header is needed, any name will do");
    if ((head.chunked || head.other_coding) && head.content_length >= 0)
        return bad(err, 400, "both Content-Length and Transfer-Encoding are given");
    if (head.chunked || head.other_coding)
        return bad(err, 501, "a body in chunks is not taken here: send it with a Content-Length");
    if (head.content_length > HTTP_BODY_LIMIT)
        return bad(err, 413, "the body is longer than 1 MiB");

    request->headers = head.headers;
    request->head_length = start + head_length;
    request->content_length = head.content_length > 0 ? (size_t)head.content_length : 0;
    request->keep_alive = request->chunks_understood && !head.close;
    request->wants_continue = head.wants_continue && request->chunks_understood && request->content_length > 0;
    if (length - request->head_length < request->content_length)
        return HTTP_MORE;
    request->body = (struct bytes){data + request->head_length, request->content_length};
    *used = request->head_length + request->content_length;
    return HTTP_DONE;
}

/* --- responses --- */

enum http_parse http_parse_response(const char *data, size_t length, struct http_response *response, struct err *err)
{
    *response = (struct http_response){.content_length = -1};
    size_t shown = length < 5 ? length : 5;
    if (shown && memcmp(data, "HTTP/", shown) != 0)
        return bad(err, 0, "the answer is not HTTP");

    struct head head;
    size_t head_length;
    enum http_parse answer = read_head(data, length, &head, &head_length, err);
    if (answer != HTTP_DONE)
        return answer;
    struct bytes rest = head.first_line;
    struct bytes version = cut(&rest, ' ');
    struct bytes status = cut(&rest, ' ');
    int64_t number;
    if (!starts_with(version, "HTTP/1.") || version.length != 8 || status.length != 3 || !read_length(status, &number) || number < 100)
        return bad(err, 0, "the answer's first line is not HTTP/1.1 STATUS REASON");
    if (head.other_coding)
        return bad(err, 0, "the answer comes in a transfer coding that is not known here");
    /* A length beside chunks is void (RFC 9112 6.3). */
    *response = (struct http_response){.status = (int)number,
                                       .head_length = head_length,
                                       .chunked = head.chunked,
                                       .content_length = head.chunked ? -1 : head.content_length};
    return HTTP_DONE;
}

/* --- chunks --- */

enum { CHUNK_LINE_LIMIT = 1024 };

/* "1a2b[;extension]\r\n". 60 bits: a size can't overflow. */
static enum http_parse read_chunk_size(struct http_chunks *chunks, struct bytes line, struct err *err)
{
    size_t digits = 0;
    chunks->left = 0;
    while (digits < line.length && hex_digit(line.data[digits]) >= 0) {
        chunks->left = chunks->left * 16 + (uint64_t)hex_digit(line.data[digits]);
        if (++digits > 15)
            return bad(err, 0, "a chunk of the body is too long");
    }
    struct bytes behind = trim(skip(line, digits));
    if (digits == 0 || (behind.length && behind.data[0] != ';'))
        return bad(err, 0, "the length of a chunk of the body is not a number");
    chunks->at = chunks->left ? CHUNK_DATA : CHUNK_TRAILER;
    return HTTP_MORE;
}

enum http_parse http_chunks_next(struct http_chunks *chunks, const char *data, size_t length, size_t *used, struct bytes *body,
                                 struct err *err)
{
    *used = 0;
    *body = (struct bytes){data, 0};
    if (chunks->at == CHUNK_END)
        return HTTP_DONE;
    if (length == 0)
        return HTTP_MORE;
    if (chunks->at == CHUNK_DATA) {
        *used = chunks->left < length ? (size_t)chunks->left : length;
        body->length = *used;
        chunks->left -= *used;
        if (chunks->left == 0)
            chunks->at = CHUNK_DATA_END;
        return HTTP_MORE;
    }

    size_t window = length < CHUNK_LINE_LIMIT ? length : CHUNK_LINE_LIMIT; /* lengths and trailers are short lines */
    const char *end = memmem(data, window, "\r\n", 2);
    if (!end)
        return window == CHUNK_LINE_LIMIT ? bad(err, 0, "a line between two chunks of the body is too long") : HTTP_MORE;
    struct bytes line = {data, (size_t)(end - data)};
    *used = line.length + 2;
    if (chunks->at == CHUNK_SIZE)
        return read_chunk_size(chunks, line, err);
    if (chunks->at == CHUNK_DATA_END) {
        if (line.length)
            return bad(err, 0, "a chunk of the body is longer than it said");
        chunks->at = CHUNK_SIZE;
        return HTTP_MORE;
    }
    chunks->trailers += *used;
    if (chunks->trailers > HTTP_HEAD_LIMIT)
        return bad(err, 0, "there is too much behind the last chunk of the body");
    if (line.length)
        return HTTP_MORE;
    chunks->at = CHUNK_END;
    return HTTP_DONE;
}

/* --- small things --- */

bool http_query_next(struct bytes *query, struct bytes *name, struct bytes *value)
{
    while (query->length) {
        *value = cut(query, '&');
        *name = cut(value, '=');
        if (name->length)
            return true;
    }
    return false;
}

size_t http_unescape(struct bytes text, bool plus_is_blank, char *out)
{
    size_t length = 0;
    for (size_t i = 0; i < text.length; i++) {
        char c = text.data[i];
        if (c == '+' && plus_is_blank) {
            c = ' ';
        } else if (c == '%' && i + 2 < text.length && hex_digit(text.data[i + 1]) >= 0 && hex_digit(text.data[i + 2]) >= 0) {
            c = (char)(hex_digit(text.data[i + 1]) * 16 + hex_digit(text.data[i + 2]));
            i += 2;
        }
        out[length++] = c;
    }
    return length;
}

const char *http_status_name(int status)
{
    switch (status) {
    case 100: return "Continue";
    case 200: return "OK";
    case 202: return "Accepted";
    case 400: return "Bad Request";
    case 403: return "Forbidden";
    case 404: return "Not Found";
    case 405: return "Method Not Allowed";
    case 408: return "Request Timeout";
    case 409: return "Conflict";
    case 413: return "Content Too Large";
    case 417: return "Expectation Failed";
    case 431: return "Request Header Fields Too Large";
    case 500: return "Internal Server Error";
    case 501: return "Not Implemented";
    case 503: return "Service Unavailable";
    case 505: return "HTTP Version Not Supported";
    default: return "Unknown";
    }
}
