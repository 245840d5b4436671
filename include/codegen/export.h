// SPDX-License-Identifier: Apache-2.0
//
// CODEGEN_EXPORT marks what a shared build of the library shows; everything else is hidden.
#ifndef CODEGEN_EXPORT_H_
#define CODEGEN_EXPORT_H_

#if defined(_WIN32) && defined(CODEGEN_SHARED)
#if defined(CODEGEN_BUILDING)
#define CODEGEN_EXPORT __declspec(dllexport)
#else
#define CODEGEN_EXPORT __declspec(dllimport)
#endif
#elif defined(__GNUC__)
#define CODEGEN_EXPORT __attribute__((visibility("default")))
#else
#define CODEGEN_EXPORT
#endif

#endif  // CODEGEN_EXPORT_H_
