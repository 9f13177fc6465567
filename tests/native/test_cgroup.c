/* cgroup.h against recorded trees: tests/golden/cgroup/NAME stands in for "/". */
#include "appliance/cgroup.h"
#include "fault.h"
#include "turning.h"

#include <errno.h>
#include <stdio.h>

#define GIB (INT64_C(1) << 30)
#define MIB (INT64_C(1) << 20)

static const struct {
    const char *tree;
    int version;
    int64_t memory;
    double cpus;
    int64_t oom_kills, used;
} cases[] = {
    {"v2-docker", 2, 2 * GIB, 1.5, 3, 100 * MIB},
    {"v2-slices", 2, 4 * GIB, 2.5, 0, 4096}, /* the least of all levels; three CPUs in the set, 2.5 in the slice */
    {"v2-unlimited", 2, -1, 8, -1, 1},
    {"v2-outside", 2, 1 * GIB, 4, -1, -1},
    {"v1-docker", 1, 512 * MIB, 0.5, 2, 70 * MIB},
    {"v1-hidden-parent", 1, 256 * MIB, 2, -1, 1 * MIB},
    {"hybrid", 1, 768 * MIB, 8, -1, 5},
    {"none", 0, -1, 8, -1, -1},
};

static const char *tree(const char *name)
{
    return scratch_path(TEST_SOURCE "/tests/golden/cgroup", name);
}

static void reads_what_each_recorded_kernel_says(void **unused)
{
    (void)unused;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct cgroup_limits limits;
        assert_true(cgroup_read(tree(cases[i].tree), &limits, NULL));
        if (limits.version != cases[i].version || limits.memory_bytes != cases[i].memory || limits.cpus != cases[i].cpus)
            fail_msg("%s: version %d, memory %lld, cpus %g", cases[i].tree, limits.version, (long long)limits.memory_bytes, limits.cpus);
        if (cgroup_oom_kills(tree(cases[i].tree)) != cases[i].oom_kills)
            fail_msg("%s: oom_kills %lld", cases[i].tree, (long long)cgroup_oom_kills(tree(cases[i].tree)));
        if (cgroup_memory_used(tree(cases[i].tree)) != cases[i].used)
            fail_msg("%s: used %lld", cases[i].tree, (long long)cgroup_memory_used(tree(cases[i].tree)));
    }
}

static void nonsense_is_no_limit_and_at_least_one_cpu(void **unused)
{
    (void)unused;
    const char *const trees[] = {"nonsense", "there-is-no-such-tree"};
    for (size_t i = 0; i < 2; i++) {
        struct cgroup_limits limits;
        assert_true(cgroup_read(tree(trees[i]), &limits, NULL));
        assert_int_equal(limits.memory_bytes, -1);
        assert_true(limits.cpus >= 1);
    }
}

static void this_very_machine_can_be_read(void **unused)
{
    (void)unused;
    struct cgroup_limits limits;
    assert_true(cgroup_read("/", &limits, NULL));
    assert_in_range(limits.version, 0, 2);
    assert_true(limits.cpus > 0);
    assert_true(limits.memory_bytes == -1 || limits.memory_bytes > 0);
}

static void a_file_that_can_not_be_read_is_no_limit(void **unused)
{
    (void)unused;
    const enum fault_call calls[] = {FAULT_OPEN, FAULT_READ};
    for (size_t i = 0; i < 2; i++)
        for (struct fault f = fault_sweep(calls[i], EMFILE); fault_next(&f);) {
            struct cgroup_limits limits;
            assert_true(cgroup_read(tree("v2-docker"), &limits, NULL));
            assert_true(limits.memory_bytes == -1 || limits.memory_bytes == 2 * GIB);
            assert_true(limits.cpus >= 1);
        }
    fault_clear();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_what_each_recorded_kernel_says),
        cmocka_unit_test(nonsense_is_no_limit_and_at_least_one_cpu),
        cmocka_unit_test(this_very_machine_can_be_read),
        cmocka_unit_test(a_file_that_can_not_be_read_is_no_limit),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
