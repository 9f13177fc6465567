#include "appliance/credentials_container.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <stdio.h>
#include <strings.h>

#define RELATIVE_URI   "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI"
#define FULL_URI       "AWS_CONTAINER_CREDENTIALS_FULL_URI"
#define TOKEN_FILE     "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE"
#define TOKEN          "AWS_CONTAINER_AUTHORIZATION_TOKEN"
#define ECS_ADDRESS    "169.254.170.2"
#define EKS_ADDRESS    "169.254.170.23"
#define EKS_ADDRESS_V6 "fd00:ec2::23"

static bool take(struct bytes *text, const char *prefix)
{
    size_t length = strlen(prefix);
    if (text->length < length || strncasecmp(text->data, prefix, length) != 0)
        return false;
    text->data += length;
    text->length -= length;
    return true;
}

static bool is_host(struct bytes host)
{
    if (host.length && host.data[0] == '[') {
        char address[INET6_ADDRSTRLEN];
        struct in6_addr parsed;
        if (host.length < 3 || host.data[host.length - 1] != ']' || host.length - 2 >= sizeof address)
            return false;
        memcpy(address, host.data + 1, host.length - 2);
        address[host.length - 2] = 0;
        return inet_pton(AF_INET6, address, &parsed) == 1;
    }
    for (size_t i = 0; i < host.length; i++)
        if (!isalnum((unsigned char)host.data[i]) && !strchr("-._", host.data[i]))
            return false;
    return host.length > 0 && host.length <= 253;
}

static bool read_port(struct bytes text, int *port)
{
    *port = 0;
    if (text.length == 0 || text.length > 5)
        return false;
    for (size_t i = 0; i < text.length; i++) {
        if (!isdigit((unsigned char)text.data[i]))
            return false;
        *port = *port * 10 + (text.data[i] - '0');
    }
    return *port > 0 && *port <= 65535;
}

bool credentials_url_cut(struct bytes text, const char *what, struct credentials_url *url, struct err *err)
{
    *url = (struct credentials_url){0};
    for (size_t i = 0; i < text.length; i++)
        if ((unsigned char)text.data[i] <= 0x20 || (unsigned char)text.data[i] >= 0x7f || strchr("\"<>\\^`{|}#", text.data[i]))
            return err_set(err, ERR_INVALID, "%s is not a URL: it holds a blank or a letter that must be escaped", what);
    url->tls = take(&text, "https://");
    if (!url->tls && !take(&text, "http://"))
        return err_set(err, ERR_INVALID, "%s must begin with http:// or https://", what);

    size_t end = 0;
    while (end < text.length && text.data[end] != '/' && text.data[end] != '?')
        end++;
    struct bytes host = {text.data, end};
    url->path = (struct bytes){text.data + end, text.length - end};
    size_t colon = host.length;
    while (colon > 0 && host.data[colon - 1] != ':' && host.data[colon - 1] != ']')
        colon--;
    if (colon > 0 && host.data[colon - 1] == ':') {
        if (!read_port((struct bytes){host.data + colon, host.length - colon}, &url->port))
            return err_set(err, ERR_INVALID, "%s has a port that is no number from 1 to 65535", what);
        host.length = colon - 1;
    }
    url->host = host;
    if (!is_host(host))
        return err_set(err, ERR_INVALID, "%s must name a host by name or address, without a user, and an IPv6 address in brackets", what);
    return true;
}

bool credentials_container_is_local(struct bytes host)
{
    char text[INET6_ADDRSTRLEN];
    struct in_addr v4;
    struct in6_addr v6, eks;
    if (host.length == strlen("localhost") && strncasecmp(host.data, "localhost", host.length) == 0)
        return true;
    if (host.length > 2 && host.data[0] == '[' && host.length - 2 < sizeof text) {
        memcpy(text, host.data + 1, host.length - 2);
        text[host.length - 2] = 0;
        inet_pton(AF_INET6, EKS_ADDRESS_V6, &eks);
        return inet_pton(AF_INET6, text, &v6) == 1 && (IN6_IS_ADDR_LOOPBACK(&v6) || memcmp(&v6, &eks, sizeof v6) == 0);
    }
    if (host.length == 0 || host.length >= sizeof text)
        return false;
    memcpy(text, host.data, host.length);
    text[host.length] = 0;
    /* inet_pton takes four decimal numbers and nothing else: no 0x7f.1, and no name that only begins like an address. */
    if (inet_pton(AF_INET, text, &v4) != 1)
        return false;
    return ntohl(v4.s_addr) >> 24 == 127 || strcmp(text, ECS_ADDRESS) == 0 || strcmp(text, EKS_ADDRESS) == 0;
}

bool credentials_container_token(struct bytes text, const char *path, struct err *err)
{
    char what[160];
    snprintf(what, sizeof what, "the token in %.120s", path);
    return credentials_header_check(text, CREDENTIALS_TOKEN_LIMIT, what, err);
}

static enum credentials_answer broken(struct err *err, const char *format, const char *detail)
{
    err_set(err, ERR_INVALID, format, detail);
    return CREDENTIALS_BROKEN;
}

static enum credentials_answer read_url(char *const *environment, struct credentials_container *container, struct err *err)
{
    const char *relative = credentials_variable(environment, RELATIVE_URI), *full = credentials_variable(environment, FULL_URI);
    if (!relative && !full)
        return CREDENTIALS_UNSET;
    struct bytes given = credentials_trim(bytes_of(relative ? relative : full));
    if (relative && given.data[0] != '/')
        return broken(err, "%s must begin with '/': it is a path on " ECS_ADDRESS ", and a whole URL belongs into " FULL_URI, RELATIVE_URI);
    int length =
        snprintf(container->url, sizeof container->url, "%s%.*s", relative ? "http://" ECS_ADDRESS : "", (int)given.length, given.data);
    if (length < 0 || (size_t)length >= sizeof container->url)
        return broken(err, "%s is longer than 2000 letters", relative ? RELATIVE_URI : FULL_URI);
    struct credentials_url url;
    if (!credentials_url_cut(bytes_of(container->url), relative ? RELATIVE_URI : FULL_URI, &url, err))
        return CREDENTIALS_BROKEN;
    if (!url.tls && !credentials_container_is_local(url.host))
        return broken(err,
                      "%s: http:// is only allowed to loopback, " ECS_ADDRESS ", " EKS_ADDRESS " and [" EKS_ADDRESS_V6 "]: use https://",
                      FULL_URI);
    return CREDENTIALS_READY;
}

enum credentials_answer credentials_container(char *const *environment, struct credentials_container *container, struct err *err)
{
    *container = (struct credentials_container){0};
    enum credentials_answer answer = read_url(environment, container, err);
    if (answer != CREDENTIALS_READY)
        return answer;
    container->token_file = credentials_variable(environment, TOKEN_FILE);
    container->token = container->token_file ? NULL : credentials_variable(environment, TOKEN);
    if (container->token && !credentials_header_check(bytes_of(container->token), CREDENTIALS_TOKEN_LIMIT, TOKEN, err))
        return CREDENTIALS_BROKEN;
    return CREDENTIALS_READY;
}
