// SPDX-License-Identifier: Apache-2.0
//
// Many lines at a time need one thread: it reads and submits, while the batcher's callbacks write
// the answers. With every place taken it waits, so that memory stays bounded however long the input
// is. A reader that goes away is noticed at the next line.
#include "complete_lines.h"

#include <algorithm>
#include <memory>
#include <utility>

#include "answers.h"
#include "completion_json.h"
#include "input.h"
#include "json_lines.h"

namespace cli {
namespace {

absl::Status CompleteOneByOne(const Flags& flags, const LoadedModel& loaded) {
  absl::StatusOr<codegen::Session> session = codegen::Session::Create(loaded.model);
  if (!session.ok()) return session.status();
  return ServeJsonLines([&](const Json& line) -> absl::StatusOr<Json> {
    const absl::StatusOr<codegen::Request> request = ReadCompletion(line, flags, Engine::kSession);
    if (!request.ok()) return request.status();
    const absl::StatusOr<codegen::Completion> completion = session->Complete(*request);
    if (!completion.ok()) return completion.status();
    return ToJson(*completion, loaded.load_s);
  });
}

// A completion that was cut short is one all the same; its finish_reason says so.
absl::StatusOr<Json> ResultOf(const codegen::Completion& completion, double load_s) {
  const absl::Status& status = completion.status;
  const bool cut_short = absl::IsDeadlineExceeded(status) || absl::IsCancelled(status);
  if (status.ok() || cut_short) return ToJson(completion, load_s);
  return status;
}

// Submits `request`, and gives its answer once it has ended. When the batcher has no room, waits
// for one of ours to end: there are no others.
absl::Status Submit(codegen::Batcher& batcher, const codegen::Request& request,
                    const codegen::Callbacks& callbacks, Answers& answers) {
  while (true) {
    const std::uint64_t given = answers.given();
    absl::StatusOr<codegen::Handle> handle = batcher.Submit(request, callbacks);
    if (handle.ok()) {
      handle->Detach();
      return absl::OkStatus();
    }
    if (!absl::IsResourceExhausted(handle.status()) || !answers.WaitForAnother(given))
      return handle.status();
  }
}

absl::Status StartLine(const Json& line, const Flags& flags, codegen::Batcher& batcher,
                       const codegen::Callbacks& callbacks, Answers& answers) {
  const absl::StatusOr<codegen::Request> request = ReadCompletion(line, flags, Engine::kBatcher);
  return request.ok() ? Submit(batcher, *request, callbacks, answers) : request.status();
}

codegen::BatcherOptions OptionsFor(int concurrency) {
  codegen::BatcherOptions options{.max_batch = concurrency};
  options.step_tokens = std::max(options.step_tokens, concurrency);
  options.queue_requests = std::max(options.queue_requests, concurrency);
  return options;
}

absl::Status CompleteTogether(const Flags& flags, const LoadedModel& loaded) {
  absl::StatusOr<std::unique_ptr<codegen::Batcher>> batcher =
      codegen::Batcher::Create(loaded.model, OptionsFor(flags.concurrency));
  if (!batcher.ok()) return batcher.status();
  // Shared with the callbacks, because one that is stuck in a write outlives the batcher.
  const auto answers = std::make_shared<Answers>(flags.concurrency);
  Lines lines(stdin);
  while (const std::optional<JsonLine> line = NextJsonLine(lines)) {
    const Answers::Place place = answers->Take(line->id);
    if (!answers->status().ok()) break;
    const codegen::Callbacks callbacks{
        .on_done = [=, load_s = loaded.load_s](const codegen::Completion& completion) {
          answers->Give(place, ResultOf(completion, load_s));
        }};
    const absl::Status started =
        line->request.ok() ? StartLine(*line->request, flags, **batcher, callbacks, *answers)
                           : line->request.status();
    if (!started.ok()) answers->Give(place, started);
  }
  return answers->Finish();
}

}  // namespace

absl::Status CompleteLines(const Flags& flags, const LoadedModel& loaded) {
  return flags.concurrency > 1 ? CompleteTogether(flags, loaded) : CompleteOneByOne(flags, loaded);
}

}  // namespace cli
