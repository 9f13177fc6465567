/* aws_host.h - what the machine itself says about being an EC2 instance, without asking anybody: its DMI (SMBIOS) tables, as the kernel
 * shows them in /sys. So that off EC2 nobody waits for a metadata service that isn't there.
 * Reads a few bytes of /sys, which never waits. Where /sys is hidden (some sandboxes) the answer is no. */
#ifndef APPLIANCE_AWS_HOST_H
#define APPLIANCE_AWS_HOST_H

#include <stdbool.h>

/* `root` stands before "/sys": "" but in tests. */
bool aws_host_is_ec2(const char *root);

#endif
