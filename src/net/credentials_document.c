#include "appliance/credentials_document.h"

#include "appliance/aws_date.h"
#include "appliance/json.h"

static struct bytes member(const struct json_value *root, const char *name)
{
    struct bytes text = {"", 0};
    json_text(json_get(root, name), &text);
    return credentials_trim(text);
}

/* What others wrote goes into a sentence: short, on one line. The text must not be a secret. */
static const char *quoted(struct bytes text, char out[100])
{
    size_t length = 0;
    for (size_t i = 0; i < text.length && length < 99; i++) {
        unsigned char c = (unsigned char)text.data[i];
        out[length++] = c < 0x20 || c == 0x7f ? ' ' : (char)c;
    }
    out[length] = 0;
    return out;
}

static bool check_code(enum document_kind kind, const struct json_value *root, const char *source, struct err *err)
{
    struct bytes code = member(root, "Code"), message = member(root, "Message");
    char word[100], sentence[100];
    if (code.length && !bytes_equal(code, bytes_of("Success"))) {
        quoted(code, word);
        word[60] = 0;
        if (strcmp(word, "AssumeRoleUnauthorizedAccess") == 0)
            return err_set(err, ERR_DENIED,
                           "%s: EC2 may not assume the instance's role (AssumeRoleUnauthorizedAccess): its trust policy must allow "
                           "sts:AssumeRole to ec2.amazonaws.com",
                           source);
        return err_set(err, ERR_DENIED, "%s gives no credentials: %s%s%s", source, word, message.length ? ", " : "",
                       quoted(message, sentence));
    }
    if (!code.length && kind == DOCUMENT_IMDS)
        return err_set(err, ERR_PROTOCOL, "%s: the document has no Code", source);
    return true;
}

static bool check_version(const struct json_value *root, const char *source, struct err *err)
{
    double version;
    if (!json_number(json_get(root, "Version"), &version))
        return err_set(err, ERR_PROTOCOL, "%s: the output has no Version; it must be the number 1", source);
    if (version != 1)
        return err_set(err, ERR_PROTOCOL, "%s: the output has Version %g, and only 1 is known", source, version);
    return true;
}

static bool read_expiration(enum document_kind kind, const struct json_value *root, const char *source, int64_t *expires, struct err *err)
{
    const struct json_value *value = json_get(root, "Expiration");
    struct bytes text = member(root, "Expiration");
    struct err fault;
    *expires = CREDENTIALS_NEVER;
    if (value && !json_is_null(value) && !json_text(value, &text))
        return err_set(err, ERR_PROTOCOL, "%s: Expiration is not a text", source);
    if (text.length == 0)
        return kind != DOCUMENT_IMDS || err_set(err, ERR_PROTOCOL, "%s: the document has no Expiration", source);
    if (!aws_date_read_iso(text, expires, &fault))
        return err_set(err, ERR_PROTOCOL, "%s: Expiration: %s", source, fault.text);
    return true;
}

static bool read_members(enum document_kind kind, const struct json_value *root, const char *source, struct credentials *keys,
                         struct err *err)
{
    if (!json_is_object(root))
        return err_set(err, ERR_PROTOCOL, "%s: the document is not a JSON object", source);
    if (kind == DOCUMENT_PROCESS ? !check_version(root, source, err) : !check_code(kind, root, source, err))
        return false;
    struct bytes id = member(root, "AccessKeyId"), secret = member(root, "SecretAccessKey");
    struct bytes token = member(root, kind == DOCUMENT_PROCESS ? "SessionToken" : "Token");
    const char *missing = !id.length                               ? "AccessKeyId"
                          : !secret.length                         ? "SecretAccessKey"
                          : !token.length && kind == DOCUMENT_IMDS ? "Token"
                                                                   : NULL;
    if (missing)
        return err_set(err, ERR_PROTOCOL, "%s: the document has no %s", source, missing);
    int64_t expires;
    struct err fault;
    if (!read_expiration(kind, root, source, &expires, err))
        return false;
    if (!credentials_set(keys, id, secret, token, member(root, "AccountId"), expires, &fault))
        return err_set(err, ERR_PROTOCOL, "%s: %s", source, fault.text);
    return true;
}

bool credentials_document_read(enum document_kind kind, struct bytes text, const char *source, struct credentials *keys, struct err *err)
{
    const struct json_limits limits = {.bytes = DOCUMENT_LIMIT, .depth = 8};
    struct json_document document;
    struct err fault;
    *keys = (struct credentials){0};
    if (!json_read(&document, text, &limits, &fault))
        return err_set(err, ERR_PROTOCOL, "%s: the document can't be read: %s", source, fault.text);
    bool ok = read_members(kind, document.root, source, keys, err);
    json_free(&document);
    return ok;
}
