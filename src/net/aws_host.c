#include "appliance/aws_host.h"

#include "appliance/sys.h"

#include <fcntl.h>
#include <limits.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

/* As EC2's documentation tells (identify_ec2_instances), and cloud-init's ds-identify. Nitro and bare metal: vendor and asset tag, which
 * everybody may read. Xen: the hypervisor's UUID; the product's is for root only. Some UUIDs have their first bytes in the other
 * order: "45E12AEC-..." is EC2 all the same. */
static const struct sign {
    const char *file;
    bool whole; /* else: begins so */
    const char *text;
} signs[] = {
    {"/sys/class/dmi/id/sys_vendor", true, "Amazon EC2"},  {"/sys/class/dmi/id/board_asset_tag", false, "i-"},
    {"/sys/class/dmi/id/product_uuid", false, "ec2"},      {"/sys/hypervisor/uuid", false, "ec2"},
    {"/sys/class/dmi/id/bios_vendor", true, "Amazon EC2"},
};

static bool says(const char *root, const struct sign *sign)
{
    char path[PATH_MAX], text[64];
    if ((size_t)snprintf(path, sizeof path, "%s%s", root, sign->file) >= sizeof path)
        return false;
    int fd = sys.open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK, 0);
    if (fd < 0)
        return false;
    ssize_t length = sys.read(fd, text, sizeof text - 1);
    sys.close(fd);
    if (length <= 0)
        return false;
    text[length] = 0;
    text[strcspn(text, "\n")] = 0;
    return strncasecmp(text, sign->text, strlen(sign->text)) == 0 && (!sign->whole || strlen(text) == strlen(sign->text));
}

/* "45E12AEC-DCD1-B213-94ED-01234567890A": bytes 3 and 2 of the first group, then, are EC2. */
static bool is_swapped_uuid(const char *root)
{
    char path[PATH_MAX], text[64];
    if ((size_t)snprintf(path, sizeof path, "%s/sys/class/dmi/id/product_uuid", root) >= sizeof path)
        return false;
    int fd = sys.open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK, 0);
    if (fd < 0)
        return false;
    ssize_t length = sys.read(fd, text, sizeof text);
    sys.close(fd);
    return length >= 8 && strncasecmp(text + 6, "ec", 2) == 0 && text[4] == '2';
}

bool aws_host_is_ec2(const char *root)
{
    for (size_t i = 0; i < sizeof signs / sizeof *signs; i++)
        if (says(root, &signs[i]))
            return true;
    return is_swapped_uuid(root);
}
