/* relay_address.c - "10.0.0.2:10010" and "[::1]:10010", to and from what the kernel takes. */
#include "appliance/relay.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>

static bool parse_port(const char *text, uint16_t *port)
{
    unsigned number = 0;
    size_t digits = strspn(text, "0123456789");
    if (digits == 0 || digits > 5 || text[digits])
        return false;
    for (const char *at = text; *at; at++)
        number = number * 10 + (unsigned)(*at - '0');
    *port = (uint16_t)number;
    return number >= 1 && number <= UINT16_MAX;
}

bool relay_address_parse(struct relay_address *address, const char *text, struct err *err)
{
    char host[INET6_ADDRSTRLEN];
    uint16_t port = 0;
    bool is_v6 = text[0] == '[';
    const char *begin = text + is_v6, *end = strrchr(text, ':');
    size_t length = end ? (size_t)(end - begin) : 0;
    bool whole = end && end > begin && parse_port(end + 1, &port) && (!is_v6 || end[-1] == ']');
    if (whole && is_v6)
        length--;
    if (whole && length < sizeof host) {
        memcpy(host, begin, length);
        host[length] = 0;
        memset(address, 0, sizeof *address);
        address->sock.v4 = (struct sockaddr_in){.sin_family = AF_INET, .sin_port = htons(port)};
        address->length = sizeof address->sock.v4;
        bool known = !is_v6 && inet_pton(AF_INET, host, &address->sock.v4.sin_addr) == 1;
        if (is_v6) {
            address->sock.v6 = (struct sockaddr_in6){.sin6_family = AF_INET6, .sin6_port = htons(port)};
            address->length = sizeof address->sock.v6;
            known = inet_pton(AF_INET6, host, &address->sock.v6.sin6_addr) == 1;
        }
        if (known) {
            relay_address_print(address);
            return true;
        }
    }
    return err_set(err, ERR_INVALID, "'%.80s' is no address: it must look like 10.0.0.2:10010 or [::1]:10010, with no names", text);
}

void relay_address_print(struct relay_address *address)
{
    char host[INET6_ADDRSTRLEN] = "";
    if (address->sock.any.sa_family == AF_INET6) {
        inet_ntop(AF_INET6, &address->sock.v6.sin6_addr, host, sizeof host);
        snprintf(address->text, sizeof address->text, "[%s]:%u", host, (unsigned)ntohs(address->sock.v6.sin6_port));
    } else {
        inet_ntop(AF_INET, &address->sock.v4.sin_addr, host, sizeof host);
        snprintf(address->text, sizeof address->text, "%s:%u", host, (unsigned)ntohs(address->sock.v4.sin_port));
    }
}
