// SPDX-License-Identifier: Apache-2.0
#include "base/aligned_buffer.h"

#include <absl/status/status.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdint>
#include <limits>
#include <string>
#include <utility>
#include <vector>

namespace codegen::base {
namespace {

constexpr std::int64_t kSizes[] = {1, 63, 64, 4096, (2 << 20) - 1, 2 << 20, (5 << 20) + 3};

TEST(AlignedBuffer, IsZeroedAndAligned) {
  for (const std::int64_t bytes : kSizes) {
    auto buffer = AlignedBuffer::Make(bytes);
    ASSERT_TRUE(buffer.ok()) << buffer.status();
    EXPECT_EQ(buffer->size(), bytes);
    EXPECT_EQ(reinterpret_cast<std::uintptr_t>(buffer->data()) % AlignedBuffer::kAlignment, 0U);
    EXPECT_TRUE(std::all_of(buffer->data(), buffer->data() + bytes,
                            [](std::byte byte) { return byte == std::byte{0}; }));
    buffer->data()[bytes - 1] = std::byte{1};
  }
}

TEST(AlignedBuffer, MovesItsMemory) {
  for (const std::int64_t bytes : kSizes) {
    AlignedBuffer first = *AlignedBuffer::Make(bytes);
    const std::byte* data = first.data();

    AlignedBuffer second = std::move(first);
    first = AlignedBuffer();

    EXPECT_EQ(second.data(), data);
    EXPECT_EQ(second.size(), bytes);
  }
}

TEST(AlignedBuffer, HoldsNothingForZeroBytes) {
  const AlignedBuffer buffer = *AlignedBuffer::Make(0);

  EXPECT_EQ(buffer.size(), 0);
  EXPECT_TRUE(buffer.as<float>().empty());
}

TEST(AlignedBuffer, RefusesWhatTheSystemCannotGive) {
  for (const std::int64_t bytes :
       {std::int64_t{-1}, std::int64_t{1} << 60, std::numeric_limits<std::int64_t>::max()}) {
    const auto buffer = AlignedBuffer::Make(bytes);
    EXPECT_TRUE(absl::IsResourceExhausted(buffer.status())) << buffer.status();
    EXPECT_NE(buffer.status().message().find(std::to_string(bytes)), std::string::npos)
        << buffer.status();
  }
}

TEST(AlignedArena, MakesBuffersThatAreZeroedAlignedAndApart) {
  AlignedArena arena;
  std::vector<AlignedBuffer> buffers;
  for (int round = 0; round < 3; ++round) {
    for (const std::int64_t bytes : {std::int64_t{0}, std::int64_t{1}, std::int64_t{100'003},
                                     std::int64_t{5'000'001}, std::int64_t{30} << 20}) {
      AlignedBuffer buffer = *arena.Make(bytes);
      EXPECT_EQ(buffer.size(), bytes);
      EXPECT_EQ(reinterpret_cast<std::uintptr_t>(buffer.data()) % AlignedBuffer::kAlignment, 0U);
      EXPECT_EQ(std::count(buffer.data(), buffer.data() + bytes, std::byte{0}), bytes);
      std::fill_n(buffer.data(), bytes, std::byte{1});
      buffers.push_back(std::move(buffer));
    }
  }
}

TEST(AlignedArena, PutsBuffersEndToEnd) {
  AlignedArena arena;

  const AlignedBuffer first = *arena.Make(1 << 20);
  const AlignedBuffer second = *arena.Make(1 << 20);

  EXPECT_EQ(second.data(), first.data() + (1 << 20));
}

TEST(AlignedArena, HoldsMoreThanOneMapping) {
  constexpr std::int64_t kLarge = std::int64_t{100} << 20;
  AlignedArena arena;

  AlignedBuffer first = *arena.Make(kLarge);
  AlignedBuffer second = *arena.Make(kLarge);

  first.data()[kLarge - 1] = std::byte{1};
  second.data()[kLarge - 1] = std::byte{2};
  EXPECT_EQ(first.data()[kLarge - 1], std::byte{1});
}

TEST(AlignedArena, LeavesItsBuffersBehind) {
  AlignedBuffer buffer;
  {
    AlignedArena arena;
    buffer = *arena.Make(1 << 20);
  }

  buffer.data()[(1 << 20) - 1] = std::byte{1};
  EXPECT_EQ(buffer.data()[0], std::byte{0});
}

TEST(AlignedArena, RefusesWhatTheSystemCannotGive) {
  AlignedArena arena;
  for (const std::int64_t bytes :
       {std::int64_t{-1}, std::int64_t{1} << 60, std::numeric_limits<std::int64_t>::max()}) {
    const auto buffer = arena.Make(bytes);
    EXPECT_TRUE(absl::IsResourceExhausted(buffer.status())) << buffer.status();
    EXPECT_NE(buffer.status().message().find(std::to_string(bytes)), std::string::npos);
  }
  EXPECT_TRUE(arena.Make(1 << 20).ok());
}

}  // namespace
}  // namespace codegen::base
