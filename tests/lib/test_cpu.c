/* SPDX-License-Identifier: MIT */
#include "lib/cpu.h"

#include <limits.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <tine/cpu.h>

#include "tests/support/files.h"
#include "tests/support/suite.h"

#define NO_LIMIT INT_MAX

/* A tree of control groups: the membership file, then pairs of file and content, NULL at the end.
 */
static int quota_of(const char *membership, const char *const *pairs)
{
    struct files files;
    int quota;

    files_begin(&files);
    files_write(&files, "membership", membership);
    for (; *pairs != NULL; pairs += 2)
        files_write(&files, pairs[0], pairs[1]);
    quota = tine__cpu_quota(files_path(&files, "membership"), files_path(&files, "cgroup"));
    files_end(&files);
    return quota;
}

#define QUOTA(membership, ...) quota_of(membership, (const char *const[]){__VA_ARGS__, NULL})
#define V2                     "cgroup/cgroup.controllers", "cpu memory\n"

TEST(a_quota_is_rounded_up)
{
    ck_assert_int_eq(QUOTA("0::/a\n", V2, "cgroup/a/cpu.max", "50000 100000\n"), 1);
    ck_assert_int_eq(QUOTA("0::/a\n", V2, "cgroup/a/cpu.max", "100000 100000\n"), 1);
    ck_assert_int_eq(QUOTA("0::/a\n", V2, "cgroup/a/cpu.max", "100001 100000\n"), 2);
    ck_assert_int_eq(QUOTA("0::/a\n", V2, "cgroup/a/cpu.max", "250000 100000\n"), 3);
}

TEST(max_is_no_limit)
{
    ck_assert_int_eq(QUOTA("0::/a\n", V2, "cgroup/a/cpu.max", "max 100000\n"), NO_LIMIT);
}

TEST(the_least_quota_on_the_way_up_counts)
{
    ck_assert_int_eq(QUOTA("0::/a/b/c\n", V2, "cgroup/a/cpu.max", "200000 100000\n",
                           "cgroup/a/b/cpu.max", "400000 100000\n", "cgroup/a/b/c/cpu.max",
                           "max 100000\n"),
                     2);
    ck_assert_int_eq(QUOTA("0::/a/b/c\n", V2, "cgroup/a/cpu.max", "800000 100000\n",
                           "cgroup/a/b/c/cpu.max", "300000 100000\n"),
                     3);
}

TEST(a_quota_of_a_sibling_does_not_count)
{
    ck_assert_int_eq(QUOTA("0::/a/b\n", V2, "cgroup/a/bb/cpu.max", "100000 100000\n",
                           "cgroup/a/b/c/cpu.max", "100000 100000\n"),
                     NO_LIMIT);
}

TEST(the_root_group_may_have_a_quota)
{
    ck_assert_int_eq(QUOTA("0::/\n", V2, "cgroup/cpu.max", "700000 100000\n"), 7);
}

/* In a container without a cgroup namespace the path is the host's and does not exist here. */
TEST(a_path_that_is_not_mounted_falls_back_to_the_mount_point)
{
    ck_assert_int_eq(QUOTA("4:cpu,cpuacct:/docker/1234\n", "cgroup/cpu,cpuacct/cpu.cfs_quota_us",
                           "150000\n", "cgroup/cpu,cpuacct/cpu.cfs_period_us", "100000\n"),
                     2);
    ck_assert_int_eq(QUOTA("0::/../../elsewhere\n", V2, "cgroup/cpu.max", "200000 100000\n",
                           "elsewhere/cpu.max", "100000 100000\n"),
                     2);
}

TEST(version_1_nested)
{
    ck_assert_int_eq(QUOTA("5:memory:/x\n3:cpu:/a/b\n", "cgroup/cpu/a/cpu.cfs_quota_us", "400000\n",
                           "cgroup/cpu/a/cpu.cfs_period_us", "200000\n",
                           "cgroup/cpu/a/b/cpu.cfs_quota_us", "-1\n",
                           "cgroup/cpu/a/b/cpu.cfs_period_us", "100000\n", "cgroup/cpu/x/cpu.max",
                           "100000 100000\n"),
                     2);
}

TEST(version_1_mounted_under_one_name_of_several)
{
    ck_assert_int_eq(QUOTA("3:cpuacct,cpu:/a\n", "cgroup/cpu/a/cpu.cfs_quota_us", "300000",
                           "cgroup/cpu/a/cpu.cfs_period_us", "100000"),
                     3);
}

TEST(cpuset_and_cpuacct_are_not_cpu)
{
    ck_assert_int_eq(QUOTA("3:cpuacct:/a\n4:cpuset:/a\n", "cgroup/cpu/a/cpu.cfs_quota_us", "100000",
                           "cgroup/cpu/a/cpu.cfs_period_us", "100000"),
                     NO_LIMIT);
}

TEST(both_versions_side_by_side_both_count)
{
    const char *membership = "1:cpu:/a\n0::/b\n";

    ck_assert_int_eq(QUOTA(membership, "cgroup/cpu/a/cpu.cfs_quota_us", "500000",
                           "cgroup/cpu/a/cpu.cfs_period_us", "100000", "cgroup/unified/b/cpu.max",
                           "400000 100000"),
                     4);
    ck_assert_int_eq(QUOTA(membership, "cgroup/cpu/a/cpu.cfs_quota_us", "300000",
                           "cgroup/cpu/a/cpu.cfs_period_us", "100000", "cgroup/unified/b/cpu.max",
                           "400000 100000"),
                     3);
}

TEST(what_is_no_number_is_no_limit, .loop_end = 9)
{
    static const char *const garbage[] = {
        "",    "\n",          "many 100000\n", "100000\n",        "100000 0\n",
        "0 1", "-5 100000\n", "100000 -1\n",   "100000 period\n",
    };

    ck_assert_int_eq(QUOTA("0::/a\n", V2, "cgroup/a/cpu.max", garbage[loop_index]), NO_LIMIT);
}

TEST(a_huge_quota_is_no_limit)
{
    ck_assert_int_eq(QUOTA("0::/a\n", V2, "cgroup/a/cpu.max", "9223372036854775807 1\n"), NO_LIMIT);
}

TEST(a_membership_that_is_garbage_is_no_limit, .loop_end = 7)
{
    static const char *const garbage[] = {"", "\n", ":", "::", "0", "0:cpu", "nonsense"};

    ck_assert_int_eq(QUOTA(garbage[loop_index], "unused", ""), NO_LIMIT);
}

TEST(missing_files_are_no_limit)
{
    ck_assert_int_eq(QUOTA("3:cpu:/a\n0::/b\n", "unused", ""), NO_LIMIT);
    ck_assert_int_eq(tine__cpu_quota("/nonexistent", "/nonexistent"), NO_LIMIT);
}

TEST(a_path_too_long_to_be_looked_up_is_no_limit)
{
    static char membership[5000] = "0::/";

    memset(membership + 4, 'x', sizeof membership - 5);
    ck_assert_int_eq(QUOTA(membership, V2, "cgroup/cpu.max", "100000 100000"), NO_LIMIT);
}

TEST(the_environment_overrides)
{
    setenv("TINE_CPU_COUNT", "12345", 1);
    ck_assert_int_eq(tine_cpu_count(), 12345);
}

TEST(an_override_that_is_no_count_is_ignored, .loop_end = 7)
{
    static const char *const garbage[] = {
        "", "0", "-3", "two", "4 cpus", "65537", "99999999999999999999"};
    int usual;

    unsetenv("TINE_CPU_COUNT");
    usual = tine_cpu_count();
    setenv("TINE_CPU_COUNT", garbage[loop_index], 1);
    ck_assert_int_eq(tine_cpu_count(), usual);
}

TEST(never_more_than_the_affinity_mask_and_never_less_than_one)
{
    cpu_set_t mask, one;
    size_t cpu = 0;

    unsetenv("TINE_CPU_COUNT");
    ck_assert_int_eq(sched_getaffinity(0, sizeof mask, &mask), 0);
    ck_assert_int_ge(tine_cpu_count(), 1);
    ck_assert_int_le(tine_cpu_count(), CPU_COUNT(&mask));
    while (!CPU_ISSET(cpu, &mask))
        cpu++;
    CPU_ZERO(&one);
    CPU_SET(cpu, &one);
    ck_assert_int_eq(sched_setaffinity(0, sizeof one, &one), 0);
    ck_assert_int_eq(tine_cpu_count(), 1);
}

SUITE("lib/cpu")
