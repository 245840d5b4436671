// SPDX-License-Identifier: Apache-2.0
//
// Which sanitizers a test is built with, which GCC and clang say in ways of their own.
#ifndef CODEGEN_TESTS_SUPPORT_SANITIZERS_H_
#define CODEGEN_TESTS_SUPPORT_SANITIZERS_H_

#if defined(__SANITIZE_ADDRESS__)
#define CODEGEN_ASAN 1
#endif
#if defined(__SANITIZE_THREAD__)
#define CODEGEN_TSAN 1
#endif
#if defined(__has_feature)
#if __has_feature(address_sanitizer)
#define CODEGEN_ASAN 1
#endif
#if __has_feature(thread_sanitizer)
#define CODEGEN_TSAN 1
#endif
#if __has_feature(memory_sanitizer)
#define CODEGEN_MSAN 1
#endif
#endif

namespace codegen::sanitizers {

#ifdef CODEGEN_ASAN
inline constexpr bool kAddress = true;
#else
inline constexpr bool kAddress = false;
#endif

#ifdef CODEGEN_TSAN
inline constexpr bool kThread = true;
#else
inline constexpr bool kThread = false;
#endif

// Code is ten to forty times slower.
inline constexpr bool kAny = kAddress || kThread;

}  // namespace codegen::sanitizers

#endif  // CODEGEN_TESTS_SUPPORT_SANITIZERS_H_
