// SPDX-License-Identifier: Apache-2.0
//
// A process in which memory and threads can be made to run out. Programs that link scarcity.cc have
// their operator new and their pthread_create replaced by ones that refuse when told to.
#ifndef CODEGEN_TESTS_API_SCARCITY_H_
#define CODEGEN_TESTS_API_SCARCITY_H_

namespace codegen::testing {

enum class Whose { kThisThread, kOtherThreads, kAllThreads };
enum class Lasting { kOnce, kFromThenOn };

// While it lives, the k-th allocation (from 1), or it and all that follow, throw std::bad_alloc.
class NoMemoryAt {
 public:
  NoMemoryAt(int k, Whose whose, Lasting lasting);
  ~NoMemoryAt();
  NoMemoryAt(const NoMemoryAt&) = delete;
  NoMemoryAt& operator=(const NoMemoryAt&) = delete;

  bool reached() const;  // whether an allocation was refused
};

// The same for threads. Without effect in builds of which CountsThreads() is false: sanitizers have
// a pthread_create of their own.
class NoThreadAt {
 public:
  explicit NoThreadAt(int k);
  ~NoThreadAt();
  NoThreadAt(const NoThreadAt&) = delete;
  NoThreadAt& operator=(const NoThreadAt&) = delete;

  bool reached() const;
};
bool CountsThreads();

}  // namespace codegen::testing

#endif  // CODEGEN_TESTS_API_SCARCITY_H_
