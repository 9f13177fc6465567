#include "appliance/aws_fault.h"
#include "appliance/aws_region.h"
#include "appliance/json.h"
#include "appliance/xml.h"

#include <stdio.h>
#include <strings.h>

/* --- names --- */

/* clang-format off */
static const struct known {
    const char *name;
    int status;
    enum err_kind kind;
    enum aws_class class;
    const char *words, *cure; /* NULL: the answer's own message */
} knowns[] = {
    {"AccessDenied", 403, ERR_DENIED, AWS_FINAL, "access denied", NULL},
    {"AccessDeniedException", 403, ERR_DENIED, AWS_FINAL, "access denied", NULL},
    {"Forbidden", 403, ERR_DENIED, AWS_FINAL, "access denied", NULL},
    {"UnauthorizedOperation", 403, ERR_DENIED, AWS_FINAL, "access denied", NULL},
    {"AuthFailure", 401, ERR_DENIED, AWS_CLOCK, "not accepted", "the keys are not known there, or this machine's clock is wrong"},
    {"AllAccessDisabled", 403, ERR_DENIED, AWS_FINAL, "all access to it is disabled", NULL},
    {"AccountProblem", 403, ERR_DENIED, AWS_FINAL, "something is wrong with the AWS account", NULL},
    {"InvalidAccessKeyId", 403, ERR_DENIED, AWS_FINAL, "the access key is not known there", "it was deleted, or belongs to another partition or endpoint"},
    {"InvalidClientTokenId", 403, ERR_DENIED, AWS_FINAL, "the access key is not known there", "it was deleted, or belongs to another partition or endpoint"},
    {"UnrecognizedClientException", 403, ERR_DENIED, AWS_FINAL, "the access key is not known there", "it was deleted, or belongs to another partition or endpoint"},
    {"SignatureDoesNotMatch", 403, ERR_DENIED, AWS_CLOCK, "the signature does not fit", "the secret key is another one's, or something on the way changes requests"},
    {"InvalidSignatureException", 403, ERR_DENIED, AWS_CLOCK, "the signature does not fit", "the secret key is another one's, or something on the way changes requests"},
    {"RequestTimeTooSkewed", 403, ERR_DENIED, AWS_CLOCK, "this machine's clock is wrong", "set it (chrony, NTP)"},
    {"RequestExpired", 400, ERR_DENIED, AWS_CLOCK, "this machine's clock is wrong", "set it (chrony, NTP)"},
    {"RequestInTheFuture", 403, ERR_DENIED, AWS_CLOCK, "this machine's clock is wrong", "set it (chrony, NTP)"},
    {"ExpiredToken", 400, ERR_DENIED, AWS_EXPIRED, "the credentials have expired", "newer ones were not to be had: look at their source"},
    {"ExpiredTokenException", 400, ERR_DENIED, AWS_EXPIRED, "the credentials have expired", "newer ones were not to be had: look at their source"},
    {"InvalidToken", 400, ERR_DENIED, AWS_EXPIRED, "the session token is not accepted", "the credentials are of another partition, or were revoked"},
    {"TokenRefreshRequired", 400, ERR_DENIED, AWS_EXPIRED, "the credentials must be renewed", "newer ones were not to be had: look at their source"},
    {"NoSuchKey", 404, ERR_MISSING, AWS_FINAL, "no such key", ""},
    {"NoSuchBucket", 404, ERR_MISSING, AWS_FINAL, "no such bucket", ""},
    {"NoSuchVersion", 404, ERR_MISSING, AWS_FINAL, "no such version", ""},
    {"NoSuchUpload", 404, ERR_MISSING, AWS_FINAL, "no such upload", "it was completed or aborted"},
    {"NoSuchTagSet", 404, ERR_MISSING, AWS_FINAL, "it has no tags", ""},
    {"NotFound", 404, ERR_MISSING, AWS_FINAL, "not found", ""},
    {"MethodNotAllowed", 405, ERR_INVALID, AWS_FINAL, "this can't be done with it", "the object may be a delete marker"},
    {"PreconditionFailed", 412, ERR_CONFLICT, AWS_FINAL, "the condition does not hold", "it was changed meanwhile, or is there already"},
    {"ConditionalRequestConflict", 409, ERR_CONFLICT, AWS_TRANSIENT, "somebody else writes it at the same time", "try again"},
    {"OperationAborted", 409, ERR_CONFLICT, AWS_TRANSIENT, "somebody else changes it at the same time", "try again"},
    {"BucketAlreadyExists", 409, ERR_CONFLICT, AWS_FINAL, "the bucket's name is taken by somebody else", ""},
    {"BucketAlreadyOwnedByYou", 409, ERR_CONFLICT, AWS_FINAL, "the bucket is there already", ""},
    {"BucketNotEmpty", 409, ERR_CONFLICT, AWS_FINAL, "the bucket is not empty", ""},
    {"InvalidObjectState", 403, ERR_CONFLICT, AWS_FINAL, "it is archived", "restore it first"},
    {"InvalidRange", 416, ERR_INVALID, AWS_FINAL, "it has no such bytes", ""},
    {"InvalidPart", 400, ERR_INVALID, AWS_FINAL, "a part is not there, or is another one", NULL},
    {"InvalidBucketName", 400, ERR_INVALID, AWS_FINAL, "this is no name of a bucket", ""},
    {"EntityTooLarge", 400, ERR_INVALID, AWS_FINAL, "it is too large for one request", NULL},
    {"EntityTooSmall", 400, ERR_INVALID, AWS_FINAL, "a part is smaller than 5 MiB", NULL},
    {"KeyTooLongError", 400, ERR_INVALID, AWS_FINAL, "the key is longer than 1,024 bytes", ""},
    {"BadDigest", 400, ERR_PROTOCOL, AWS_TRANSIENT, "what arrived has another checksum than what was sent", ""},
    {"XAmzContentSHA256Mismatch", 400, ERR_PROTOCOL, AWS_UNSUPPORTED, "what arrived has another hash than what was sent", ""},
    {"XAmzContentChecksumMismatch", 400, ERR_PROTOCOL, AWS_TRANSIENT, "what arrived has another checksum than what was sent", ""},
    {"IncompleteBody", 400, ERR_PROTOCOL, AWS_TRANSIENT, "the body did not arrive as a whole", ""},
    {"RequestTimeout", 400, ERR_TIMEOUT, AWS_TRANSIENT, "the body did not arrive in time", ""},
    {"RequestTimeoutException", 400, ERR_TIMEOUT, AWS_TRANSIENT, "the request did not arrive in time", ""},
    {"IDPCommunicationError", 400, ERR_TIMEOUT, AWS_TRANSIENT, "the identity provider was not reached", ""},
    {"InternalError", 500, ERR_TIMEOUT, AWS_TRANSIENT, "it has a fault of its own", ""},
    {"InternalFailure", 500, ERR_TIMEOUT, AWS_TRANSIENT, "it has a fault of its own", ""},
    {"InternalServerError", 500, ERR_TIMEOUT, AWS_TRANSIENT, "it has a fault of its own", ""},
    {"BadGateway", 502, ERR_TIMEOUT, AWS_TRANSIENT, "who stands before it does not reach it", ""},
    {"GatewayTimeout", 504, ERR_TIMEOUT, AWS_TRANSIENT, "who stands before it does not reach it", ""},
    {"ServiceUnavailable", 503, ERR_THROTTLED, AWS_TRANSIENT, "it is not available", ""},
    {"SlowDown", 503, ERR_THROTTLED, AWS_THROTTLED, "it is asked too often", "spread keys over prefixes, or ask less"},
    {"Throttling", 400, ERR_THROTTLED, AWS_THROTTLED, "it is asked too often", "ask less"},
    {"ThrottlingException", 400, ERR_THROTTLED, AWS_THROTTLED, "it is asked too often", "ask less"},
    {"ThrottledException", 400, ERR_THROTTLED, AWS_THROTTLED, "it is asked too often", "ask less"},
    {"RequestThrottled", 400, ERR_THROTTLED, AWS_THROTTLED, "it is asked too often", "ask less"},
    {"RequestThrottledException", 400, ERR_THROTTLED, AWS_THROTTLED, "it is asked too often", "ask less"},
    {"TooManyRequests", 429, ERR_THROTTLED, AWS_THROTTLED, "it is asked too often", "ask less"},
    {"TooManyRequestsException", 429, ERR_THROTTLED, AWS_THROTTLED, "it is asked too often", "ask less"},
    {"RequestLimitExceeded", 503, ERR_THROTTLED, AWS_THROTTLED, "it is asked too often", "ask less"},
    {"BandwidthLimitExceeded", 509, ERR_THROTTLED, AWS_THROTTLED, "it is asked too often", "ask less"},
    {"LimitExceededException", 400, ERR_THROTTLED, AWS_THROTTLED, "it is asked too often", NULL},
    {"ProvisionedThroughputExceededException", 400, ERR_THROTTLED, AWS_THROTTLED, "it is asked too often", "ask less"},
    {"TransactionInProgressException", 400, ERR_THROTTLED, AWS_THROTTLED, "another transaction is under way", ""},
    {"EC2ThrottledException", 400, ERR_THROTTLED, AWS_THROTTLED, "it is asked too often", "ask less"},
    {"PriorRequestNotComplete", 400, ERR_THROTTLED, AWS_THROTTLED, "the request before is not over", ""},
    {"PermanentRedirect", 301, ERR_INVALID, AWS_ELSEWHERE, "the bucket is in another region", NULL},
    {"MovedPermanently", 301, ERR_INVALID, AWS_ELSEWHERE, "the bucket is in another region", NULL},
    {"Redirect", 307, ERR_INVALID, AWS_ELSEWHERE, "the bucket is elsewhere", NULL},
    {"TemporaryRedirect", 307, ERR_INVALID, AWS_ELSEWHERE, "the bucket is elsewhere", NULL},
    {"AuthorizationHeaderMalformed", 400, ERR_INVALID, AWS_ELSEWHERE, "the request was signed for another region", NULL},
    {"IllegalLocationConstraintException", 400, ERR_INVALID, AWS_ELSEWHERE, "the bucket is in another region", NULL},
    {"IllegalLocationConstraint", 400, ERR_INVALID, AWS_ELSEWHERE, "the bucket is in another region", NULL},
    {"NotImplemented", 501, ERR_INVALID, AWS_UNSUPPORTED, "it can't do this", NULL},
    {"InvalidRequest", 400, ERR_INVALID, AWS_UNSUPPORTED, "it does not take this request", NULL},
    {"InvalidArgument", 400, ERR_INVALID, AWS_UNSUPPORTED, "it does not take this request", NULL},
    {"UnsupportedOperation", 400, ERR_INVALID, AWS_UNSUPPORTED, "it can't do this", NULL},
    {"UnsupportedArgument", 400, ERR_INVALID, AWS_UNSUPPORTED, "it can't do this", NULL},
    {"MalformedTrailerError", 400, ERR_INVALID, AWS_UNSUPPORTED, "it does not take this request", NULL},
    {"InvalidChunkSizeError", 400, ERR_INVALID, AWS_UNSUPPORTED, "it does not take this request", NULL},
    {"MissingContentLength", 411, ERR_INVALID, AWS_UNSUPPORTED, "it wants to know the length before", NULL},
    {"InvalidDigest", 400, ERR_INVALID, AWS_UNSUPPORTED, "it does not take this checksum", NULL},
};
/* clang-format on */

static const struct known *find(const char *name)
{
    for (size_t i = 0; i < sizeof knowns / sizeof *knowns; i++)
        if (strcmp(knowns[i].name, name) == 0)
            return &knowns[i];
    return NULL;
}

/* For those who say nothing but a status. */
static const char *name_of(int status)
{
    static const struct {
        int status;
        const char *name;
    } names[] = {
        {301, "MovedPermanently"},   {307, "TemporaryRedirect"},
        {400, "BadRequest"},         {401, "Unauthorized"},
        {403, "Forbidden"},          {404, "NotFound"},
        {405, "MethodNotAllowed"},   {409, "Conflict"},
        {411, "LengthRequired"},     {412, "PreconditionFailed"},
        {413, "EntityTooLarge"},     {416, "InvalidRange"},
        {429, "TooManyRequests"},    {500, "InternalServerError"},
        {501, "NotImplemented"},     {502, "BadGateway"},
        {503, "ServiceUnavailable"}, {504, "GatewayTimeout"},
    };
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (names[i].status == status)
            return names[i].name;
    return "";
}

enum aws_class aws_fault_class(int status, const char *name)
{
    const struct known *known = find(name);
    if (known && known->class != AWS_FINAL)
        return known->class;
    if (strncmp(name, "Throttl", 7) == 0 || status == 429 || status == 509)
        return AWS_THROTTLED;
    if (status == 500 || status == 502 || status == 503 || status == 504)
        return AWS_TRANSIENT;
    return status == 501 || status == 411 ? AWS_UNSUPPORTED : AWS_FINAL;
}

enum err_kind aws_fault_kind(int status, const char *name)
{
    const struct known *known = find(name);
    if (known)
        return known->kind;
    switch (status) {
    case 401:
    case 403: return ERR_DENIED;
    case 404:
    case 410: return ERR_MISSING;
    case 408: return ERR_TIMEOUT;
    case 409:
    case 412: return ERR_CONFLICT;
    case 429:
    case 503: return ERR_THROTTLED;
    default: return status >= 500 ? ERR_TIMEOUT : status >= 400 ? ERR_INVALID : ERR_PROTOCOL;
    }
}

int aws_fault_status(const char *name)
{
    const struct known *known = find(name);
    return known ? known->status : 500;
}

/* --- reading --- */

static void keep(char *out, size_t size, struct bytes text)
{
    while (text.length && (*text.data == ' ' || *text.data == '\n' || *text.data == '\r' || *text.data == '\t'))
        text = (struct bytes){text.data + 1, text.length - 1};
    if (!*out)
        bytes_shown(text, out, size);
}

/* A name is a word: what has anything else in it was not meant for us. */
static void keep_name(struct aws_fault *f, struct bytes text)
{
    bool word = text.length > 0;
    for (size_t i = 0; word && i < text.length; i++) {
        char c = text.data[i];
        word = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '.' || c == '_' || c == '-';
    }
    if (word)
        keep(f->name, sizeof f->name, text);
}

static void keep_region(struct aws_fault *f, struct bytes text)
{
    if (aws_region_check(text, NULL))
        keep(f->region, sizeof f->region, text);
}

static void read_xml(struct aws_fault *f, struct bytes body)
{
    const struct xml_limits limits = {.bytes = AWS_FAULT_LIMIT, .depth = 16, .nodes = 4000};
    struct xml_document document;
    if (!xml_read(&document, body, &limits, NULL))
        return;
    for (size_t i = 0; i + 1 < document.count; i++) {
        const struct xml_node *node = &document.nodes[i], *text = node + 1;
        if (node->kind != XML_ELEMENT || text->kind != XML_TEXT || text->depth != node->depth + 1)
            continue;
        if (strcmp(node->name, "Code") == 0)
            keep_name(f, text->text);
        else if (strcmp(node->name, "Message") == 0)
            keep(f->message, sizeof f->message, text->text);
        else if (strcmp(node->name, "Region") == 0)
            keep_region(f, text->text);
        else if (strcasecmp(node->name, "RequestId") == 0)
            keep(f->request_id, sizeof f->request_id, text->text);
    }
    xml_free(&document);
}

/* "com.amazonaws.x#ThrottlingException", "ValidationException:http://..." */
static struct bytes bare(struct bytes name)
{
    const char *end = name.length ? memchr(name.data, ':', name.length) : NULL;
    if (end)
        name.length = (size_t)(end - name.data);
    const char *mark = name.length ? memchr(name.data, '#', name.length) : NULL;
    if (mark)
        name = (struct bytes){mark + 1, name.length - (size_t)(mark + 1 - name.data)};
    return name;
}

static void read_json(struct aws_fault *f, struct bytes body)
{
    const struct json_limits limits = {.bytes = AWS_FAULT_LIMIT, .depth = 16};
    struct json_document document;
    struct bytes text;
    if (!json_read(&document, body, &limits, NULL))
        return;
    if (json_text(json_get(document.root, "__type"), &text) || json_text(json_get(document.root, "code"), &text))
        keep_name(f, bare(text));
    if (json_text(json_get(document.root, "message"), &text))
        keep(f->message, sizeof f->message, text);
    json_free(&document);
}

static struct bytes without_blanks(struct bytes text)
{
    size_t i = 0;
    while (i < text.length && (text.data[i] == ' ' || text.data[i] == '\n' || text.data[i] == '\r' || text.data[i] == '\t'))
        i++;
    return (struct bytes){text.data + i, text.length - i};
}

void aws_fault_read(struct aws_fault *f, int status, const struct headers *headers, struct bytes body)
{
    static const char *const ids[] = {"x-amz-request-id", "x-amzn-RequestId", "x-amzn-request-id"};
    *f = (struct aws_fault){0};
    for (size_t i = 0; headers && i < sizeof ids / sizeof *ids; i++) {
        const char *id = headers_find(headers, ids[i]);
        if (id)
            keep(f->request_id, sizeof f->request_id, bytes_of(id));
    }
    const char *type = headers ? headers_find(headers, "x-amzn-ErrorType") : NULL;
    if (type)
        keep_name(f, bare(bytes_of(type)));
    body = without_blanks(body);
    if (body.length > AWS_FAULT_LIMIT)
        body.length = 0;
    if (body.length && *body.data == '<')
        read_xml(f, body);
    else if (body.length && *body.data == '{')
        read_json(f, body);
    f->told = *f->name;
    if (!f->told)
        snprintf(f->name, sizeof f->name, "%s", name_of(status));
}

enum aws_inside aws_fault_inside(struct bytes body)
{
    static const char declaration[] = "<?xml", error[] = "<Error";
    body = without_blanks(body);
    if (body.length >= sizeof declaration - 1 && memcmp(body.data, declaration, sizeof declaration - 1) == 0) {
        const char *end = memmem(body.data, body.length, "?>", 2);
        body = end ? without_blanks((struct bytes){end + 2, body.length - (size_t)(end + 2 - body.data)}) : (struct bytes){"", 0};
    }
    if (body.length == 0)
        return AWS_INSIDE_NOTHING;
    size_t length = sizeof error - 1;
    bool is_error = body.length > length && memcmp(body.data, error, length) == 0 && strchr("> \r\n\t/", body.data[length]);
    return is_error ? AWS_INSIDE_FAULT : AWS_INSIDE_FINE;
}

/* --- sentences --- */

static bool has(const struct aws_spec *spec, const char *name)
{
    for (size_t i = 0; i < spec->query_count; i++)
        if (bytes_equal(spec->query[i].name, bytes_of(name)))
            return true;
    return false;
}

const char *aws_s3_action(const struct aws_spec *spec)
{
    const char *method = spec->method;
    bool reads = strcmp(method, "GET") == 0 || strcmp(method, "HEAD") == 0, puts = strcmp(method, "PUT") == 0;
    bool deletes = strcmp(method, "DELETE") == 0;
    if (strcmp(spec->service, "s3") != 0)
        return NULL;
    if (spec->bucket.length == 0)
        return reads ? "s3:ListAllMyBuckets" : NULL;
    if (has(spec, "tagging") && spec->key.length)
        return reads ? "s3:GetObjectTagging" : puts ? "s3:PutObjectTagging" : "s3:DeleteObjectTagging";
    if (has(spec, "delete"))
        return "s3:DeleteObject";
    if (spec->key.length == 0)
        return has(spec, "versions")   ? "s3:ListBucketVersions"
               : has(spec, "uploads")  ? "s3:ListBucketMultipartUploads"
               : has(spec, "location") ? "s3:GetBucketLocation"
               : reads                 ? "s3:ListBucket"
               : puts                  ? "s3:CreateBucket"
                                       : NULL;
    if (has(spec, "uploadId"))
        return deletes ? "s3:AbortMultipartUpload" : reads ? "s3:ListMultipartUploadParts" : "s3:PutObject";
    if (has(spec, "versionId"))
        return reads ? "s3:GetObjectVersion" : deletes ? "s3:DeleteObjectVersion" : NULL;
    return reads ? "s3:GetObject" : deletes ? "s3:DeleteObject" : "s3:PutObject";
}

static void describe_denied(const struct aws_fault *f, const struct aws_scene *scene, char *out, size_t size)
{
    bool reads = scene->action && (strcmp(scene->action, "s3:GetObject") == 0 || strcmp(scene->action, "s3:GetObjectVersion") == 0);
    if (scene->is_anonymous)
        snprintf(out, size, "the request was not signed, and this is not public");
    else if (*f->message && strcasecmp(f->message, "Access Denied") != 0 && strcasecmp(f->message, "Forbidden") != 0)
        snprintf(out, size, "%s", f->message); /* who may not do what, and by which policy */
    else if (scene->action)
        snprintf(out, size, "the role or key lacks %s, or the bucket's policy refuses it%s", scene->action,
                 reads ? " (or there is no such key, and s3:ListBucket is lacking, too)" : "");
    else
        snprintf(out, size, "the role or key lacks a permission for it");
}

static void describe_region(const struct aws_scene *scene, char *out, size_t size)
{
    if (scene->bucket_region && *scene->bucket_region)
        snprintf(out, size, "it is in %s, and was asked for in %s", scene->bucket_region, scene->region);
    else
        snprintf(out, size, "it is not in %s, and where it is could not be found out: set AWS_REGION", scene->region);
}

void aws_fault_describe(const struct aws_fault *f, int status, const struct aws_scene *scene, struct err *err)
{
    const struct known *known = find(f->name);
    enum err_kind kind = aws_fault_kind(status, f->name);
    const char *words = known ? known->words : kind == ERR_DENIED ? "access denied" : kind == ERR_MISSING ? "not found" : "refused";
    char cure[sizeof err->text] = "";
    if (known && known->class == AWS_ELSEWHERE)
        describe_region(scene, cure, sizeof cure);
    else if (scene->skew_ms)
        snprintf(cure, sizeof cure, "this machine's clock is %lld s %s AWS's: set it (chrony, NTP)",
                 (long long)(scene->skew_ms < 0 ? -scene->skew_ms : scene->skew_ms) / 1000, scene->skew_ms < 0 ? "ahead of" : "behind");
    else if (known && known->cure)
        snprintf(cure, sizeof cure, "%s", known->cure);
    else if (kind == ERR_DENIED)
        describe_denied(f, scene, cure, sizeof cure);
    else
        snprintf(cure, sizeof cure, "%s", f->message);
    err_set(err, kind, "%.110s: %s (%d%s%s)%s%s", scene->subject, words, status, *f->name ? " " : "", f->name, *cure ? ": " : "", cure);
    if (err)
        err->code = status;
}
