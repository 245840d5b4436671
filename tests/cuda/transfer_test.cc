// SPDX-License-Identifier: Apache-2.0
#include "cuda/transfer.h"

#include <cuda_runtime_api.h>
#include <gtest/gtest.h>

#include <atomic>
#include <bit>
#include <cstdint>
#include <cstring>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "base/thread_pool.h"
#include "support/simt/runtime/control.h"
#include "support/status_is.h"

namespace codegen::cuda {
namespace {

using testing::IsOk;
using testing::StatusIs;

constexpr std::int64_t kPiece = std::int64_t{4} << 20;  // of transfer.cc

constexpr simt::Pace kEveryPace[] = {simt::Pace::kLazy, simt::Pace::kRandom, simt::Pace::kEager};

// An element that tells where it stands: finite, and hardly ever like its neighbours.
float ElementAt(std::int64_t row, std::int64_t column) {
  const auto mixed = static_cast<std::uint32_t>(row * 2654435761 + column * 40503) * 2246822519U;
  return static_cast<float>(mixed >> 8) * 0x1p-23F - 1;
}

// Counts how often each row is read, and fails at some rows if told to.
class CountedSource {
 public:
  CountedSource(std::int64_t rows, std::int64_t columns)
      : columns_(columns), reads_(static_cast<std::size_t>(rows)) {}

  void FailAt(std::vector<std::int64_t> rows) { failing_ = std::move(rows); }

  backend::MatrixSource Floats() {
    return {.rows = static_cast<std::int64_t>(reads_.size()),
            .columns = columns_,
            .read = Reader<float>([](float value) { return value; })};
  }

  // Where floats are asked for, an error.
  backend::MatrixSource Bits(WeightFormat stored) {
    backend::MatrixSource source = Floats();
    source.read = [](std::int64_t, std::int64_t, std::span<float>) {
      return absl::InternalError("read as floats");
    };
    source.read_stored = Reader<std::uint16_t>([](float value) { return BitsOf(value); });
    source.stored = stored;
    return source;
  }

  // What Bits() stores for a number: not what any rounding would make of it.
  static std::uint16_t BitsOf(float value) {
    return static_cast<std::uint16_t>(std::bit_cast<std::uint32_t>(value) >> 3);
  }

  void ExpectEveryRowReadOnce() const {
    for (const std::atomic<int>& reads : reads_) ASSERT_EQ(reads, 1);
  }

 private:
  template <class T, class Convert>
  backend::ReadRows<T> Reader(const Convert& convert) {
    return [this, convert](std::int64_t first, std::int64_t count, std::span<T> out) {
      EXPECT_EQ(static_cast<std::int64_t>(out.size()), count * columns_);
      for (std::int64_t row = first; row < first + count; ++row) {
        ++reads_[static_cast<std::size_t>(row)];
        for (const std::int64_t failing : failing_)
          if (row == failing) return absl::DataLossError("row " + std::to_string(row));
        T* const to = out.data() + (row - first) * columns_;
        for (std::int64_t i = 0; i < columns_; ++i) to[i] = convert(ElementAt(row, i));
      }
      return absl::OkStatus();
    };
  }

  std::int64_t columns_;
  std::vector<std::atomic<int>> reads_;
  std::vector<std::int64_t> failing_;
};

class TransferTest : public ::testing::Test {
 protected:
  struct Matrix {
    DeviceBuffer elements;
    DeviceBuffer scales;
  };

  void SetUp() override { StartAnew(); }
  void TearDown() override {
    EXPECT_EQ(simt::Count().pageable_copies, 0);
    transfer_.reset();
    EXPECT_EQ(budget_.free_bytes(), budget_.bytes());
    EXPECT_EQ(simt::Count().live_allocations, 0);
    EXPECT_EQ(simt::Count().live_streams, 0);
    EXPECT_EQ(simt::Count().live_events, 0);
    simt::Reset();
  }

  void StartAnew(const simt::Settings& settings = {}) {
    transfer_.reset();
    simt::Reset(settings);
    absl::StatusOr<Transfer> transfer = Transfer::Create(*pool_);
    ASSERT_THAT(transfer, IsOk());
    transfer_.emplace(*std::move(transfer));
  }

  DeviceBuffer Buffer(std::int64_t bytes) {
    absl::StatusOr<DeviceBuffer> buffer = DeviceBuffer::Create(budget_, bytes);
    EXPECT_THAT(buffer, IsOk());
    return *std::move(buffer);
  }

  Matrix MemoryFor(const RowLayout& layout, std::int64_t rows) {
    return {Buffer(rows * layout.elements), Buffer(rows * layout.scales)};
  }

  // Every row is as PackRow packs it, but for what fills it up.
  static void ExpectRows(const RowLayout& layout, const Matrix& matrix, std::int64_t used_bytes) {
    const std::int64_t rows = matrix.elements.bytes() / layout.elements;
    std::vector<float> row(static_cast<std::size_t>(layout.columns));
    std::vector<std::byte> elements(static_cast<std::size_t>(layout.elements));
    std::vector<std::byte> scales(static_cast<std::size_t>(layout.scales));
    for (std::int64_t r = 0; r < rows; ++r) {
      for (std::int64_t i = 0; i < layout.columns; ++i)
        row[static_cast<std::size_t>(i)] = ElementAt(r, i);
      PackRow(layout, row, elements.data(), scales.data());
      ASSERT_EQ(std::memcmp(matrix.elements.data() + r * layout.elements, elements.data(),
                            static_cast<std::size_t>(used_bytes)),
                0)
          << "row " << r;
      if (scales.empty()) continue;
      ASSERT_EQ(std::memcmp(matrix.scales.data() + r * layout.scales, scales.data(), scales.size()),
                0)
          << "row " << r;
    }
  }

  // Sends a matrix and finds it there.
  void ExpectArrives(const RowLayout& layout, std::int64_t rows, std::int64_t used_bytes) {
    SCOPED_TRACE(WeightFormatName(layout.format));
    CountedSource source(rows, layout.columns);
    const Matrix matrix = MemoryFor(layout, rows);
    ASSERT_THAT(transfer_->SendRows(source.Floats(), layout, matrix.elements, matrix.scales),
                IsOk());
    source.ExpectEveryRowReadOnce();
    ExpectRows(layout, matrix, used_bytes);
  }

  std::unique_ptr<base::ThreadPool> pool_ = *base::ThreadPool::Create(2);
  MemoryBudget budget_{std::int64_t{256} << 20};
  std::optional<Transfer> transfer_;
};

// --- Rows ---------------------------------------------------------------------------------------

TEST_F(TransferTest, SendsMatricesOfEveryFormat) {
  for (const std::int64_t rows : {1, 15, 16, 17, 100}) {
    ExpectArrives(WeightLayout(WeightFormat::kF32, 24), rows, 96);
    ExpectArrives(WeightLayout(WeightFormat::kBf16, 24), rows, 48);
    ExpectArrives(WeightLayout(WeightFormat::kF16, 24), rows, 48);
    ExpectArrives(WeightLayout(WeightFormat::kInt8, 24), rows, 24);
    ExpectArrives(WeightLayout(WeightFormat::kInt4, 136), rows, 68);
  }
}

// The scales of a piece begin behind its elements, wherever that is.
TEST_F(TransferTest, SendsEmbeddingsOfAnyWidth) {
  for (const std::int64_t columns : {1, 7, 33}) {
    ExpectArrives(EmbeddingLayout(WeightFormat::kF32, columns), 37, 4 * columns);
    ExpectArrives(EmbeddingLayout(WeightFormat::kBf16, columns), 37, 2 * columns);
    ExpectArrives(EmbeddingLayout(WeightFormat::kInt8, columns), 37, columns);
  }
}

// Of four pieces the third and fourth are laid out where the first two were, which must be gone by
// then.
TEST_F(TransferTest, SendsMoreThanItsPiecesHoldWhateverThePace) {
  for (const simt::Pace pace : kEveryPace) {
    SCOPED_TRACE(static_cast<int>(pace));
    StartAnew({.pace = pace});
    const RowLayout floats = WeightLayout(WeightFormat::kF32, 96);
    ExpectArrives(floats, 3 * kPiece / floats.elements + 5, 384);
    const RowLayout codes = WeightLayout(WeightFormat::kInt8, 8);
    ExpectArrives(codes, 3 * kPiece / (codes.elements + codes.scales) + 5, 8);
  }
}

// Where nothing runs that nobody waits for, the first piece has not arrived yet.
TEST_F(TransferTest, LaysOutAPieceWhileAnotherIsOnItsWay) {
  StartAnew({.pace = simt::Pace::kLazy});
  const RowLayout layout = WeightLayout(WeightFormat::kF32, 96);
  const std::int64_t rows_of_piece = kPiece / layout.elements;
  const Matrix matrix = MemoryFor(layout, rows_of_piece + 1);
  CountedSource source(rows_of_piece + 1, 96);
  backend::MatrixSource watched = source.Floats();
  std::byte first_byte{0};
  watched.read = [&, read = watched.read](std::int64_t first, std::int64_t count,
                                          std::span<float> out) {
    if (first == rows_of_piece) first_byte = *matrix.elements.data();
    return read(first, count, out);
  };

  ASSERT_THAT(transfer_->SendRows(watched, layout, matrix.elements, matrix.scales), IsOk());

  EXPECT_EQ(first_byte, std::byte{0xFF}) << "the poison of new memory";
  ExpectRows(layout, matrix, 384);
}

TEST_F(TransferTest, SendsOneMatrixAfterTheOtherWhateverThePace) {
  for (const simt::Pace pace : kEveryPace) {
    StartAnew({.pace = pace});
    for (const std::int64_t rows : {40, 1, 23}) {
      ExpectArrives(WeightLayout(WeightFormat::kInt4, 136), rows, 68);
      ExpectArrives(EmbeddingLayout(WeightFormat::kBf16, 5), rows, 10);
    }
  }
}

TEST_F(TransferTest, SendsRowsThatAreLargerThanAPiece) {
  for (const simt::Pace pace : kEveryPace) {
    StartAnew({.pace = pace});
    const std::int64_t columns = kPiece / 4 + 8;
    ExpectArrives(WeightLayout(WeightFormat::kF32, columns), 3, 4 * columns);
    ExpectArrives(WeightLayout(WeightFormat::kBf16, 24), 100, 48);
  }
}

TEST_F(TransferTest, SendsNoRows) {
  const RowLayout layout = WeightLayout(WeightFormat::kInt8, 8);

  EXPECT_THAT(transfer_->SendRows(CountedSource(0, 8).Floats(), layout, {}, {}), IsOk());

  EXPECT_EQ(simt::Count().copies, 0);
}

// --- Stored bits --------------------------------------------------------------------------------

TEST_F(TransferTest, TakesStoredBitsOfItsFormatAsTheyAre) {
  for (const WeightFormat format : {WeightFormat::kBf16, WeightFormat::kF16}) {
    for (const RowLayout& layout : {WeightLayout(format, 24), EmbeddingLayout(format, 7)}) {
      CountedSource source(100, layout.columns);
      const Matrix matrix = MemoryFor(layout, 100);

      ASSERT_THAT(transfer_->SendRows(source.Bits(format), layout, matrix.elements, matrix.scales),
                  IsOk());

      source.ExpectEveryRowReadOnce();
      const auto* const bits = matrix.elements.as<std::uint16_t>();
      for (std::int64_t i = 0; i < 100 * layout.columns; ++i)
        ASSERT_EQ(bits[i], CountedSource::BitsOf(ElementAt(i / layout.columns, i % layout.columns)))
            << i;
    }
  }
}

TEST_F(TransferTest, ReadsFloatsWhereTheBitsAreOfAnotherFormat) {
  for (const WeightFormat format :
       {WeightFormat::kF32, WeightFormat::kF16, WeightFormat::kInt8, WeightFormat::kInt4}) {
    const RowLayout layout = WeightLayout(format, 24);
    const Matrix matrix = MemoryFor(layout, 3);

    EXPECT_THAT(transfer_->SendRows(CountedSource(3, 24).Bits(WeightFormat::kBf16), layout,
                                    matrix.elements, matrix.scales),
                StatusIs(absl::StatusCode::kInternal, "read as floats"));
  }
}

TEST_F(TransferTest, ReadsFloatsWhereRowsAreFilledUp) {
  const RowLayout layout = WeightLayout(WeightFormat::kBf16, 9);
  const Matrix matrix = MemoryFor(layout, 3);

  EXPECT_THAT(transfer_->SendRows(CountedSource(3, 9).Bits(WeightFormat::kBf16), layout,
                                  matrix.elements, matrix.scales),
              StatusIs(absl::StatusCode::kInternal, "read as floats"));
}

// --- Failures -----------------------------------------------------------------------------------

TEST_F(TransferTest, ReturnsTheFailureOfTheFirstRow) {
  const RowLayout layout = WeightLayout(WeightFormat::kInt8, 24);
  const Matrix matrix = MemoryFor(layout, 200);
  for (int round = 0; round < 20; ++round) {
    CountedSource source(200, 24);
    source.FailAt({150, 70, 71, 199});

    EXPECT_THAT(transfer_->SendRows(source.Floats(), layout, matrix.elements, matrix.scales),
                StatusIs(absl::StatusCode::kDataLoss, "row 70"));
  }
}

TEST_F(TransferTest, ReturnsTheFailureOfStoredBits) {
  const RowLayout layout = WeightLayout(WeightFormat::kBf16, 24);
  const Matrix matrix = MemoryFor(layout, 200);
  CountedSource source(200, 24);
  source.FailAt({150, 70});

  EXPECT_THAT(
      transfer_->SendRows(source.Bits(WeightFormat::kBf16), layout, matrix.elements, matrix.scales),
      StatusIs(absl::StatusCode::kDataLoss, "row 70"));
}

// While a piece may still be on its way, the next fails; what is sent then is right.
TEST_F(TransferTest, ServesTheNextAfterAFailureWhateverThePace) {
  const RowLayout layout = WeightLayout(WeightFormat::kF32, 96);
  const std::int64_t rows = 2 * kPiece / layout.elements;
  for (const simt::Pace pace : kEveryPace) {
    StartAnew({.pace = pace});
    CountedSource source(rows, 96);
    source.FailAt({rows - 1});
    const Matrix matrix = MemoryFor(layout, rows);
    ASSERT_THAT(transfer_->SendRows(source.Floats(), layout, matrix.elements, matrix.scales),
                StatusIs(absl::StatusCode::kDataLoss));

    ExpectArrives(layout, 50, 384);
    const std::vector<std::byte> bytes(100, std::byte{7});
    const DeviceBuffer to = Buffer(100);
    ASSERT_THAT(transfer_->Send(bytes, to), IsOk());
    EXPECT_EQ(std::memcmp(to.data(), bytes.data(), bytes.size()), 0);
  }
}

// Whichever call of CUDA fails, sending says so, and what is sent next arrives.
TEST_F(TransferTest, SurvivesTheFailureOfAnyCall) {
  const RowLayout layout = WeightLayout(WeightFormat::kInt8, 8);
  const std::int64_t rows = kPiece / (layout.elements + layout.scales) + 1;
  const Matrix matrix = MemoryFor(layout, rows);
  CountedSource source(rows, 8);
  int failures = 0;
  for (;; ++failures) {
    simt::Inject({.nth = failures + 1, .error = cudaErrorInvalidConfiguration});
    const absl::Status status =
        transfer_->SendRows(source.Floats(), layout, matrix.elements, matrix.scales);
    if (simt::HasPendingFaults()) {
      EXPECT_THAT(status, IsOk());
      break;
    }
    EXPECT_THAT(status, StatusIs(absl::StatusCode::kInternal, "cudaErrorInvalidConfiguration"));
    EXPECT_EQ(cudaGetLastError(), cudaSuccess);
  }

  EXPECT_EQ(failures, 2 * 4 + 1) << "of each piece a wait, two copies, a record; the last wait";
  ExpectRows(layout, matrix, 8);
}

TEST_F(TransferTest, ReportsACopyThatFails) {
  const RowLayout layout = WeightLayout(WeightFormat::kF32, 8);
  const Matrix matrix = MemoryFor(layout, 2);
  std::vector<std::byte> bytes(64);
  const auto fail = [] { simt::Inject({.call = simt::Call::kCopy, .error = cudaErrorUnknown}); };

  fail();
  EXPECT_THAT(
      transfer_->SendRows(CountedSource(2, 8).Floats(), layout, matrix.elements, matrix.scales),
      StatusIs(absl::StatusCode::kInternal, "copying to the GPU"));
  fail();
  EXPECT_THAT(transfer_->Send(bytes, matrix.elements),
              StatusIs(absl::StatusCode::kInternal, "copying to the GPU"));
  fail();
  EXPECT_THAT(transfer_->Receive(matrix.elements, bytes),
              StatusIs(absl::StatusCode::kInternal, "copying from the GPU"));
}

TEST_F(TransferTest, ReportsADeviceThatIsLost) {
  const RowLayout layout = WeightLayout(WeightFormat::kF32, 8);
  const Matrix matrix = MemoryFor(layout, 2);
  simt::Inject({.call = simt::Call::kSynchronize,
                .nth = 2,
                .error = cudaErrorIllegalAddress,
                .lasting = simt::Lasting::kSticky});

  EXPECT_THAT(
      transfer_->SendRows(CountedSource(2, 8).Floats(), layout, matrix.elements, matrix.scales),
      StatusIs(absl::StatusCode::kUnavailable));
}

TEST(Transfer, IsRefusedWithoutLeaks) {
  const std::unique_ptr<base::ThreadPool> pool = *base::ThreadPool::Create(1);
  simt::Reset();
  int failures = 0;
  for (;; ++failures) {
    simt::Inject({.nth = failures + 1, .error = cudaErrorMemoryAllocation});
    const bool ok = Transfer::Create(*pool).ok();
    EXPECT_EQ(simt::Count().live_allocations, 0);
    EXPECT_EQ(simt::Count().live_streams, 0);
    EXPECT_EQ(simt::Count().live_events, 0);
    EXPECT_EQ(ok, simt::HasPendingFaults());
    if (ok) break;
  }

  EXPECT_EQ(failures, 5) << "a stream, two pieces, two events";
  simt::Reset();
}

// --- Bytes --------------------------------------------------------------------------------------

TEST_F(TransferTest, BringsBytesThereAndBackWhateverThePace) {
  for (const simt::Pace pace : kEveryPace) {
    StartAnew({.pace = pace});
    for (const std::int64_t count : {std::int64_t{1}, kPiece, 2 * kPiece + 12345}) {
      std::vector<std::byte> sent(static_cast<std::size_t>(count));
      for (std::int64_t i = 0; i < count; ++i)
        sent[static_cast<std::size_t>(i)] =
            static_cast<std::byte>(static_cast<int>(ElementAt(i, 0) * 128));
      std::vector<std::byte> received(sent.size());
      const DeviceBuffer buffer = Buffer(count);

      ASSERT_THAT(transfer_->Send(sent, buffer), IsOk());
      EXPECT_EQ(std::memcmp(buffer.data(), sent.data(), sent.size()), 0);
      ASSERT_THAT(transfer_->Receive(buffer, received), IsOk());

      EXPECT_EQ(received, sent);
      EXPECT_EQ(simt::Count().pageable_copies, 0);
    }
  }
}

TEST_F(TransferTest, BringsTheBeginningOfABuffer) {
  const DeviceBuffer buffer = Buffer(16);
  std::memset(buffer.data(), 1, 16);
  std::vector<std::byte> received(5);

  ASSERT_THAT(transfer_->Send(std::vector(3, std::byte{2}), buffer), IsOk());
  ASSERT_THAT(transfer_->Receive(buffer, received), IsOk());

  EXPECT_EQ(received,
            (std::vector{std::byte{2}, std::byte{2}, std::byte{2}, std::byte{1}, std::byte{1}}));
  EXPECT_EQ(buffer.data()[15], std::byte{1});
}

TEST_F(TransferTest, BringsNothingForNoBytes) {
  EXPECT_THAT(transfer_->Send({}, {}), IsOk());
  EXPECT_THAT(transfer_->Receive({}, {}), IsOk());

  EXPECT_EQ(simt::Count().copies, 0);
}

}  // namespace
}  // namespace codegen::cuda
