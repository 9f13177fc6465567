#include "aws_inner.h"
#include "appliance/clock.h"

#include <stdio.h>
#include <stdlib.h>
#include <strings.h>

enum { HEADERS_LIMIT = 128 * 1024, URL_LIMIT = HTTP_URL_LIMIT };

struct aws_client *aws_client_open(struct loop *loop, const struct aws_settings *settings, struct credentials_store *store, struct err *err)
{
    struct aws_client *client = calloc(1, sizeof *client);
    if (!client) {
        err_set(err, ERR_SYSTEM, "no memory for what requests to AWS share");
        return NULL;
    }
    client->loop = loop;
    client->settings = settings;
    client->store = store;
    s3_address_init(&client->address);
    headers_init(&client->headers, HEADERS_LIMIT);
    sigv4_result_init(&client->signature);
    buf_init(&client->url, URL_LIMIT);
    return client;
}

void aws_client_close(struct aws_client *client)
{
    if (!client)
        return;
    s3_address_free(&client->address);
    if (client->headers.text.data) /* a session token, a signature; sigv4.c wipes its own */
        explicit_bzero(client->headers.text.data, client->headers.text.capacity);
    headers_free(&client->headers);
    sigv4_result_free(&client->signature);
    sigv4_keys_clear(&client->keys);
    buf_free(&client->url);
    free(client);
}

bool aws_client_is_busy(const struct aws_client *client)
{
    return client->calls > 0;
}

const struct aws_settings *aws_client_settings(const struct aws_client *client)
{
    return client->settings;
}

int64_t aws_client_wall_ms(const struct aws_client *client)
{
    return clock_wall_ms() + client->skew_ms;
}

const char *aws_client_bucket_region(const struct aws_client *client, struct bytes bucket)
{
    for (size_t i = 0; bucket.length && i < AWS_BUCKETS; i++)
        if (bytes_equal(bucket, bytes_of(client->buckets[i].bucket)))
            return client->buckets[i].region;
    return NULL;
}

void aws_client_found(struct aws_client *client, struct bytes bucket, const char *region)
{
    size_t i = 0;
    if (bucket.length == 0 || bucket.length > S3_BUCKET_LIMIT)
        return;
    while (i < AWS_BUCKETS && !bytes_equal(bucket, bytes_of(client->buckets[i].bucket)))
        i++;
    if (i == AWS_BUCKETS)
        i = client->next_bucket++ % AWS_BUCKETS;
    snprintf(client->buckets[i].bucket, sizeof client->buckets[i].bucket, "%.*s", (int)bucket.length, bucket.data);
    snprintf(client->buckets[i].region, sizeof client->buckets[i].region, "%s", region);
}

bool aws_client_is_plain(const struct aws_client *client, const char *origin)
{
    for (size_t i = 0; i < AWS_PLAIN_PLACES; i++)
        if (*client->plain[i] && strcasecmp(client->plain[i], origin) == 0)
            return true;
    return false;
}

void aws_client_note_plain(struct aws_client *client, const char *origin)
{
    if (!aws_client_is_plain(client, origin))
        snprintf(client->plain[client->next_plain++ % AWS_PLAIN_PLACES], AWS_ORIGIN_SIZE, "%s", origin);
}
