// SPDX-License-Identifier: Apache-2.0
//
// Standard output, where every byte is flushed and a reader that went away is an error like any
// other.
#ifndef CODEGEN_EXAMPLES_CLI_OUTPUT_H_
#define CODEGEN_EXAMPLES_CLI_OUTPUT_H_

#include <absl/status/status.h>

#include <nlohmann/json.hpp>
#include <string>
#include <string_view>

namespace cli {

using Json = nlohmann::ordered_json;  // keys stay in the order in which they were written

inline Json OrNull(const std::string& text) { return text.empty() ? Json() : Json(text); }

// Writes and flushes. Errors: CANCELLED if nobody reads any more, else UNKNOWN with the system's
// reason.
absl::Status Write(std::string_view text);

// Writes `value` on a line of its own.
absl::Status WriteLine(const Json& value);

// Ends a text so that a terminal's prompt starts on a new line; a file or pipe gets the text alone.
absl::Status FinishText();

}  // namespace cli

#endif  // CODEGEN_EXAMPLES_CLI_OUTPUT_H_
