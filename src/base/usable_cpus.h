// SPDX-License-Identifier: Apache-2.0
//
// How many CPUs this process may keep busy: what its affinity mask allows, limited by the quotas of
// its cgroups (version 1 and 2), as in a container. More threads than that only wait for each
// other.
#ifndef CODEGEN_BASE_USABLE_CPUS_H_
#define CODEGEN_BASE_USABLE_CPUS_H_

#include <string>

namespace codegen::base {

// At least 1.
int UsableCpus();

// CPUs that the cgroups of a process grant, rounded up; 0 if none sets a limit. `memberships` is
// the text of /proc/self/cgroup, `root` stands for /sys/fs/cgroup.
int CgroupCpus(const std::string& memberships, const std::string& root);

}  // namespace codegen::base

#endif  // CODEGEN_BASE_USABLE_CPUS_H_
