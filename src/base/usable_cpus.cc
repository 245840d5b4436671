// SPDX-License-Identifier: Apache-2.0
#include "base/usable_cpus.h"

#include <sched.h>

#include <algorithm>
#include <cmath>
#include <fstream>
#include <iterator>
#include <map>
#include <memory>
#include <numeric>
#include <sstream>
#include <thread>
#include <utility>

namespace codegen::base {
namespace {

constexpr std::size_t kMostCpus = std::size_t{1} << 16;

struct FreeCpus {
  void operator()(cpu_set_t* set) const { CPU_FREE(set); }
};

std::string ReadText(const std::string& path) {
  std::ifstream file(path);
  return {std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
}

// The smaller of two limits, 0 meaning none.
int Stricter(int a, int b) { return a == 0 || (b != 0 && b < a) ? b : a; }

// CPUs of "quota period", both in microseconds; 0 for "max", -1 or nonsense.
int CpusOf(const std::string& quota_and_period) {
  std::istringstream text(quota_and_period);
  double quota = 0;
  double period = 0;
  if (!(text >> quota >> period) || quota <= 0 || period <= 0) return 0;
  return std::max(1, static_cast<int>(std::min(std::ceil(quota / period), 65536.0)));
}

// One folder of a hierarchy. Version 2 has one file, version 1 two.
int LimitOf(const std::string& folder) {
  return Stricter(CpusOf(ReadText(folder + "/cpu.max")),
                  CpusOf(ReadText(folder + "/cpu.cfs_quota_us") + " " +
                         ReadText(folder + "/cpu.cfs_period_us")));
}

// A group is bound by its own limit and by those of all groups around it. In a container the path
// may not exist below the mounted root: then the root itself is the group.
int LimitOfPath(const std::string& root, std::string path) {
  int limit = LimitOf(root);
  while (!path.empty() && path != "/") {
    limit = Stricter(limit, LimitOf(root + path));
    path.resize(path.rfind('/') == std::string::npos ? 0 : path.rfind('/'));
  }
  return limit;
}

bool NamesCpu(const std::string& controllers) {
  std::istringstream text(controllers);
  for (std::string name; std::getline(text, name, ',');)
    if (name == "cpu") return true;
  return false;
}

// The CPUs of the affinity mask. The system refuses a set that is too small for its own.
std::vector<int> AffinityCpus() {
  std::vector<int> cpus;
  for (std::size_t count = CPU_SETSIZE; cpus.empty() && count <= kMostCpus; count *= 2) {
    const std::unique_ptr<cpu_set_t, FreeCpus> set(CPU_ALLOC(count));
    const std::size_t bytes = CPU_ALLOC_SIZE(count);
    if (set == nullptr || sched_getaffinity(0, bytes, set.get()) != 0) continue;
    for (std::size_t cpu = 0; cpu < count; ++cpu)
      if (CPU_ISSET_S(cpu, bytes, set.get())) cpus.push_back(static_cast<int>(cpu));
  }
  if (cpus.empty()) {
    cpus.resize(std::max(1U, std::thread::hardware_concurrency()));
    std::iota(cpus.begin(), cpus.end(), 0);
  }
  return cpus;
}

CpuOrder AffinityOrder() { return OrderByCore(AffinityCpus(), "/sys/devices/system/cpu"); }

}  // namespace

int CgroupCpus(const std::string& memberships, const std::string& root) {
  int limit = 0;
  std::istringstream lines(memberships);
  for (std::string line; std::getline(lines, line);) {  // id:controllers:path
    const std::size_t first = line.find(':');
    const std::size_t second = first == std::string::npos ? first : line.find(':', first + 1);
    if (second == std::string::npos) continue;
    const std::string controllers = line.substr(first + 1, second - first - 1);
    const std::string path = line.substr(second + 1);
    if (controllers.empty()) {
      limit = Stricter(limit, LimitOfPath(root, path));
      limit = Stricter(limit, LimitOfPath(root + "/unified", path));
    } else if (NamesCpu(controllers)) {
      limit = Stricter(limit, LimitOfPath(root + "/cpu", path));
    }
  }
  return limit;
}

CpuOrder OrderByCore(std::span<const int> cpus, const std::string& root) {
  // All CPUs of a core show the same list of siblings, which is name enough for the core.
  std::map<std::string, int> seen;
  std::vector<std::pair<int, int>> ranked;  // how many of its core came before, CPU
  for (const int cpu : cpus) {
    const std::string folder = root + "/cpu" + std::to_string(cpu);
    const std::string siblings = ReadText(folder + "/topology/thread_siblings_list");
    ranked.emplace_back(siblings.empty() ? 0 : seen[siblings]++, cpu);
  }
  std::ranges::sort(ranked);
  CpuOrder order;
  for (const auto& [rank, cpu] : ranked) {
    order.cpus.push_back(cpu);
    if (rank == 0) ++order.cores;
  }
  return order;
}

std::vector<int> UsableCpus() { return AffinityOrder().cpus; }

int UsableCores() {
  const int quota = CgroupCpus(ReadText("/proc/self/cgroup"), "/sys/fs/cgroup");
  return std::max(1, Stricter(AffinityOrder().cores, quota));
}

}  // namespace codegen::base
