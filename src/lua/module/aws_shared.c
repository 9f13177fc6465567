#include "appliance/aws_shared.h"

#include "appliance/aws_host.h"
#include "appliance/s3_put.h"
#include "appliance/task.h"

#include <unistd.h>

static struct credentials_store *store;
static struct aws_client *client;
static struct aws_settings settings;
static int holds;

struct credentials_store *aws_shared_credentials(struct err *err)
{
    struct loop *loop = task_loop();
    if (!store && !loop)
        err_set(err, ERR_SYSTEM, "event loop: no memory or descriptors");
    else if (!store)
        store = credentials_open(loop, &(struct credentials_spec){.not_ec2 = !aws_host_is_ec2("")}, err);
    return store;
}

struct aws_client *aws_shared_client(struct err *err)
{
    if (client || !aws_shared_credentials(err))
        return client;
    if (aws_settings_load(&settings, environ, err))
        client = aws_client_open(task_loop(), &settings, store, err);
    if (!client)
        aws_settings_free(&settings);
    return client;
}

void aws_shared_hold(void)
{
    holds++;
}

void aws_shared_release(void)
{
    holds--;
}

bool aws_shared_is_busy(void)
{
    return holds > 0 || (store && credentials_is_asked(store)) || (client && aws_client_is_busy(client));
}

void aws_shared_close(void)
{
    s3_put_drop_leftovers();
    aws_client_close(client);
    client = NULL;
    aws_settings_free(&settings);
    credentials_close(store);
    store = NULL;
}
