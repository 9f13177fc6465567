#include "appliance/aws_uri.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <strings.h>

enum { HOST_LIMIT = 253 };

static bool is_alnum(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
}

static bool is_unreserved(char c)
{
    return is_alnum(c) || c == '-' || c == '.' || c == '_' || c == '~';
}

bool aws_escape(struct buf *out, struct bytes raw, enum aws_escape how)
{
    static const char digits[] = "0123456789ABCDEF";
    for (size_t at = 0; at < raw.length;) {
        size_t plain = at;
        while (plain < raw.length && (is_unreserved(raw.data[plain]) || (how == AWS_ESCAPE_PATH && raw.data[plain] == '/')))
            plain++;
        if (!buf_append(out, raw.data + at, plain - at))
            return false;
        if (plain == raw.length)
            break;
        unsigned char c = (unsigned char)raw.data[plain];
        char escaped[3] = {'%', digits[c >> 4], digits[c & 15]};
        if (!buf_append(out, escaped, sizeof escaped))
            return false;
        at = plain + 1;
    }
    return true;
}

/* --- endpoints --- */

static struct bytes skip(struct bytes text, size_t count)
{
    return (struct bytes){text.data + count, text.length - count};
}

static bool take_scheme(struct bytes *text, const char *scheme)
{
    size_t length = strlen(scheme);
    if (text->length < length || strncasecmp(text->data, scheme, length) != 0)
        return false;
    *text = skip(*text, length);
    return true;
}

static size_t find(struct bytes text, const char *marks)
{
    size_t at = 0;
    while (at < text.length && (text.data[at] == 0 || !strchr(marks, text.data[at])))
        at++;
    return at;
}

static bool all(struct bytes text, const char *but_also)
{
    for (size_t i = 0; i < text.length; i++)
        if (!is_alnum(text.data[i]) && (text.data[i] == 0 || !strchr(but_also, text.data[i])))
            return false;
    return true;
}

static bool is_address(int family, struct bytes host)
{
    char text[INET6_ADDRSTRLEN], address[16];
    if (host.length >= sizeof text)
        return false;
    memcpy(text, host.data, host.length);
    text[host.length] = 0;
    return strlen(text) == host.length && inet_pton(family, text, address) == 1;
}

/* "[::1]" or "host", off the front of *text. */
static bool take_host(struct bytes *text, struct aws_endpoint *endpoint)
{
    if (text->length && text->data[0] == '[') {
        size_t end = find(*text, "]");
        if (end == text->length)
            return false;
        endpoint->host = (struct bytes){text->data + 1, end - 1};
        endpoint->is_ipv6 = endpoint->is_address = true;
        *text = skip(*text, end + 1);
        return is_address(AF_INET6, endpoint->host);
    }
    endpoint->host = (struct bytes){text->data, find(*text, ":/")};
    *text = skip(*text, endpoint->host.length);
    endpoint->is_address = is_address(AF_INET, endpoint->host);
    /* "_" is in the names that container networks give */
    return endpoint->host.length > 0 && endpoint->host.length <= HOST_LIMIT && all(endpoint->host, "-._") && endpoint->host.data[0] != '.';
}

static bool take_port(struct bytes *text, uint16_t *port)
{
    if (text->length == 0 || text->data[0] != ':')
        return true;
    struct bytes digits = skip(*text, 1);
    digits.length = find(digits, "/");
    *text = skip(*text, digits.length + 1);
    if (digits.length == 0)
        return true; /* "http://host:/": an empty port is the scheme's own (RFC 3986 3.2.3) */
    uint32_t value = 0;
    for (size_t i = 0; i < digits.length; i++) {
        if (digits.data[i] < '0' || digits.data[i] > '9' || digits.length > 5)
            return false;
        value = value * 10 + (uint32_t)(digits.data[i] - '0');
    }
    *port = (uint16_t)value;
    return value >= 1 && value <= UINT16_MAX;
}

static bool refuse(struct bytes url, const char *reason, struct err *err)
{
    char shown[81];
    return err_set(err, ERR_INVALID, "endpoint '%s': %s", bytes_shown(url, shown, sizeof shown), reason);
}

bool aws_endpoint_read(struct bytes url, struct aws_endpoint *endpoint, struct err *err)
{
    struct bytes rest = url;
    struct aws_endpoint e = {.tls = take_scheme(&rest, "https://")};
    if (!e.tls && !take_scheme(&rest, "http://"))
        return refuse(url, "it must begin with https:// or http://", err);
    e.port = e.tls ? 443 : 80;

    size_t authority = find(rest, "/");
    if (find((struct bytes){rest.data, authority}, "@") < authority) /* and not quoted: it may hold a password */
        return err_set(err, ERR_INVALID, "an endpoint's URL can't hold a user name or a password: take out what is before its '@'");
    if (find(rest, "?#") < rest.length)
        return refuse(url, "it can't have a query or a fragment", err);
    if (!take_host(&rest, &e))
        return refuse(url, "what stands where the host should is no host name and no address (an IPv6 one needs brackets)", err);
    if (rest.length && rest.data[0] != ':' && rest.data[0] != '/')
        return refuse(url, "behind the host only :port or /path can follow", err);
    if (!take_port(&rest, &e.port))
        return refuse(url, "the port is not a number from 1 to 65535", err);
    if (!all(rest, "-._~/"))
        return refuse(url, "its path may hold letters, digits and - . _ ~ / only", err);
    while (rest.length && rest.data[rest.length - 1] == '/')
        rest.length--;
    e.prefix = rest;
    *endpoint = e;
    return true;
}

bool aws_endpoint_host(const struct aws_endpoint *endpoint, struct buf *out)
{
    char port[8] = "";
    if (endpoint->port != (endpoint->tls ? 443 : 80))
        snprintf(port, sizeof port, ":%u", endpoint->port);
    return (!endpoint->is_ipv6 || buf_text(out, "[")) && buf_append(out, endpoint->host.data, endpoint->host.length) &&
           (!endpoint->is_ipv6 || buf_text(out, "]")) && buf_text(out, port);
}

bool aws_endpoint_origin(const struct aws_endpoint *endpoint, struct buf *out)
{
    return buf_text(out, endpoint->tls ? "https://" : "http://") && aws_endpoint_host(endpoint, out);
}
