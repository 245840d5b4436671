// SPDX-License-Identifier: Apache-2.0
#include "base/usable_cpus.h"

#include <sched.h>

#include <algorithm>
#include <cmath>
#include <fstream>
#include <iterator>
#include <sstream>
#include <thread>

namespace codegen::base {
namespace {

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

int AffinityCpus() {
  cpu_set_t cpus;
  CPU_ZERO(&cpus);
  if (sched_getaffinity(0, sizeof(cpus), &cpus) == 0) return CPU_COUNT(&cpus);
  return static_cast<int>(std::thread::hardware_concurrency());  // more CPUs than cpu_set_t holds
}

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

int UsableCpus() {
  return std::max(
      1, Stricter(AffinityCpus(), CgroupCpus(ReadText("/proc/self/cgroup"), "/sys/fs/cgroup")));
}

}  // namespace codegen::base
