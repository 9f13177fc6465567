#include "appliance/aws_region.h"

enum { REGION_LIMIT = 63 };

/* The first whose regions begin so. Route 53 has one host in each. */
static const struct partition {
    const char *prefix, *name, *domain, *route53, *route53_region;
    bool fips;
} partitions[] = {
    {"cn-", "aws-cn", "amazonaws.com.cn", "route53.amazonaws.com.cn", "cn-northwest-1", false},
    {"us-gov-", "aws-us-gov", "amazonaws.com", "route53.us-gov.amazonaws.com", "us-gov-west-1", true},
    {"us-iso-", "aws-iso", "c2s.ic.gov", "route53.c2s.ic.gov", "us-iso-east-1", true},
    {"us-isob-", "aws-iso-b", "sc2s.sgov.gov", "route53.sc2s.sgov.gov", "us-isob-east-1", true},
    {"us-isof-", "aws-iso-f", "csp.hci.ic.gov", "route53.csp.hci.ic.gov", "us-isof-south-1", true},
    {"eu-isoe-", "aws-iso-e", "cloud.adc-e.uk", "route53.cloud.adc-e.uk", "eu-isoe-west-1", true},
    {"eusc-", "aws-eusc", "amazonaws.eu", "route53.amazonaws.eu", "eusc-de-east-1", true},
    {"", "aws", "amazonaws.com", "route53.amazonaws.com", "us-east-1", true},
};

static const struct partition *partition_of(struct bytes region)
{
    const struct partition *p = partitions;
    while (region.length < strlen(p->prefix) || memcmp(region.data, p->prefix, strlen(p->prefix)) != 0)
        p++; /* the last fits all */
    return p;
}

static bool is_label(struct bytes text)
{
    for (size_t i = 0; i < text.length; i++) {
        char c = text.data[i];
        bool inside = i > 0 && i + 1 < text.length;
        if (!((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || (c == '-' && inside)))
            return false;
    }
    return text.length > 0 && text.length <= REGION_LIMIT;
}

bool aws_region_check(struct bytes region, struct err *err)
{
    if (region.length == 0)
        return err_set(err, ERR_INVALID, "no region is known: set AWS_REGION");
    return is_label(region) ||
           err_set(err, ERR_INVALID, "the region has letters that no region has: set AWS_REGION to one such as eu-west-1");
}

const char *aws_region_partition(struct bytes region)
{
    return partition_of(region)->name;
}

const char *aws_region_domain(struct bytes region)
{
    return partition_of(region)->domain;
}

bool aws_region_has_fips(struct bytes region)
{
    return partition_of(region)->fips;
}

bool aws_region_host(struct bytes service, struct bytes region, struct buf *host, struct bytes *sign_for, struct err *err)
{
    if (!aws_region_check(region, err))
        return false;
    if (!is_label(service))
        return err_set(err, ERR_INVALID, "'%.*s' is no name of an AWS service", service.length < 64 ? (int)service.length : 64,
                       service.data);
    const struct partition *p = partition_of(region);
    bool one_for_all = bytes_equal(service, bytes_of("route53"));
    *sign_for = one_for_all ? bytes_of(p->route53_region) : region;
    bool written = one_for_all
                       ? buf_text(host, p->route53)
                       : buf_format(host, "%.*s.%.*s.%s", (int)service.length, service.data, (int)region.length, region.data, p->domain);
    return written || err_set(err, ERR_INVALID, "the name of the host of %.*s is too long", (int)service.length, service.data);
}
