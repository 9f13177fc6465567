#include "appliance/probe_hive.h"

#include <arpa/inet.h>
#include <stdint.h>
#include <string.h>

/* TSaslTransport.NegotiationStatus: one byte, then a length and so many bytes. */
enum { SASL_START = 1, SASL_OK = 2, SASL_BAD = 3, SASL_ERROR = 4, SASL_COMPLETE = 5 };

/* TType, TMessageType */
enum { T_STOP = 0, T_I32 = 8, T_STRING = 11, T_STRUCT = 12, CALL = 1, REPLY = 2 };

enum { PROTOCOL_VERSION = 7 /* HIVE_CLI_SERVICE_PROTOCOL_V8, as Hive 2.3 */, STATUS_SUCCESS = 0, STATUS_SUCCESS_WITH_INFO = 1 };

#define METHOD "OpenSession"
#define USER   "spark-appliance"
#define PLAIN  "\0" USER "\0-" /* authorization identity, user, password: with no authentication any will do */

struct writer {
    char *at;
};

static void put(struct writer *w, const void *data, size_t length)
{
    memcpy(w->at, data, length);
    w->at += length;
}

static void put_byte(struct writer *w, int value)
{
    *w->at++ = (char)value;
}

static void put_word(struct writer *w, uint32_t value)
{
    value = htonl(value);
    put(w, &value, sizeof value);
}

static void put_text(struct writer *w, const char *text)
{
    put_word(w, (uint32_t)strlen(text));
    put(w, text, strlen(text));
}

static void put_field(struct writer *w, int type, int number)
{
    put_byte(w, type);
    put_byte(w, 0);
    put_byte(w, number);
}

static void put_sasl(struct writer *w, int status, const char *payload, size_t length)
{
    put_byte(w, status);
    put_word(w, (uint32_t)length);
    put(w, payload, length);
}

size_t hive_request(char *out)
{
    struct writer w = {out};
    put_sasl(&w, SASL_START, "PLAIN", 5);
    put_sasl(&w, SASL_OK, PLAIN, sizeof PLAIN - 1);
    char *frame = w.at;
    put_word(&w, 0); /* its length, below */
    put_word(&w, 0x80010000U | CALL);
    put_text(&w, METHOD);
    put_word(&w, 0);            /* sequence */
    put_field(&w, T_STRUCT, 1); /* TOpenSessionReq */
    put_field(&w, T_I32, 1);
    put_word(&w, PROTOCOL_VERSION);
    put_field(&w, T_STRING, 2);
    put_text(&w, USER);
    put_byte(&w, T_STOP);
    put_byte(&w, T_STOP);
    size_t length = (size_t)(w.at - out);
    put_word(&(struct writer){frame}, (uint32_t)(w.at - frame) - 4);
    return length;
}

static uint32_t word_at(const char *data)
{
    uint32_t value;
    memcpy(&value, data, sizeof value);
    return ntohl(value);
}

enum hive_answer hive_read(const char *data, size_t length)
{
    /* A COMPLETE of PLAIN carries nothing; the generated code writes fields in the order of their numbers, and a status first. */
    static const char before_status[] = {T_STRUCT, 0, 0, T_STRUCT, 0, 1, T_I32, 0, 1};
    enum { HEAD = 5, FRAME = HEAD + 4, NAME = FRAME + 8, FIELDS = NAME + sizeof METHOD - 1 + 4, STATUS = FIELDS + sizeof before_status };

    if (length > 0 && (data[0] == SASL_BAD || data[0] == SASL_ERROR))
        return HIVE_LOGIN;
    if (length > 0 && data[0] != SASL_COMPLETE)
        return HIVE_FOREIGN;
    if (length < FIELDS)
        return HIVE_MORE;
    if (word_at(data + 1) != 0 || memcmp(data + NAME, METHOD, sizeof METHOD - 1) != 0)
        return HIVE_FOREIGN;
    if (word_at(data + FRAME) != (0x80010000U | REPLY)) /* an exception of the server's own */
        return HIVE_FAILED;
    if (length < STATUS + 4)
        return HIVE_MORE;
    if (memcmp(data + FIELDS, before_status, sizeof before_status) != 0)
        return HIVE_FOREIGN;
    uint32_t status = word_at(data + STATUS);
    return status == STATUS_SUCCESS || status == STATUS_SUCCESS_WITH_INFO ? HIVE_OPEN : HIVE_FAILED;
}
