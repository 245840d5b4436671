// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <cstddef>
#include <filesystem>
#include <limits>
#include <span>
#include <string>
#include <thread>
#include <vector>

#include "checkpoint/checkpoint.h"
#include "support/checkpoint_writer.h"
#include "support/status_is.h"
#include "support/temp_folder.h"
#include "tensor/half.h"

namespace codegen::checkpoint {
namespace {

using ::testing::Each;
using ::testing::ElementsAre;
using testing::IsOk;
using testing::Layout;
using testing::StatusIs;
using testing::StoredTensor;
using testing::StoredTensors;
using enum absl::StatusCode;
using tensor::DType;

// A folder of one file in each format, opened.
class Folder {
 public:
  static Folder OfSafetensors(const StoredTensors& tensors) {
    return Folder("model.safetensors", testing::SafetensorsFile(tensors));
  }
  static Folder OfTorch(const StoredTensors& tensors) {
    return Folder("pytorch_model.bin", testing::TorchFile(tensors));
  }

  std::string path() const { return folder_->Path(name_); }
  const TensorEntry& entry(const std::string& name) const {
    return checkpoint_->tensors().at(name);
  }
  std::unique_ptr<RowReader> Rows(const std::string& name) const {
    auto reader = Checkpoint::OpenRows(entry(name));
    EXPECT_THAT(reader, IsOk());
    return *std::move(reader);
  }

 private:
  Folder(const std::string& name, const std::string& bytes)
      : folder_(std::make_unique<testing::TempFolder>()), name_(name) {
    folder_->Write(name, bytes);
    auto opened = Checkpoint::Open(folder_->path(), {});
    EXPECT_THAT(opened, IsOk());
    checkpoint_ = std::make_unique<Checkpoint>(*std::move(opened));
  }

  std::unique_ptr<testing::TempFolder> folder_;
  std::string name_;
  std::unique_ptr<Checkpoint> checkpoint_;
};

std::vector<float> ReadRows(const RowReader& reader, std::int64_t first, std::int64_t count) {
  std::vector<float> out(static_cast<std::size_t>(count * reader.columns()), -77.0F);
  EXPECT_THAT(reader.Read(first, count, out), IsOk());
  return out;
}

// Small integers: the same in every type.
StoredTensor Matrix(std::int64_t rows, std::int64_t columns, DType dtype,
                    Layout layout = Layout::kPlain) {
  StoredTensor tensor = {.shape = {rows, columns}, .dtype = dtype, .layout = layout};
  for (std::int64_t i = 0; i < rows * columns; ++i)
    tensor.values.push_back(static_cast<float>(i % 251 - 125));
  return tensor;
}

TEST(RowReader, TakesAVectorForOneRow) {
  const Folder folder = Folder::OfSafetensors({{"v", {.shape = {3}, .values = {1, 2, 3}}}});
  const auto reader = folder.Rows("v");

  EXPECT_EQ(reader->rows(), 1);
  EXPECT_EQ(reader->columns(), 3);
  EXPECT_THAT(ReadRows(*reader, 0, 1), ElementsAre(1, 2, 3));
}

TEST(RowReader, ReadsAnyRowsOfAllShapesTypesAndLayouts) {
  StoredTensors tensors;
  for (const DType dtype : {DType::kF32, DType::kF16, DType::kBf16}) {
    for (const Layout layout : {Layout::kPlain, Layout::kTransposed, Layout::kParameter}) {
      for (std::int64_t rows = 1; rows <= 5; ++rows) {
        for (std::int64_t columns = 1; columns <= 5; ++columns)
          tensors.emplace(fmt::format("{}", tensors.size()), Matrix(rows, columns, dtype, layout));
      }
      tensors.emplace(fmt::format("{}", tensors.size()), Matrix(37, 1031, dtype, layout));
    }
  }
  const Folder folder = Folder::OfTorch(tensors);

  for (const auto& [name, tensor] : tensors) {
    const auto reader = folder.Rows(name);
    ASSERT_EQ(reader->rows(), tensor.shape[0]);
    ASSERT_EQ(reader->columns(), tensor.shape[1]);
    for (std::int64_t first = 0; first <= reader->rows(); first += 1 + first / 2) {
      for (const std::int64_t count :
           {std::int64_t{0}, std::min<std::int64_t>(1, reader->rows() - first),
            reader->rows() - first}) {
        const auto start = tensor.values.begin() + first * reader->columns();
        EXPECT_EQ(ReadRows(*reader, first, count),
                  std::vector<float>(start, start + count * reader->columns()))
            << name << " rows " << first << " + " << count;
      }
    }
  }
}

// Longer than a piece (64 Ki elements), and no multiple of a block (512).
TEST(RowReader, ReadsMoreThanOnePiece) {
  const StoredTensors tensors = {{"f16", Matrix(3, 70'001, DType::kF16)},
                                 {"bf16", Matrix(3, 70'001, DType::kBf16)}};
  const Folder folder = Folder::OfSafetensors(tensors);

  for (const char* name : {"f16", "bf16"})
    EXPECT_EQ(ReadRows(*folder.Rows(name), 0, 3), tensors.at(name).values) << name;
}

void ExpectEveryBitPattern(DType dtype, float (*widen)(std::uint16_t), Layout layout) {
  std::string storage;
  for (std::uint64_t bits = 0; bits < 65536; ++bits) testing::AppendLittle(storage, bits, 2);
  const testing::PickledView view = {.storage_type = testing::StorageType(dtype),
                                     .elements = 65536,
                                     .shape = {256, 256},
                                     .strides = layout == Layout::kTransposed
                                                    ? std::vector<std::int64_t>{1, 256}
                                                    : std::vector<std::int64_t>{256, 1}};
  testing::PickleWriter pickle;
  pickle.EmptyDict().Text("w").Tensor(view).SetItem().Stop();
  const testing::TempFolder folder;
  folder.Write("pytorch_model.bin",
               testing::ZipFile(testing::TorchMembers(pickle.bytes(), {storage})));
  const auto checkpoint = Checkpoint::Open(folder.path(), {});
  ASSERT_THAT(checkpoint, IsOk());

  const std::vector<float> values =
      ReadRows(**Checkpoint::OpenRows(checkpoint->tensors().at("w")), 0, 256);

  for (std::size_t i = 0; i < values.size(); ++i) {
    const std::size_t bits = layout == Layout::kTransposed ? i % 256 * 256 + i / 256 : i;
    ASSERT_EQ(std::bit_cast<std::uint32_t>(values[i]),
              std::bit_cast<std::uint32_t>(widen(static_cast<std::uint16_t>(bits))))
        << bits;
  }
}

TEST(RowReader, WidensEveryF16AsTheOracleDoes) {
  ExpectEveryBitPattern(DType::kF16, tensor::FloatFromF16, Layout::kPlain);
  ExpectEveryBitPattern(DType::kF16, tensor::FloatFromF16, Layout::kTransposed);
}

TEST(RowReader, WidensEveryBf16AsTheOracleDoes) {
  ExpectEveryBitPattern(DType::kBf16, tensor::FloatFromBf16, Layout::kPlain);
  ExpectEveryBitPattern(DType::kBf16, tensor::FloatFromBf16, Layout::kTransposed);
}

std::uint16_t Narrow(DType dtype, float value) {
  return dtype == DType::kF16 ? tensor::F16FromFloat(value) : tensor::Bf16FromFloat(value);
}

TEST(RowReader, ReadsBitsAsTheyAreStored) {
  for (const DType dtype : {DType::kF16, DType::kBf16}) {
    for (const Layout layout : {Layout::kPlain, Layout::kTransposed}) {
      const StoredTensor tensor = Matrix(37, 131, dtype, layout);
      const Folder folder = Folder::OfTorch({{"w", tensor}});
      const auto reader = folder.Rows("w");
      std::vector<std::uint16_t> bits(static_cast<std::size_t>(30 * 131));

      ASSERT_THAT(reader->ReadStored(5, 30, bits), IsOk());

      EXPECT_EQ(reader->dtype(), dtype);
      for (std::size_t i = 0; i < bits.size(); ++i)
        ASSERT_EQ(bits[i], Narrow(dtype, tensor.values[5 * 131 + i])) << i;
    }
  }
}

TEST(RowReader, ReadsAPartOfAWiderMatrix) {
  const testing::PickledView view = {
      .elements = 12, .offset = 1, .shape = {3, 2}, .strides = {4, 1}};
  std::string storage;
  for (int i = 0; i < 12; ++i) testing::AppendElement(storage, static_cast<float>(i), DType::kF32);
  testing::PickleWriter pickle;
  pickle.EmptyDict().Text("w").Tensor(view).SetItem().Stop();
  const testing::TempFolder folder;
  folder.Write("pytorch_model.bin",
               testing::ZipFile(testing::TorchMembers(pickle.bytes(), {storage})));
  const auto checkpoint = Checkpoint::Open(folder.path(), {});
  ASSERT_THAT(checkpoint, IsOk());

  const auto reader = Checkpoint::OpenRows(checkpoint->tensors().at("w"));

  ASSERT_THAT(reader, IsOk());
  EXPECT_THAT(ReadRows(**reader, 0, 3), ElementsAre(1, 2, 5, 6, 9, 10));
}

TEST(RowReader, ReadsASliceOfAVector) {
  const testing::PickledView view = {.elements = 6, .offset = 1, .shape = {3}, .strides = {2}};
  std::string storage;
  for (int i = 0; i < 6; ++i) testing::AppendElement(storage, static_cast<float>(i), DType::kF32);
  testing::PickleWriter pickle;
  pickle.EmptyDict().Text("v").Tensor(view).SetItem().Stop();
  const testing::TempFolder folder;
  folder.Write("pytorch_model.bin",
               testing::ZipFile(testing::TorchMembers(pickle.bytes(), {storage})));
  const auto checkpoint = Checkpoint::Open(folder.path(), {});
  ASSERT_THAT(checkpoint, IsOk());

  EXPECT_THAT(ReadRows(**Checkpoint::OpenRows(checkpoint->tensors().at("v")), 0, 1),
              ElementsAre(1, 3, 5));
}

TEST(RowReader, ReadsNothingOfAnEmptyTensor) {
  const Folder folder = Folder::OfSafetensors(
      {{"rows", {.shape = {0, 5}}}, {"columns", {.shape = {std::int64_t{1} << 60, 0}}}});

  EXPECT_THAT(folder.Rows("rows")->Read(0, 0, {}), IsOk());
  EXPECT_THAT(folder.Rows("columns")->Read(0, std::int64_t{1} << 60, {}), IsOk());
}

TEST(RowReader, OutlivesTheCheckpoint) {
  std::unique_ptr<RowReader> reader;
  {
    const Folder folder = Folder::OfSafetensors({{"v", {.shape = {2}, .values = {4, 5}}}});
    reader = folder.Rows("v");
  }

  EXPECT_THAT(ReadRows(*reader, 0, 1), ElementsAre(4, 5));
}

TEST(RowReader, ReadsFromManyThreads) {
  const StoredTensors tensors = {{"w", Matrix(64, 700, DType::kF16)},
                                 {"t", Matrix(64, 700, DType::kF16, Layout::kTransposed)}};
  const Folder folder = Folder::OfTorch(tensors);
  const auto plain = folder.Rows("w");
  const auto transposed = folder.Rows("t");

  std::vector<std::thread> threads;
  for (int i = 0; i < 4; ++i) {
    threads.emplace_back([&] {
      EXPECT_EQ(ReadRows(*plain, 0, 64), tensors.at("w").values);
      EXPECT_EQ(ReadRows(*transposed, 0, 64), tensors.at("t").values);
    });
  }
  for (std::thread& thread : threads) thread.join();
}

TEST(RowReader, RefusesATypeThatIsNoWeight) {
  const Folder folder = Folder::OfSafetensors(
      {{"mask", {.shape = {2, 2}, .values = {1, 0, 1, 1}, .dtype = DType::kBool}}});

  EXPECT_THAT(Checkpoint::OpenRows(folder.entry("mask")),
              StatusIs(kUnimplemented, "model.safetensors: tensor \"mask\": BOOL [2, 2]"));
}

TEST(RowReader, RefusesOtherRanks) {
  const Folder folder = Folder::OfSafetensors(
      {{"scalar", {.shape = {}, .values = {1}}}, {"cube", {.shape = {1, 1, 1}, .values = {1}}}});

  EXPECT_THAT(Checkpoint::OpenRows(folder.entry("scalar")), StatusIs(kUnimplemented, "F32 []"));
  EXPECT_THAT(Checkpoint::OpenRows(folder.entry("cube")), StatusIs(kUnimplemented, "[1, 1, 1]"));
}

TEST(RowReader, S24RefusesAFileThatShrinksWhileItIsRead) {
  for (const DType dtype : {DType::kF32, DType::kF16}) {
    const Folder folder = Folder::OfSafetensors({{"w", Matrix(8, 8, dtype)}});
    const auto reader = folder.Rows("w");
    std::filesystem::resize_file(folder.path(), std::filesystem::file_size(folder.path()) - 1);

    std::vector<float> out(64);
    EXPECT_THAT(reader->Read(0, 8, out), StatusIs(kDataLoss, "model.safetensors: file ends"));
  }
}

TEST(RowReader, S24RefusesATransposedTensorOfAFileThatShrank) {
  const Folder folder = Folder::OfTorch({{"w", Matrix(8, 8, DType::kF32, Layout::kTransposed)}});
  std::filesystem::resize_file(folder.path(), 100);

  EXPECT_THAT(Checkpoint::OpenRows(folder.entry("w")), StatusIs(kDataLoss, "file ends"));
}

}  // namespace
}  // namespace codegen::checkpoint
