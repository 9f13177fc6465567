#include "appliance/aws_shared.h"

#include "appliance/aws_host.h"
#include "appliance/task.h"

static struct credentials_store *store;

struct credentials_store *aws_shared_credentials(struct err *err)
{
    struct loop *loop = task_loop();
    if (!store && !loop)
        err_set(err, ERR_SYSTEM, "event loop: no memory or descriptors");
    else if (!store)
        store = credentials_open(loop, &(struct credentials_spec){.not_ec2 = !aws_host_is_ec2("")}, err);
    return store;
}

void aws_shared_close(void)
{
    credentials_close(store);
    store = NULL;
}
