// SPDX-License-Identifier: Apache-2.0
//
// Matchers of absl::Status and absl::StatusOr, which the Abseil of the distributions lacks:
//
//   EXPECT_THAT(Checkpoint::Open(folder, {}), StatusIs(kDataLoss, "truncated"));
//   ASSERT_THAT(result, IsOk());
#ifndef CODEGEN_TESTS_SUPPORT_STATUS_IS_H_
#define CODEGEN_TESTS_SUPPORT_STATUS_IS_H_

#include <absl/status/status.h>
#include <absl/status/statusor.h>
#include <gmock/gmock.h>

#include <ostream>
#include <string>
#include <string_view>

namespace codegen::testing {

inline const absl::Status& StatusOf(const absl::Status& status) { return status; }
template <class T>
const absl::Status& StatusOf(const absl::StatusOr<T>& result) {
  return result.status();
}

// Matches by code and by a part of the message.
class StatusIsMatcher {
 public:
  StatusIsMatcher(absl::StatusCode code, std::string_view part) : code_(code), part_(part) {}

  template <class Result>
  bool MatchAndExplain(const Result& result, ::testing::MatchResultListener* listener) const {
    const absl::Status& status = StatusOf(result);
    const std::string message(status.message().data(), status.message().size());
    *listener << status.ToString();
    return status.code() == code_ && message.find(part_) != std::string::npos;
  }
  void DescribeTo(std::ostream* out) const {
    *out << "is " << absl::StatusCodeToString(code_) << " with \"" << part_ << "\"";
  }
  void DescribeNegationTo(std::ostream* out) const {
    *out << "is not " << absl::StatusCodeToString(code_) << " with \"" << part_ << "\"";
  }

 private:
  absl::StatusCode code_;
  std::string part_;
};

inline auto StatusIs(absl::StatusCode code, std::string_view part = "") {
  return ::testing::MakePolymorphicMatcher(StatusIsMatcher(code, part));
}
inline auto IsOk() { return StatusIs(absl::StatusCode::kOk); }

}  // namespace codegen::testing

#endif  // CODEGEN_TESTS_SUPPORT_STATUS_IS_H_
