// SPDX-License-Identifier: Apache-2.0
//
// What the emulator tells the sanitizers; without them every function here is empty.
//
// The thread sanitizer takes each emulated thread for a thread (its fiber interface, switching
// "without synchronisation"), so that barriers are the only order it knows between them: it becomes
// a race detector for shared and global memory. For this the emulator's own loads and stores must
// not count, nor may they order anything: they happen inside an Unobserved scope. The address
// sanitizer has to know which stack is in use, and the memory sanitizer which bytes of a fresh
// shared array nobody wrote.
#ifndef CODEGEN_TESTS_SUPPORT_SIMT_SANITIZERS_H_
#define CODEGEN_TESTS_SUPPORT_SIMT_SANITIZERS_H_

#include <cstddef>

#include "support/sanitizers.h"

#ifdef CODEGEN_ASAN
#include <pthread.h>
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
#endif
#ifdef CODEGEN_TSAN
#include <sanitizer/tsan_interface.h>
extern "C" {
void AnnotateIgnoreReadsBegin(const char* file, int line);
void AnnotateIgnoreReadsEnd(const char* file, int line);
void AnnotateIgnoreWritesBegin(const char* file, int line);
void AnnotateIgnoreWritesEnd(const char* file, int line);
}
#endif
#ifdef CODEGEN_MSAN
#include <sanitizer/msan_interface.h>
#endif

namespace codegen::simt {

inline void StopObserving() {
#ifdef CODEGEN_TSAN
  AnnotateIgnoreReadsBegin("", 0);
  AnnotateIgnoreWritesBegin("", 0);
#endif
}

inline void GoOnObserving() {
#ifdef CODEGEN_TSAN
  AnnotateIgnoreWritesEnd("", 0);
  AnnotateIgnoreReadsEnd("", 0);
#endif
}

// While it lives, the running fiber works for the emulator: its memory accesses are nobody's.
class [[nodiscard]] Unobserved {
 public:
  Unobserved() { StopObserving(); }
  ~Unobserved() { GoOnObserving(); }
  Unobserved(const Unobserved&) = delete;
  Unobserved& operator=(const Unobserved&) = delete;
};

// The kernel inside the emulator: undoes one Unobserved for a while.
class [[nodiscard]] Observed {
 public:
  Observed() { GoOnObserving(); }
  ~Observed() { StopObserving(); }
  Observed(const Observed&) = delete;
  Observed& operator=(const Observed&) = delete;
};

// What the caller did so far happens before what anyone does after a later Acquire of this edge.
inline void Release([[maybe_unused]] void* edge) {
#ifdef CODEGEN_TSAN
  __tsan_release(edge);
#endif
}

inline void Acquire([[maybe_unused]] void* edge) {
#ifdef CODEGEN_TSAN
  __tsan_acquire(edge);
#endif
}

// Reading these bytes before writing them is a mistake.
inline void MarkUninitialized([[maybe_unused]] void* begin, [[maybe_unused]] std::size_t bytes) {
#ifdef CODEGEN_MSAN
  __msan_allocated_memory(begin, bytes);
#endif
}

// What the sanitizers keep of one stack.
struct StackRecord {
  const void* bottom = nullptr;
  std::size_t bytes = 0;
  void* fake_stack = nullptr;  // of the address sanitizer, while the stack is suspended
  void* fiber = nullptr;       // of the thread sanitizer
};

// The stack that the calling thread runs on.
inline StackRecord RecordOwnStack() {
  StackRecord record;
#ifdef CODEGEN_ASAN
  pthread_attr_t attributes;
  void* bottom = nullptr;
  if (pthread_getattr_np(pthread_self(), &attributes) == 0) {
    pthread_attr_getstack(&attributes, &bottom, &record.bytes);
    pthread_attr_destroy(&attributes);
  }
  record.bottom = bottom;
#endif
#ifdef CODEGEN_TSAN
  record.fiber = __tsan_get_current_fiber();
#endif
  return record;
}

// A stack made for a fiber, in memory that may have been one before.
inline StackRecord RecordNewStack(void* bottom, std::size_t bytes) {
  StackRecord record{.bottom = bottom, .bytes = bytes};
#ifdef CODEGEN_ASAN
  __asan_unpoison_memory_region(bottom, bytes);
#endif
#ifdef CODEGEN_MSAN
  __msan_unpoison(bottom, bytes);
#endif
#ifdef CODEGEN_TSAN
  record.fiber = __tsan_create_fiber(0);
#endif
  return record;
}

inline void ForgetNewStack([[maybe_unused]] const StackRecord& record) {
#ifdef CODEGEN_TSAN
  __tsan_destroy_fiber(record.fiber);
#endif
}

// Both are part of the function that switches: the thread sanitizer keeps a call stack per fiber,
// and a call that begins on one and returns on another would unbalance it.
[[gnu::always_inline]] inline void LeaveStack([[maybe_unused]] StackRecord& from,
                                              [[maybe_unused]] const StackRecord& to) {
#ifdef CODEGEN_ASAN
  __sanitizer_start_switch_fiber(&from.fake_stack, to.bottom, to.bytes);
#endif
#ifdef CODEGEN_TSAN
  __tsan_switch_to_fiber(to.fiber, __tsan_switch_to_fiber_no_sync);
#endif
}

[[gnu::always_inline]] inline void ArriveOnStack([[maybe_unused]] const StackRecord& here) {
#ifdef CODEGEN_ASAN
  __sanitizer_finish_switch_fiber(here.fake_stack, nullptr, nullptr);
#endif
}

}  // namespace codegen::simt

#endif  // CODEGEN_TESTS_SUPPORT_SIMT_SANITIZERS_H_
