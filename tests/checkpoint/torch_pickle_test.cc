// SPDX-License-Identifier: Apache-2.0
//
// The ids (B01, ...) are rows of our catalogue of hostile files.
#include "checkpoint/torch_pickle.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <string_view>

#include "support/pickle_writer.h"
#include "support/status_is.h"

namespace codegen::checkpoint {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;
using testing::IsOk;
using testing::PickledView;
using testing::PickleWriter;
using ::testing::SizeIs;
using testing::StatusIs;
using enum absl::StatusCode;

const PickledView& SomeView() {
  static const PickledView view = {
      .key = "7", .elements = 100, .offset = 4, .shape = {2, 3}, .strides = {3, 1}};
  return view;
}

absl::StatusOr<std::vector<PickledTensor>> Match(const PickleWriter& pickle) {
  return MatchTorchPickle(pickle.bytes(), "a.bin");
}

// A dict of one item: `value` pushes it.
PickleWriter DictOf(std::string_view name, const PickleWriter& value) {
  PickleWriter pickle;
  return pickle.OrderedDict().Text(name).Raw(value.bytes().substr(2)).SetItem().Stop();
}

PickleWriter Value() { return PickleWriter(); }

TEST(TorchPickle, FindsTheTensorsOfAStateDict) {
  PickleWriter pickle;
  pickle.OrderedDict()
      .Mark()
      .Text("w")
      .Tensor(SomeView())
      .Text("b")
      .Tensor({.storage_type = "BFloat16Storage",
               .key = "8",
               .elements = 5,
               .shape = {5},
               .strides = {1}});
  pickle.SetItems().Stop();

  const auto tensors = Match(pickle);

  ASSERT_THAT(tensors, IsOk());
  ASSERT_THAT(*tensors, SizeIs(2));
  EXPECT_EQ((*tensors)[0].name, "b");
  EXPECT_EQ((*tensors)[0].dtype, tensor::DType::kBf16);
  const PickledTensor& w = (*tensors)[1];
  EXPECT_EQ(w.name, "w");
  EXPECT_EQ(w.storage, "7");
  EXPECT_EQ(w.dtype, tensor::DType::kF32);
  EXPECT_EQ(w.storage_elements, 100);
  EXPECT_EQ(w.offset, 4);
  EXPECT_THAT(w.shape, ElementsAre(2, 3));
  EXPECT_THAT(w.strides, ElementsAre(3, 1));
}

TEST(TorchPickle, AcceptsAPlainDictAndAnEmptyOne) {
  PickleWriter plain;
  plain.EmptyDict().Text("w").Tensor(SomeView()).SetItem().Stop();
  PickleWriter empty;
  empty.EmptyDict().Stop();

  EXPECT_THAT(*Match(plain), SizeIs(1));
  EXPECT_THAT(*Match(empty), IsEmpty());
}

TEST(TorchPickle, UnwrapsParameters) {
  const auto tensors = Match(DictOf("w", Value().Parameter(SomeView())));

  ASSERT_THAT(tensors, IsOk());
  EXPECT_EQ((*tensors)[0].storage, "7");
}

TEST(TorchPickle, UnwrapsAStateDictOfATrainingCheckpoint) {
  PickleWriter pickle;
  pickle.EmptyDict().Mark().Text("epoch").Int(3).Text("state_dict");
  pickle.EmptyDict().Text("w").Tensor(SomeView()).SetItem().SetItems().Stop();

  const auto tensors = Match(pickle);

  ASSERT_THAT(tensors, IsOk());
  ASSERT_THAT(*tensors, SizeIs(1));
  EXPECT_EQ((*tensors)[0].name, "w");
}

TEST(TorchPickle, FollowsTheMemo) {
  PickleWriter pickle;
  pickle.EmptyDict().Mark().Text("a").Tensor(SomeView()).Put(9).Text("b").Get(9).SetItems().Stop();

  const auto tensors = Match(pickle);

  ASSERT_THAT(tensors, IsOk());
  EXPECT_EQ((*tensors)[0].storage, (*tensors)[1].storage);
}

TEST(TorchPickle, DropsTheMetadataOfModules) {
  PickleWriter pickle;
  pickle.OrderedDict().Text("w").Tensor(SomeView()).SetItem();
  pickle.EmptyDict().Text("_metadata").OrderedDict().Text("");
  pickle.EmptyDict().Text("version").Int(1).SetItem().SetItem().SetItem().Build().Stop();

  EXPECT_THAT(*Match(pickle), SizeIs(1));
}

TEST(TorchPickle, ReadsIntegersOfEveryWidth) {
  const std::vector<std::int64_t> offsets = {0,        255,   256,
                                             65535,    65536, (std::int64_t{1} << 31) - 1,
                                             1L << 31, -1,    -(std::int64_t{1} << 40)};
  for (const std::int64_t offset : offsets) {
    const auto tensors = Match(DictOf("w", Value().Tensor({.offset = offset})));
    ASSERT_THAT(tensors, IsOk());
    EXPECT_EQ((*tensors)[0].offset, offset);
  }
}

TEST(TorchPickle, ReadsLongIntegersOfFewBytes) {
  PickleWriter minus_two;
  minus_two.Global("torch._utils", "_rebuild_tensor_v2").Mark().Storage(SomeView());
  minus_two.Raw("\x8a\x02\xFE\xFF").EmptyTuple().Mark().Tuple().False().OrderedDict();

  const auto tensors = Match(DictOf("w", minus_two.Tuple().Reduce()));

  ASSERT_THAT(tensors, IsOk());
  EXPECT_EQ((*tensors)[0].offset, -2);
}

TEST(TorchPickle, ReadsTheOpcodesOfProtocol4) {
  PickleWriter pickle(4);
  const std::string body = PickleWriter()
                               .EmptyDict()
                               .Raw("\x94\x8c\x01w")
                               .Raw("\x8c\x0ctorch._utils\x8c\x12_rebuild_tensor_v2\x93\x94")
                               .Mark()
                               .Storage(SomeView())
                               .Int(4)
                               .Raw("K\x02K\x03\x86K\x03K\x01\x86\x89")
                               .OrderedDict()
                               .Tuple()
                               .Reduce()
                               .SetItem()
                               .Stop()
                               .bytes()
                               .substr(2);
  pickle.Raw("\x95").Little(static_cast<std::int64_t>(body.size()), 8).Raw(body);

  const auto tensors = Match(pickle);

  ASSERT_THAT(tensors, IsOk());
  EXPECT_THAT((*tensors)[0].shape, ElementsAre(2, 3));
}

TEST(TorchPickle, B01RefusesEveryOtherGlobalByName) {
  PickleWriter pickle;
  pickle.Global("os", "system").Mark().Text("echo").Tuple().Reduce().Stop();

  EXPECT_THAT(Match(pickle), StatusIs(kInvalidArgument, "object \"system\" of module \"os\""));
  PickleWriter four(4);
  four.Raw(
          "\x8c\x08"
          "builtins\x8c\x04"
          "eval\x93")
      .Stop();
  EXPECT_THAT(Match(four), StatusIs(kInvalidArgument, "object \"eval\" of module \"builtins\""));
}

TEST(TorchPickle, B01RefusesGlobalsThatOnlyLookAllowed) {
  for (const auto& [module, name] : {std::pair("collections", "OrderedDict.__class__"),
                                     {"collections ", "OrderedDict"},
                                     {"torch", "_utils._rebuild_tensor_v2"},
                                     {"torch._utils", "_rebuild_tensor_v2\r"},
                                     {"torch.storage", "FloatStorage"},
                                     {"torch.storage", "_load_from_bytes"}}) {
    PickleWriter pickle;
    EXPECT_THAT(Match(pickle.Global(module, name).Stop()), StatusIs(kInvalidArgument, "no state"));
  }
}

TEST(TorchPickle, B01RefusesOpcodesThatMakeOtherObjects) {
  // INST, OBJ, EXT1, EXT4, NEWOBJ_EX, REDUCE by name (INT, STRING, PERSID), BYTEARRAY8.
  for (const char* opcode : {"i", "o", "\x82", "\x84", "\x92", "I", "S", "P", "\x96", "0", "2"}) {
    PickleWriter pickle;
    EXPECT_THAT(Match(pickle.EmptyDict().Raw(opcode).Stop()),
                StatusIs(kInvalidArgument, "a.bin: unsupported pickle at byte 3: opcode 0x"));
  }
}

TEST(TorchPickle, B01RefusesACallOfWhatIsNoGlobal) {
  PickleWriter pickle;
  EXPECT_THAT(Match(pickle.EmptyDict().EmptyTuple().Reduce().Stop()),
              StatusIs(kDataLoss, "a call of dict"));
}

TEST(TorchPickle, B01RefusesACallOfAStorageType) {
  PickleWriter pickle;
  EXPECT_THAT(Match(pickle.Global("torch", "FloatStorage").EmptyTuple().Reduce().Stop()),
              StatusIs(kInvalidArgument, "call of a storage type"));
}

TEST(TorchPickle, B01RefusesAnOrderedDictWithArguments) {
  PickleWriter pickle;
  pickle.Global("collections", "OrderedDict").Mark().EmptyList().Tuple().Reduce().Stop();

  EXPECT_THAT(Match(pickle), StatusIs(kInvalidArgument, "OrderedDict made with arguments"));
}

TEST(TorchPickle, B01RefusesStateOtherThanMetadata) {
  PickleWriter other;
  other.EmptyDict().EmptyDict().Text("__class__").Int(1).SetItem().Build().Stop();
  EXPECT_THAT(Match(other), StatusIs(kInvalidArgument, "state of dict"));

  EXPECT_THAT(Match(DictOf("w", Value().Tensor(SomeView()).EmptyDict().Build())),
              StatusIs(kInvalidArgument, "state of tensor"));
  PickleWriter tuple;
  EXPECT_THAT(Match(tuple.EmptyDict().EmptyTuple().Build().Stop()),
              StatusIs(kInvalidArgument, "state of dict"));
}

TEST(TorchPickle, RefusesAMalformedStorage) {
  const auto storage = [](std::string_view fields) {
    return DictOf("w", Value().Raw(fields).PersistentId());
  };
  const std::string type = PickleWriter().Global("torch", "FloatStorage").bytes().substr(2);
  const auto text = [](std::string_view t) { return PickleWriter().Text(t).bytes().substr(2); };
  EXPECT_THAT(Match(storage(")")), StatusIs(kDataLoss, "persistent id"));
  EXPECT_THAT(Match(storage("(" + text("module") + type + text("0") + text("cpu") + "K\x01t")),
              StatusIs(kDataLoss, "persistent id"));
  EXPECT_THAT(Match(storage("(" + text("storage") + "N" + text("0") + text("cpu") + "K\x01t")),
              StatusIs(kDataLoss, "persistent id"));
  EXPECT_THAT(Match(storage("(" + text("storage") + type + "K\x01" + text("cpu") + "K\x01t")),
              StatusIs(kDataLoss));
  EXPECT_THAT(Match(storage("(" + text("storage") + type + text("0") + text("cpu") + "Nt")),
              StatusIs(kDataLoss, "persistent id"));
  EXPECT_THAT(Match(storage("N")), StatusIs(kDataLoss, "expected a tuple, found None"));
}

TEST(TorchPickle, RefusesAStorageKeyThatIsNoNumber) {
  PickledView view = SomeView();
  view.key = std::string(33, '0');

  EXPECT_THAT(Match(DictOf("w", Value().Tensor(view))), StatusIs(kDataLoss, "key of 33 bytes"));
}

TEST(TorchPickle, RefusesAMalformedTensor) {
  const auto rebuild = [](std::string_view name, std::string_view arguments) {
    return DictOf("w", Value().Global("torch._utils", name).Raw(arguments).Reduce());
  };
  const std::string storage = PickleWriter().Storage(SomeView()).bytes().substr(2);
  EXPECT_THAT(Match(rebuild("_rebuild_tensor_v2", ")")), StatusIs(kDataLoss, "_rebuild_tensor_v2"));
  EXPECT_THAT(Match(rebuild("_rebuild_tensor_v2", "(NK\x01))\x89}t")),
              StatusIs(kDataLoss, "_rebuild_tensor_v2"));
  EXPECT_THAT(Match(rebuild("_rebuild_tensor_v2", "(" + storage + "N))\x89}t")),
              StatusIs(kDataLoss, "_rebuild_tensor_v2"));
  EXPECT_THAT(Match(rebuild("_rebuild_tensor_v2", "(" + storage + "K\x01N)\x89}t")),
              StatusIs(kDataLoss, "_rebuild_tensor_v2"));
  EXPECT_THAT(Match(rebuild("_rebuild_tensor_v2", "(" + storage + "K\x01(Nt)\x89}t")),
              StatusIs(kDataLoss, "_rebuild_tensor_v2"));
  EXPECT_THAT(Match(rebuild("_rebuild_tensor_v2", "(" + storage + "K\x01))\x89Nt")),
              StatusIs(kDataLoss, "_rebuild_tensor_v2"));
  EXPECT_THAT(Match(rebuild("_rebuild_parameter", "(N\x89}t")),
              StatusIs(kDataLoss, "_rebuild_parameter"));
}

TEST(TorchPickle, RefusesMoreDimensionsThanTheLimit) {
  PickledView view = SomeView();
  view.shape.assign(9, 1);
  view.strides.assign(9, 1);

  EXPECT_THAT(Match(DictOf("w", Value().Tensor(view))), StatusIs(kResourceExhausted, "dimensions"));
}

TEST(TorchPickle, RefusesAValueThatIsNoTensor) {
  EXPECT_THAT(Match(DictOf("epoch", Value().Int(3))),
              StatusIs(kInvalidArgument, "\"epoch\": expected a tensor, found int"));
}

TEST(TorchPickle, RefusesANameThatIsNoString) {
  PickleWriter pickle;
  pickle.EmptyDict().Int(3).Tensor(SomeView()).SetItem().Stop();

  EXPECT_THAT(Match(pickle), StatusIs(kInvalidArgument, "a dict with int for a name"));
}

TEST(TorchPickle, RefusesANameTwice) {
  PickleWriter pickle;
  pickle.EmptyDict().Mark().Text("w").Tensor(SomeView()).Text("w").Tensor(SomeView());

  EXPECT_THAT(Match(pickle.SetItems().Stop()), StatusIs(kDataLoss, "\"w\" appears twice"));
}

TEST(TorchPickle, RefusesATopThatIsNoDict) {
  PickleWriter pickle;
  EXPECT_THAT(Match(pickle.Tensor(SomeView()).Stop()),
              StatusIs(kInvalidArgument, "expected a dict of tensors, found tensor"));
}

TEST(TorchPickle, B07RefusesAMemoNumberBeyondTheCap) {
  PickleWriter pickle;
  EXPECT_THAT(Match(pickle.EmptyDict().Raw("r").Little(1'000'000'000, 4).Stop()),
              StatusIs(kResourceExhausted, "memo"));
}

TEST(TorchPickle, B07RefusesADeepStack) {
  PickleWriter pickle;
  EXPECT_THAT(Match(pickle.Raw(std::string(1'000'000, '}')).Stop()),
              StatusIs(kResourceExhausted, "stack"));
}

TEST(TorchPickle, B07RefusesDeepMarks) {
  PickleWriter pickle;
  EXPECT_THAT(Match(pickle.Raw(std::string(1'000'000, '(')).Stop()),
              StatusIs(kResourceExhausted, "marks"));
}

TEST(TorchPickle, B07SurvivesADeepTuple) {
  PickleWriter pickle;
  EXPECT_THAT(Match(pickle.EmptyTuple().Raw(std::string(1'000'000, '\x85')).Stop()),
              StatusIs(kInvalidArgument, "found tuple"));
}

TEST(TorchPickle, B07RefusesEndlessPrograms) {
  PickleWriter pickle;
  pickle.EmptyList();
  for (int i = 0; i < 3'000'000; ++i) pickle.Raw("Na");

  EXPECT_THAT(Match(pickle.Stop()), StatusIs(kResourceExhausted, "opcodes"));
}

TEST(TorchPickle, B07RefusesEndlessDicts) {
  PickleWriter pickle;
  pickle.EmptyDict();
  for (int i = 0; i < 400'001; ++i) pickle.Raw("NNs");

  EXPECT_THAT(Match(pickle.Stop()), StatusIs(kResourceExhausted, "items of dicts"));
}

TEST(TorchPickle, B07RefusesAStringLongerThanThePickle) {
  PickleWriter pickle;
  EXPECT_THAT(Match(pickle.Raw("X").Little(0xFFFFFFFF, 4).Stop()),
              StatusIs(kDataLoss, "4294967295 bytes expected, 1 left"));
  PickleWriter eight(4);
  EXPECT_THAT(Match(eight.Raw("\x8d").Little(-1, 8).Stop()), StatusIs(kDataLoss, "1 left"));
}

TEST(TorchPickle, B07RefusesALongInteger) {
  PickleWriter pickle;
  EXPECT_THAT(Match(pickle.Raw("\x8a\x09").Raw("123456789").Stop()),
              StatusIs(kDataLoss, "an integer of 9 bytes"));
}

TEST(TorchPickle, B07RefusesAFrameBeyondThePickle) {
  PickleWriter pickle(4);
  EXPECT_THAT(Match(pickle.Raw("\x95").Little(2, 8).Stop()), StatusIs(kDataLoss, "frame"));
}

TEST(TorchPickle, B08RefusesAListInsideItself) {
  PickleWriter pickle;
  EXPECT_THAT(Match(pickle.EmptyList().Put(0).Get(0).Append().Stop()),
              StatusIs(kDataLoss, "into itself"));
}

TEST(TorchPickle, B08RefusesADictInsideItself) {
  PickleWriter pickle;
  EXPECT_THAT(Match(pickle.EmptyDict().Put(0).Text("state_dict").Get(0).SetItem().Stop()),
              StatusIs(kDataLoss, "into itself"));
}

TEST(TorchPickle, B08RefusesACycleThroughATuple) {
  PickleWriter pickle;
  pickle.EmptyList().Put(0).Mark().Get(0).Tuple().Append().Stop();

  EXPECT_THAT(Match(pickle), StatusIs(kDataLoss, "into itself"));
}

TEST(TorchPickle, B09RefusesEveryTruncation) {
  const std::string whole = DictOf("w", Value().Parameter(SomeView())).bytes();
  for (std::size_t length = 0; length < whole.size(); ++length) {
    EXPECT_THAT(MatchTorchPickle(whole.substr(0, length), "a.bin"), StatusIs(kDataLoss)) << length;
  }
}

TEST(TorchPickle, B09RefusesOtherProtocols) {
  for (const int protocol : {0, 1, 5, 255}) {
    PickleWriter pickle(protocol);
    EXPECT_THAT(Match(pickle.EmptyDict().Stop()), StatusIs(kDataLoss, "protocol"));
  }
  EXPECT_THAT(MatchTorchPickle("}.", "a.bin"), StatusIs(kDataLoss, "protocol 2"));
}

TEST(TorchPickle, RefusesBytesAfterTheEnd) {
  PickleWriter pickle;
  EXPECT_THAT(Match(pickle.EmptyDict().Stop().Raw("x")), StatusIs(kDataLoss, "1 bytes after"));
}

TEST(TorchPickle, RefusesAnUnbalancedStack) {
  for (const char* program : {".",      "}}.",
                              "(}.",    "t.",
                              "u.",     "e.",
                              "\x85.",  "}s.",
                              "}Ns.",   "(s.",
                              "}(Nu.",  "]}s.",
                              "N(NNu.", "}Na.",
                              "Q.",     "R.",
                              ")R.",    "b.",
                              "}b.",    "q\x01.",
                              "h\x01.", "j\x01\x01\x01\x01.",
                              "\x93.",  "\x94.",
                              "(q\x01."}) {
    PickleWriter pickle;
    EXPECT_THAT(Match(pickle.Raw(program)), StatusIs(kDataLoss, "a.bin: malformed pickle at byte"))
        << program;
  }
}

TEST(TorchPickle, RefusesAStringThatIsNotUtf8) {
  PickleWriter pickle;
  EXPECT_THAT(Match(pickle.Text("\xFF").Stop()), StatusIs(kDataLoss, "UTF-8"));
}

TEST(TorchPickle, RefusesAGlobalNamedByNoStrings) {
  PickleWriter pickle(4);
  EXPECT_THAT(Match(pickle.Raw("NN\x93").Stop()), StatusIs(kDataLoss, "named by two strings"));
}

TEST(TorchPickle, SurvivesEveryBitFlip) {
  const std::string whole = DictOf("w", Value().Parameter(SomeView())).bytes();
  for (std::size_t bit = 0; bit < 8 * whole.size(); ++bit) {
    std::string flipped = whole;
    flipped[bit / 8] = static_cast<char>(flipped[bit / 8] ^ (1 << (bit % 8)));
    (void)MatchTorchPickle(flipped, "a.bin");
  }
}

}  // namespace
}  // namespace codegen::checkpoint
