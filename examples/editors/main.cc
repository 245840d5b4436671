// SPDX-License-Identifier: Apache-2.0
//
// The completion service of a code editor: editors MODEL-FOLDER [--seconds S]
//
// Three threads share one Batcher, each with requests of another urgency:
//   lines   the line one types: goes first, has deadlines, is cancelled by the next key
//   blocks  the body of a function that somebody asked for and watches as it appears
//   flows   long completions of a background process, which take what the others leave
#include <codegen/codegen.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <iostream>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

namespace {

using Clock = std::chrono::steady_clock;
using std::chrono::milliseconds;

constexpr std::string_view kFile =
    "def find(items, target):\n    return items.index(target)\n\n\ndef count(items, target):\n";

// What became of the requests of one urgency. One thread's own.
class Tally {
 public:
  void Add(const codegen::Completion& completion) {
    const codegen::Timeline& timeline = completion.timeline;
    ++ended_[static_cast<std::size_t>(completion.finish_reason)];
    if (timeline.first_token != codegen::Time())
      first_token_.push_back(timeline.first_token - timeline.queued);
    if (completion.status.ok()) whole_.push_back(timeline.done - timeline.queued);
  }

  void Refuse(const absl::Status& status) {
    if (absl::IsDeadlineExceeded(status)) {  // late already
      ++ended_[static_cast<std::size_t>(codegen::FinishReason::kDeadline)];
    } else if (refused_++ == 0) {
      std::cerr << status << '\n';
    }
  }

  void Print(const char* name) {
    using enum codegen::FinishReason;
    std::printf("%-7s %6zu %10d %6d %7d %10.1f %10.1f\n", name, whole_.size(), Ended(kCancelled),
                Ended(kDeadline), refused_ + Ended(kError), Median(first_token_), Median(whole_));
  }

 private:
  int Ended(codegen::FinishReason reason) const { return ended_[static_cast<std::size_t>(reason)]; }

  static double Median(std::vector<Clock::duration>& times) {
    if (times.empty()) return 0;
    std::ranges::sort(times);
    return std::chrono::duration<double, std::milli>(times[times.size() / 2]).count();
  }

  std::array<int, 6> ended_ = {};  // by FinishReason
  int refused_ = 0;
  std::vector<Clock::duration> first_token_;
  std::vector<Clock::duration> whole_;
};

// Somebody types the file, a key every 40 ms, or later on a slow machine. What is not there by the
// next key is thrown away.
void TypeLines(codegen::Batcher& batcher, codegen::Time end, Tally& tally) {
  codegen::Time key = Clock::now();
  for (std::size_t typed = 1; key < end; typed = typed % kFile.size() + 1) {
    auto handle = batcher.Submit({.prompt = std::string(kFile.substr(0, typed)),
                                  .max_new_tokens = 16,
                                  .stop = {.strings = {"\n"}},
                                  .first_token_by = key + milliseconds(200),
                                  .done_by = key + milliseconds(500),
                                  .priority = -10});
    key += milliseconds(40);
    if (handle.ok()) {
      if (handle->Wait(key) == nullptr) handle->Cancel();
      tally.Add(handle->Wait());  // cancelled, it ends within one step
    } else {
      tally.Refuse(handle.status());
    }
    std::this_thread::sleep_until(key);
    key = std::max(key, Clock::now());
  }
}

// Asks for a block, shows it as it comes and asks for the next.
void StreamBlocks(codegen::Batcher& batcher, codegen::Time end, Tally& tally) {
  while (Clock::now() < end) {
    std::string shown;
    auto handle = batcher.Submit(
        {.prompt = std::string(kFile), .max_new_tokens = 64, .stop = {.strings = {"\n\n"}}},
        {.on_chunk = [&](const codegen::Chunk& chunk) {
          shown += chunk.text;
          return Clock::now() < end ? codegen::Next::kContinue : codegen::Next::kCancel;
        }});
    if (!handle.ok()) return tally.Refuse(handle.status());
    tally.Add(handle->Wait());  // after the last chunk
  }
}

// Works through long completions, one after the other.
void RunFlows(codegen::Batcher& batcher, codegen::Time end, Tally& tally) {
  for (std::uint64_t seed = 0; Clock::now() < end; ++seed) {
    auto handle = batcher.Submit({.prompt = std::string(kFile),
                                  .max_new_tokens = 256,
                                  .temperature = 0.8F,
                                  .seed = seed,
                                  .stop = {.ignore_eos = true},
                                  .done_by = end,
                                  .priority = 10});
    if (!handle.ok()) return tally.Refuse(handle.status());
    tally.Add(handle->Wait());
  }
}

int Fail(const absl::Status& status) {
  std::cerr << status << '\n';
  return 1;
}

int Run(const char* folder, int seconds) {
  const auto model = codegen::Model::Load(folder);
  if (!model.ok()) return Fail(model.status());
  const auto batcher = codegen::Batcher::Create(*model, {.max_batch = 16});
  if (!batcher.ok()) return Fail(batcher.status());
  const auto end = Clock::now() + std::chrono::seconds(seconds);
  Tally lines, blocks, flows;
  {
    const std::jthread typing([&] { TypeLines(**batcher, end, lines); });
    const std::jthread streaming([&] { StreamBlocks(**batcher, end, blocks); });
    const std::jthread working([&] { RunFlows(**batcher, end, flows); });
  }
  std::puts("         whole  cancelled   late  failed  first, ms  whole, ms  (medians)");
  lines.Print("lines");
  blocks.Print("blocks");
  flows.Print("flows");
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  const bool timed = argc == 4 && std::string_view(argv[2]) == "--seconds";
  const int seconds = timed ? std::atoi(argv[3]) : 5;
  if ((argc == 2 || timed) && seconds > 0) return Run(argv[1], seconds);
  std::cerr << "usage: editors MODEL-FOLDER [--seconds S]\n";
  return 2;
}
