// SPDX-License-Identifier: Apache-2.0
//
// The shared memory of one block: each array an allocation of its own, exactly as large as asked
// for, so that the address sanitizer knows its ends. Without that sanitizer each array has a guard
// behind it, and writing there is found when the block ends.
#ifndef CODEGEN_TESTS_SUPPORT_SIMT_SHARED_MEMORY_H_
#define CODEGEN_TESTS_SUPPORT_SIMT_SHARED_MEMORY_H_

#include <cstddef>
#include <memory>
#include <vector>

namespace codegen::simt {

class SharedMemory {
 public:
  static constexpr std::size_t kAlignment = 128;  // of the dynamic array, as cuda/device/thread.cuh

  SharedMemory(std::size_t dynamic_bytes, unsigned char poison);

  void* dynamic() const { return areas_.front().memory.get(); }
  std::size_t static_bytes() const { return static_bytes_; }

  // The array that `key` stands for, made and filled with poison by the first call.
  void* Static(const void* key, std::size_t bytes);

  // Whether all of [data, data + bytes) lies in one array.
  bool Contains(const void* data, std::size_t bytes) const;

  // Whether nobody wrote behind an array.
  bool Intact() const;

 private:
  struct Free {
    void operator()(std::byte* memory) const;
  };
  struct Area {
    const void* key;
    std::size_t bytes;
    std::unique_ptr<std::byte, Free> memory;  // bytes, and the guard
  };

  void* Add(const void* key, std::size_t bytes);

  unsigned char poison_;
  std::size_t static_bytes_ = 0;
  std::vector<Area> areas_;  // the first is the dynamic one
};

}  // namespace codegen::simt

#endif  // CODEGEN_TESTS_SUPPORT_SIMT_SHARED_MEMORY_H_
