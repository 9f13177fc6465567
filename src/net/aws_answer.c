#include "aws_inner.h"

#include <inttypes.h>
#include <stdio.h>

void aws_answer_begin(struct aws_call *call)
{
    aws_checksum_end(&call->sum);
    call->looked = false;
    call->kind = AWS_CHECKSUM_NONE;
    call->request->verified = AWS_CHECKSUM_NONE;
}

void aws_answer_end(struct aws_call *call)
{
    aws_checksum_end(&call->sum);
}

/* A range's checksum is not told, but for servers that tell that of the whole; so only the whole is held against it. */
static bool is_whole(const struct http_fetch *fetch)
{
    const char *range = headers_find(&fetch->headers, "Content-Range");
    int64_t first, last, all;
    if (fetch->status == 200)
        return true;
    return fetch->status == 206 && range && sscanf(range, "bytes %" SCNd64 "-%" SCNd64 "/%" SCNd64, &first, &last, &all) == 3 &&
           first == 0 && last >= 0 && all > 0 && last == all - 1;
}

/* Which checksum came, the best first. Those of parts ("...-7") say nothing about the whole. */
static void look(struct aws_call *call)
{
    const struct aws_spec *spec = call->request->spec;
    const struct http_fetch *fetch = &call->request->fetch;
    call->looked = true;
    if (!aws_is_s3(spec) || strcmp(spec->method, "GET") != 0 || spec->key.length == 0 || spec->flags & AWS_CHECKSUM_OFF ||
        !call->client->settings->checksum_answers || !is_whole(fetch))
        return;
    for (enum aws_checksum_kind kind = AWS_CHECKSUM_CRC64NVME; kind < AWS_CHECKSUM_MD5; kind++) {
        const char *said = headers_find(&fetch->headers, aws_checksum_header(kind));
        if (!said || strchr(said, '-') || strlen(said) >= sizeof call->said || !aws_checksum_start(&call->sum, kind, NULL))
            continue;
        call->kind = kind;
        snprintf(call->said, sizeof call->said, "%s", said);
        return;
    }
}

ssize_t aws_answer_push(struct http_fetch *fetch, const char *data, size_t length)
{
    struct aws_request *request = aws_request_of(fetch);
    struct aws_call *call = request->call;
    if (!call->looked)
        look(call);
    aws_call_enter(call);
    ssize_t taken = request->spec->push(request, data, length);
    if (!aws_call_leave(call))
        return HTTP_STOP;
    if (taken != (ssize_t)length)
        return taken;
    call->pushed = true;
    aws_checksum_add(&call->sum, data, length);
    return taken;
}

bool aws_answer_fits(struct aws_call *call, struct err *err)
{
    unsigned char raw[AWS_CHECKSUM_RAW_SIZE];
    struct aws_request *request = call->request;
    if (!call->looked)
        look(call);
    if (call->kind == AWS_CHECKSUM_NONE)
        return true;
    if (!request->spec->push)
        aws_checksum_add(&call->sum, request->fetch.body.data, request->fetch.body.length);
    size_t length = aws_checksum_finish(&call->sum, raw);
    if (length == 0 || aws_checksum_compare(bytes_of(call->said), raw, length) == AWS_CHECKSUM_DIFFERENT)
        return err_set(err, ERR_PROTOCOL, "what came does not fit its checksum %s: it was changed on the way, or is damaged where it lies",
                       aws_checksum_name(call->kind));
    request->verified = call->kind;
    return true;
}
