// SPDX-License-Identifier: Apache-2.0
//
// codegen tokenize and codegen detokenize: text to token ids and back, without any weights.

#include <fmt/format.h>

#include "command.h"
#include "input.h"
#include "json_lines.h"
#include "load.h"
#include "output.h"

namespace cli {
namespace {

using TokenIds = std::vector<codegen::TokenId>;

absl::Status TokenizeLines(const codegen::Tokenizer& tokenizer, codegen::AllowSpecial by_default) {
  return ServeJsonLines([&](const Json& line) -> absl::StatusOr<Json> {
    std::string text;
    bool special = by_default == codegen::AllowSpecial::kYes;
    Fields fields(line);
    fields.Read("text", text);
    fields.Read("special", special);
    fields.RequireOneOf({"text"});
    if (const absl::Status status = fields.Finish(); !status.ok()) return status;
    const absl::StatusOr<TokenIds> ids =
        tokenizer.Encode(text, special ? codegen::AllowSpecial::kYes : codegen::AllowSpecial::kNo);
    if (!ids.ok()) return ids.status();
    return Json::object({{"token_ids", *ids}});
  });
}

absl::Status Tokenize(const Flags& flags) {
  const absl::StatusOr<codegen::Tokenizer> tokenizer = LoadTokenizer(flags);
  if (!tokenizer.ok()) return tokenizer.status();
  if (flags.json_lines) return TokenizeLines(*tokenizer, flags.request.allow_special);

  const absl::StatusOr<std::string> text = ReadText(flags);
  if (!text.ok()) return text.status();
  const absl::StatusOr<TokenIds> ids = tokenizer->Encode(*text, flags.request.allow_special);
  if (!ids.ok()) return ids.status();
  return flags.json ? WriteLine({{"token_ids", *ids}})
                    : Write(fmt::format("{}\n", fmt::join(*ids, ",")));
}

absl::Status DetokenizeLines(const codegen::Tokenizer& tokenizer) {
  return ServeJsonLines([&](const Json& line) -> absl::StatusOr<Json> {
    TokenIds ids;
    Fields fields(line);
    fields.Read("token_ids", ids);
    fields.RequireOneOf({"token_ids"});
    if (const absl::Status status = fields.Finish(); !status.ok()) return status;
    return Json::object({{"text", tokenizer.Decode(ids)}});
  });
}

absl::Status Detokenize(const Flags& flags) {
  const absl::StatusOr<codegen::Tokenizer> tokenizer = LoadTokenizer(flags);
  if (!tokenizer.ok()) return tokenizer.status();
  if (flags.json_lines) return DetokenizeLines(*tokenizer);

  const absl::StatusOr<TokenIds> ids = ReadTokenIds(flags);
  if (!ids.ok()) return ids.status();
  const std::string text = tokenizer->Decode(*ids);
  if (flags.json) return WriteLine({{"text", text}});
  const absl::Status status = Write(text);
  return status.ok() ? FinishText() : status;
}

absl::Status Check(const Flags& flags) {
  if (flags.load.tokenizer_folder.empty()) {
    if (const absl::Status status = CheckModel(flags); !status.ok()) return status;
  }
  return CheckInput(flags);
}

}  // namespace

Command TokenizeCommand() {
  return {
      .name = "tokenize",
      .summary = "print the token ids of a text",
      .details = R"(The folder needs tokenizer files only.
--json prints {"token_ids"}.
--json-lines reads {"id"?, "text", "special"?} from each line and prints the same with
  the "id", or {"id"?, "error": {"code", "message"}}.
)",
      .example = "codegen tokenize --model examples/models/codegen-tiny-python --prompt 'return x'",
      .flags = {CommonFlags(), JsonLinesFlags(), TextFlags(), SpecialFlags()},
      .check = Check,
      .run = Tokenize};
}

Command DetokenizeCommand() {
  return {
      .name = "detokenize",
      .summary = "print the text of token ids",
      .details = R"(The folder needs tokenizer files only. Ids without a text add nothing.
--json prints {"text"}.
--json-lines reads {"id"?, "token_ids"} from each line and prints the same with the "id",
  or {"id"?, "error": {"code", "message"}}.
)",
      .example = "codegen detokenize --model examples/models/codegen-tiny-python --token-ids 1,2,3",
      .flags = {CommonFlags(), JsonLinesFlags(), TokenIdsFlags()},
      .check = Check,
      .run = Detokenize};
}

}  // namespace cli
