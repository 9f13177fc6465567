/* What sources of credentials answer, and the addresses they are asked at: no input may crash, whatever is taken can stand in a header,
 * and http goes to this machine only. The first byte chooses the reader. */
#include "appliance/credentials_container.h"
#include "appliance/credentials_document.h"
#include "appliance/imds_settings.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *, size_t);

static void must(bool holds)
{
    if (!holds)
        abort();
}

static void must_be_header(const char *text)
{
    must(text[0] != 0);
    for (; *text; text++)
        must((unsigned char)*text > 0x20 && (unsigned char)*text < 0x7f);
}

static void check(bool ok, struct credentials *keys, const struct err *err)
{
    must(ok == (err->kind == ERR_NONE));
    if (!ok) {
        must(err->kind == ERR_PROTOCOL || err->kind == ERR_DENIED);
        must(!keys->access_key_id && !keys->secret_access_key && !keys->session_token);
        return;
    }
    must_be_header(keys->access_key_id);
    must_be_header(keys->secret_access_key);
    if (keys->session_token)
        must_be_header(keys->session_token);
    credentials_free(keys);
}

static void check_addresses(const char *text)
{
    char *variable = malloc(strlen(text) + 100);
    char *environment[] = {variable, NULL};
    struct credentials_container container;
    struct imds_settings settings;
    struct credentials_url url;
    struct err err = {0};
    sprintf(variable, "AWS_CONTAINER_CREDENTIALS_FULL_URI=%s", text);
    if (credentials_container(environment, &container, &err) == CREDENTIALS_READY) {
        must(credentials_url_cut(bytes_of(container.url), "it", &url, NULL));
        must(url.tls || credentials_container_is_local(url.host));
        must_be_header(container.url);
    }
    sprintf(variable, "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI=%s", text);
    if (credentials_container(environment, &container, &err) == CREDENTIALS_READY)
        must(strncmp(container.url, "http://169.254.170.2/", 21) == 0);
    sprintf(variable, "AWS_EC2_METADATA_SERVICE_ENDPOINT=%s", text);
    if (imds_settings_read(&settings, environment, NULL, &err)) {
        must_be_header(settings.endpoint);
        must(settings.endpoint[strlen(settings.endpoint) - 1] != '/');
    }
    free(variable);
}

int LLVMFuzzerTestOneInput(const uint8_t *input, size_t length)
{
    if (length == 0)
        return 0;
    int reader = *input++;
    length--;
    char *data = malloc(length + 1);
    memcpy(data, input, length);
    data[length] = 0;
    char *exact = malloc(length ? length : 1); /* without the zero, so that the sanitizer sees a step too far */
    memcpy(exact, input, length);
    struct bytes text = {exact, length};
    struct credentials keys = {0};
    struct err err = {0};
    switch (reader) {
    case 'c': check(credentials_document_read(DOCUMENT_CONTAINER, text, "it", &keys, &err), &keys, &err); break;
    case 'i': check(credentials_document_read(DOCUMENT_IMDS, text, "it", &keys, &err), &keys, &err); break;
    case 'p': check(credentials_document_read(DOCUMENT_PROCESS, text, "it", &keys, &err), &keys, &err); break;
    case 's': check(credentials_sts_read(text, &keys, &err), &keys, &err); break;
    case 'f':
        credentials_sts_fault(400, text, "it", &err);
        must(err.kind != ERR_NONE && err.code == 400);
        break;
    default: check_addresses(data); break;
    }
    free(exact);
    free(data);
    return 0;
}
