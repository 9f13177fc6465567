/* aws_region.h - what follows from a region's name: the domain of its partition, and with it the hosts of services. Pure.
 * An unknown region is taken for one of the ordinary partition, as AWS's own clients do: they open new ones every year. */
#ifndef APPLIANCE_AWS_REGION_H
#define APPLIANCE_AWS_REGION_H

#include "appliance/buf.h"
#include "appliance/err.h"

/* False with ERR_INVALID unless it could be one: letters, digits and hyphens. What is no region must not become a part of a host's name. */
bool aws_region_check(struct bytes region, struct err *);
/* "aws", "aws-cn", "aws-us-gov" ...: as it stands in ARNs. */
const char *aws_region_partition(struct bytes region);
/* "amazonaws.com", "amazonaws.com.cn" ... */
const char *aws_region_domain(struct bytes region);
bool aws_region_has_fips(struct bytes region);

/* Appends the host of a service that is not S3 (sts, ec2, elasticloadbalancing, autoscaling, cloudformation, route53), and says for
 * which region requests to it are signed: its own, but for Route 53, of which each partition has one. */
bool aws_region_host(struct bytes service, struct bytes region, struct buf *host, struct bytes *sign_for, struct err *);

#endif
