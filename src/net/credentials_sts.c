/* The half of credentials_document.h that is XML: what STS answers. */
#include "appliance/aws_date.h"
#include "appliance/credentials_document.h"
#include "appliance/xml.h"

#include <stdio.h>

/* The text of the element at the end of `path` (names from the root's children down), or an empty one. Elements that have the name,
 * and other parents, don't count. */
static struct bytes text_at(const struct xml_document *document, const char *const *path, int steps)
{
    int found = 0; /* as many steps of the path are above the node we are at */
    for (size_t i = 0; i < document->count; i++) {
        const struct xml_node *node = &document->nodes[i];
        if (node->kind != XML_ELEMENT || node->depth < 2)
            continue;
        if (node->depth - 2 < found)
            found = node->depth - 2;
        if (found != node->depth - 2 || strcmp(node->name, path[found]) != 0)
            continue;
        if (++found < steps)
            continue;
        for (i++; i < document->count && document->nodes[i].kind == XML_ATTRIBUTE; i++)
            continue;
        if (i < document->count && document->nodes[i].kind == XML_TEXT && document->nodes[i].depth == node->depth + 1)
            return credentials_trim(document->nodes[i].text);
        break;
    }
    return (struct bytes){"", 0};
}

static bool open_document(struct xml_document *document, struct bytes xml, struct err *err)
{
    const struct xml_limits limits = {.bytes = DOCUMENT_LIMIT, .depth = 16, .nodes = 1000};
    return xml_read(document, xml, &limits, err);
}

static void close_document(struct xml_document *document)
{
    if (document->arena.data)
        explicit_bzero(document->arena.data, document->arena.capacity);
    xml_free(document);
}

static const char *root_name(const struct xml_document *document)
{
    for (size_t i = 0; i < document->count; i++)
        if (document->nodes[i].kind == XML_ELEMENT)
            return document->nodes[i].name;
    return "";
}

/* "arn:aws:sts::123456789012:assumed-role/NAME/SESSION" */
static struct bytes account_of(struct bytes arn)
{
    for (int colons = 0; colons < 4; colons++) {
        const char *at = arn.length ? memchr(arn.data, ':', arn.length) : NULL;
        if (!at)
            return (struct bytes){"", 0};
        arn.length -= (size_t)(at + 1 - arn.data);
        arn.data = at + 1;
    }
    const char *end = memchr(arn.data, ':', arn.length);
    return (struct bytes){arn.data, end ? (size_t)(end - arn.data) : 0};
}

static bool read_keys(const struct xml_document *document, const char *result, struct credentials *keys, struct err *err)
{
    struct bytes id = text_at(document, (const char *[]){result, "Credentials", "AccessKeyId"}, 3);
    struct bytes secret = text_at(document, (const char *[]){result, "Credentials", "SecretAccessKey"}, 3);
    struct bytes token = text_at(document, (const char *[]){result, "Credentials", "SessionToken"}, 3);
    struct bytes until = text_at(document, (const char *[]){result, "Credentials", "Expiration"}, 3);
    struct bytes arn = text_at(document, (const char *[]){result, "AssumedRoleUser", "Arn"}, 3);
    const char *missing = !id.length       ? "AccessKeyId"
                          : !secret.length ? "SecretAccessKey"
                          : !token.length  ? "SessionToken"
                          : !until.length  ? "Expiration"
                                           : NULL;
    if (missing)
        return err_set(err, ERR_PROTOCOL, "STS: the answer has no %s", missing);
    int64_t expires;
    struct err fault;
    if (!aws_date_read_iso(until, &expires, &fault))
        return err_set(err, ERR_PROTOCOL, "STS: Expiration: %s", fault.text);
    if (!credentials_set(keys, id, secret, token, account_of(arn), expires, &fault))
        return err_set(err, ERR_PROTOCOL, "STS: %s", fault.text);
    return true;
}

bool credentials_sts_read(struct bytes xml, struct credentials *keys, struct err *err)
{
    struct xml_document document;
    struct err fault;
    *keys = (struct credentials){0};
    if (!open_document(&document, xml, &fault))
        return err_set(err, ERR_PROTOCOL, "STS: the answer can't be read: %s", fault.text);
    const char *root = root_name(&document);
    bool ok = strcmp(root, "AssumeRoleResponse") == 0 ? read_keys(&document, "AssumeRoleResult", keys, err)
              : strcmp(root, "AssumeRoleWithWebIdentityResponse") == 0
                  ? read_keys(&document, "AssumeRoleWithWebIdentityResult", keys, err)
                  : err_set(err, ERR_PROTOCOL, "STS: the answer is <%.60s>, which was not asked for", root);
    close_document(&document);
    return ok;
}

struct cure {
    const char *code;
    enum err_kind kind;
    const char *text;
};

static const struct cure cures[] = {
    {"AccessDenied", ERR_DENIED,
     "the role's trust policy must name who assumes it, and that one must be allowed sts:AssumeRole on the role"},
    {"AccessDeniedException", ERR_DENIED, "the role's trust policy must name who assumes it, with the same external ID if it asks for one"},
    {"ExpiredToken", ERR_DENIED, "the credentials that were to assume it have expired: get new ones"},
    {"ExpiredTokenException", ERR_DENIED, "the token has expired: whoever writes the token file must write a new one"},
    {"InvalidClientTokenId", ERR_DENIED, "the access key is not known: is it another partition's, or was it deleted?"},
    {"InvalidIdentityToken", ERR_DENIED, "the token is not accepted: is the identity provider known to IAM in this account?"},
    {"IDPRejectedClaim", ERR_DENIED, "the identity provider rejects the token, or it has expired: look at its audience"},
    {"SignatureDoesNotMatch", ERR_DENIED, "the secret access key does not fit its ID, or the clock is off by minutes"},
    {"RequestExpired", ERR_DENIED, "the clock of this machine is off by minutes"},
    {"RegionDisabledException", ERR_DENIED, "STS is not activated in this region: do that in IAM's account settings"},
    {"PackedPolicyTooLarge", ERR_INVALID, "the session's policy and tags are too large"},
    {"ValidationError", ERR_INVALID, "role_arn, session name or duration is not what STS takes"},
    {"Throttling", ERR_THROTTLED, "too many requests to STS"},
    {"ThrottlingException", ERR_THROTTLED, "too many requests to STS"},
    {"RequestLimitExceeded", ERR_THROTTLED, "too many requests to STS"},
    {"IDPCommunicationError", ERR_TIMEOUT, "STS could not reach the identity provider"},
    {"InternalFailure", ERR_TIMEOUT, "STS has a fault of its own"},
    {"ServiceUnavailable", ERR_TIMEOUT, "STS is not available"},
};

static const struct cure *cure_of(struct bytes code)
{
    for (size_t i = 0; i < sizeof cures / sizeof *cures; i++)
        if (bytes_equal(code, bytes_of(cures[i].code)))
            return &cures[i];
    return NULL;
}

static enum err_kind kind_of(int status)
{
    if (status == 429)
        return ERR_THROTTLED;
    if (status >= 500)
        return ERR_TIMEOUT;
    return status == 401 || status == 403 ? ERR_DENIED : ERR_PROTOCOL;
}

static void one_line(char *out, size_t size, struct bytes text)
{
    snprintf(out, size, "%.*s", (int)text.length, text.data);
    for (char *c = out; *c; c++)
        *c = (unsigned char)*c < 0x20 ? ' ' : *c;
}

bool credentials_sts_fault(int status, struct bytes body, const char *subject, struct err *err)
{
    struct xml_document document = {0};
    struct bytes code = {"", 0}, message = {"", 0};
    if (open_document(&document, body, NULL)) {
        code = text_at(&document, (const char *[]){"Error", "Code"}, 2);
        message = text_at(&document, (const char *[]){"Error", "Message"}, 2);
        if (!code.length) { /* EC2's form, and that of imitations of STS */
            code = text_at(&document, (const char *[]){"Errors", "Error", "Code"}, 3);
            message = text_at(&document, (const char *[]){"Errors", "Error", "Message"}, 3);
        }
    }
    char word[64], said[120];
    one_line(word, sizeof word, code);
    one_line(said, sizeof said, message);
    const struct cure *cure = cure_of(code);
    enum err_kind kind = cure ? cure->kind : kind_of(status);
    if (cure)
        err_set(err, kind, "%s: STS says %s (%d): %s", subject, word, status, cure->text);
    else if (word[0])
        err_set(err, kind, "%s: STS says %s (%d)%s%s", subject, word, status, said[0] ? ": " : "", said);
    else
        err_set(err, kind, "%s: STS answered %d, and no reason that could be read", subject, status);
    if (err)
        err->code = status;
    close_document(&document);
    return kind == ERR_THROTTLED || kind == ERR_TIMEOUT;
}
