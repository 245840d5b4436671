// SPDX-License-Identifier: Apache-2.0
//
// The example examples/editors, as somebody tries it out.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <sstream>

#include "cli/program.h"

namespace codegen::testing {
namespace {

constexpr const char* kShippedModel = CODEGEN_SOURCE_DIR "/examples/models/codegen-tiny-python";

// One line of its table.
struct EditorsRow {
  std::string name;
  int whole = -1;
  int cancelled = -1;
  int late = -1;
  int failed = -1;
  double first_ms = -1;
  double whole_ms = -1;
};

std::vector<EditorsRow> RowsOf(const std::string& table) {
  std::istringstream lines(table);
  std::string header;
  std::getline(lines, header);
  std::vector<EditorsRow> rows;
  for (EditorsRow row; lines >> row.name >> row.whole >> row.cancelled >> row.late >> row.failed >>
                       row.first_ms >> row.whole_ms;)
    rows.push_back(row);
  return rows;
}

TEST(Editors, ServesEachUrgencyAndEndsByItself) {
  const Outcome outcome = RunOther(CODEGEN_EDITORS, {kShippedModel, "--seconds", "2"});

  ASSERT_EQ(outcome.exit_code, 0) << outcome.err;
  EXPECT_EQ(outcome.err, "");
  const std::vector<EditorsRow> rows = RowsOf(outcome.out);
  ASSERT_EQ(rows.size(), 3U) << outcome.out;
  EXPECT_EQ(rows[0].name, "lines");
  EXPECT_EQ(rows[1].name, "blocks");
  EXPECT_EQ(rows[2].name, "flows");
  for (const EditorsRow& row : rows) {
    EXPECT_GT(row.whole + row.cancelled + row.late, 0) << outcome.out;
    EXPECT_EQ(row.failed, 0) << outcome.out;
    EXPECT_LE(row.first_ms, 1000 * 60) << outcome.out;
  }
  // A key every 40 ms at most for two seconds, each with one request.
  const EditorsRow& typed = rows[0];
  EXPECT_LE(typed.whole + typed.cancelled + typed.late, 51) << outcome.out;
}

TEST(Editors, RefusesWrongUsage) {
  EXPECT_EQ(RunOther(CODEGEN_EDITORS, {}).exit_code, 2);
  EXPECT_EQ(RunOther(CODEGEN_EDITORS, {kShippedModel, "--seconds"}).exit_code, 2);
  EXPECT_EQ(RunOther(CODEGEN_EDITORS, {kShippedModel, "--seconds", "0"}).exit_code, 2);
  EXPECT_EQ(RunOther(CODEGEN_EDITORS, {"no-such-folder"}).exit_code, 1);
}

}  // namespace
}  // namespace codegen::testing
