// SPDX-License-Identifier: Apache-2.0
//
// Which CPUs this process may keep busy: those that its affinity mask allows, as many as the quotas
// of its cgroups (version 1 and 2) grant, as in a container. More threads than that only wait for
// each other; and so, nearly, do two threads of one core, which share its vector units: siblings
// count once.
#ifndef CODEGEN_BASE_USABLE_CPUS_H_
#define CODEGEN_BASE_USABLE_CPUS_H_

#include <span>
#include <string>
#include <vector>

namespace codegen::base {

// Physical cores that the process may keep busy. At least 1.
int UsableCores();

// The CPUs that the affinity mask allows, in the order of CpuOrder; never empty.
std::vector<int> UsableCpus();

// CPUs by number: the first of every core, then the second of every core that has one, ...
struct CpuOrder {
  std::vector<int> cpus = {};
  int cores = 0;
};

// Orders `cpus` by the topology below `root`, which stands for /sys/devices/system/cpu; a CPU that
// it says nothing of is a core.
CpuOrder OrderByCore(std::span<const int> cpus, const std::string& root);

// CPUs that the cgroups of a process grant, rounded up; 0 if none sets a limit. `memberships` is
// the text of /proc/self/cgroup, `root` stands for /sys/fs/cgroup.
int CgroupCpus(const std::string& memberships, const std::string& root);

}  // namespace codegen::base

#endif  // CODEGEN_BASE_USABLE_CPUS_H_
