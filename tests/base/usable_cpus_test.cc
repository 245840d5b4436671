// SPDX-License-Identifier: Apache-2.0
#include "base/usable_cpus.h"

#include <gtest/gtest.h>
#include <sched.h>

#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

namespace codegen::base {
namespace {

class FakeRootTest : public ::testing::Test {
 protected:
  void SetUp() override {
    root_ = ::testing::TempDir() + "fake-root-" +
            ::testing::UnitTest::GetInstance()->current_test_info()->name();
    std::filesystem::create_directories(root_);
  }
  void TearDown() override { std::filesystem::remove_all(root_); }

  void Write(const std::string& file, const std::string& text) {
    const std::filesystem::path path = root_ + file;
    std::filesystem::create_directories(path.parent_path());
    std::ofstream(path) << text;
  }

  std::string root_;
};

using CgroupCpusTest = FakeRootTest;

TEST_F(CgroupCpusTest, ReadsAQuotaOfVersion2) {
  Write("/pod/cpu.max", "350000 100000\n");

  EXPECT_EQ(CgroupCpus("0::/pod\n", root_), 4);
}

TEST_F(CgroupCpusTest, ReadsAQuotaOfVersion1) {
  Write("/cpu/pod/cpu.cfs_quota_us", "200000\n");
  Write("/cpu/pod/cpu.cfs_period_us", "100000\n");

  EXPECT_EQ(CgroupCpus("3:cpu,cpuacct:/pod\n4:cpuset:/other\n", root_), 2);
}

TEST_F(CgroupCpusTest, TakesTheStrictestGroupAround) {
  Write("/a/cpu.max", "200000 100000\n");
  Write("/a/b/cpu.max", "800000 100000\n");
  Write("/a/b/c/cpu.max", "max 100000\n");

  EXPECT_EQ(CgroupCpus("0::/a/b/c\n", root_), 2);
}

TEST_F(CgroupCpusTest, FallsBackToTheMountedRootInsideAContainer) {
  Write("/cpu.max", "50000 100000\n");

  EXPECT_EQ(CgroupCpus("0::/not/visible/here\n", root_), 1);
}

TEST_F(CgroupCpusTest, KnowsNoLimitWithoutQuota) {
  Write("/pod/cpu.max", "max 100000\n");
  Write("/cpu/pod/cpu.cfs_quota_us", "-1\n");
  Write("/cpu/pod/cpu.cfs_period_us", "100000\n");

  EXPECT_EQ(CgroupCpus("0::/pod\n3:cpu:/pod\n", root_), 0);
  EXPECT_EQ(CgroupCpus("", root_), 0);
  EXPECT_EQ(CgroupCpus("nonsense\n1:\n::\n", root_), 0);
}

TEST_F(CgroupCpusTest, IgnoresNonsenseInAQuota) {
  Write("/pod/cpu.max", "many few\n");
  Write("/zero/cpu.max", "0 0\n");

  EXPECT_EQ(CgroupCpus("0::/pod\n0::/zero\n", root_), 0);
}

class CpuOrderTest : public FakeRootTest {
 protected:
  void Siblings(int cpu, const std::string& list) {
    Write("/cpu" + std::to_string(cpu) + "/topology/thread_siblings_list", list + "\n");
  }
};

TEST_F(CpuOrderTest, PutsOneCpuOfEveryCoreFirst) {
  for (const int cpu : {0, 4}) Siblings(cpu, "0,4");
  for (const int cpu : {1, 5}) Siblings(cpu, "1,5");
  Siblings(2, "2");

  const CpuOrder order = OrderByCore(std::vector<int>{0, 1, 2, 4, 5}, root_);

  EXPECT_EQ(order.cpus, (std::vector<int>{0, 1, 2, 4, 5}));
  EXPECT_EQ(order.cores, 3);
}

TEST_F(CpuOrderTest, KnowsSiblingsThatFollowEachOther) {
  for (const int cpu : {0, 1}) Siblings(cpu, "0-1");
  for (const int cpu : {2, 3}) Siblings(cpu, "2-3");

  const CpuOrder order = OrderByCore(std::vector<int>{0, 1, 2, 3}, root_);

  EXPECT_EQ(order.cpus, (std::vector<int>{0, 2, 1, 3}));
  EXPECT_EQ(order.cores, 2);
}

TEST_F(CpuOrderTest, CountsACoreOfWhichTheMaskAllowsTheSecondThreadAlone) {
  for (const int cpu : {0, 1, 2, 3}) Siblings(cpu, cpu < 2 ? "0-1" : "2-3");

  const CpuOrder order = OrderByCore(std::vector<int>{1, 2, 3}, root_);

  EXPECT_EQ(order.cpus, (std::vector<int>{1, 2, 3}));
  EXPECT_EQ(order.cores, 2);
}

TEST_F(CpuOrderTest, TakesEveryCpuForACoreWithoutATopology) {
  const CpuOrder order = OrderByCore(std::vector<int>{0, 1, 7}, root_);

  EXPECT_EQ(order.cpus, (std::vector<int>{0, 1, 7}));
  EXPECT_EQ(order.cores, 3);
}

TEST(UsableCpus, FollowsTheAffinityOfTheProcess) {
  cpu_set_t before;
  ASSERT_EQ(sched_getaffinity(0, sizeof(before), &before), 0);
  cpu_set_t one;
  CPU_ZERO(&one);
  for (int cpu = 0; cpu < CPU_SETSIZE; ++cpu) {
    if (!CPU_ISSET(cpu, &before)) continue;
    CPU_SET(cpu, &one);
    break;
  }
  EXPECT_GE(UsableCores(), 1);
  EXPECT_LE(UsableCores(), CPU_COUNT(&before));
  EXPECT_EQ(static_cast<int>(UsableCpus().size()), CPU_COUNT(&before));
  ASSERT_EQ(sched_setaffinity(0, sizeof(one), &one), 0);

  EXPECT_EQ(UsableCores(), 1);
  ASSERT_EQ(UsableCpus().size(), 1U);
  EXPECT_TRUE(CPU_ISSET(static_cast<std::size_t>(UsableCpus().front()), &one));

  sched_setaffinity(0, sizeof(before), &before);
}

}  // namespace
}  // namespace codegen::base
