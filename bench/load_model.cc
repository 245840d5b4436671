// SPDX-License-Identifier: Apache-2.0
//
// How long a model takes to start.
//
//   load_model_bench [CONFIG [TOKENIZER_FOLDER]]
//
// Makes a folder of float16 weights of the shape in CONFIG (bench/shapes/codegen1-350M.json), and
// prints how fast it is passed over once, how fast it is loaded to each format, and how fast what
// Save makes of that is loaded again; then the time from the start of a process to the first token
// of a saved int8 model. Best and median of seven, files in the page cache, on all cores.
//
// A load also touches fresh memory, whose pages the system zeroes. What that takes is measured for
// a load to int8: passing over the file and touching as much memory is the least it can take. All
// that is compared is measured in turns, and the shares are medians of those of each turn: the
// machine may be another from one minute to the next.
//
// Goals: loading float16 to int8 at 0.8 of the speed of passing over the file; a first token 0.25 s
// after the start of the process.
#include <fmt/format.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "base/aligned_buffer.h"
#include "base/file.h"
#include "base/thread_pool.h"
#include "base/usable_cpus.h"
#include "checkpoint/safetensors_writer.h"
#include "codegen/model.h"
#include "codegen/session.h"
#include "model/tensor_source.h"
#include "program.h"
#include "tensor/half.h"

namespace codegen {
namespace {

using Clock = std::chrono::steady_clock;

constexpr int kRuns = 7;

double SecondsSince(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

using Runs = std::array<double, kRuns>;  // seconds, or shares

// Other work on the machine only ever makes a run slower.
double Best(const Runs& runs) { return *std::ranges::min_element(runs); }

double Median(Runs runs) {
  std::ranges::sort(runs);
  return runs[kRuns / 2];
}

// Calls `work`, which returns its seconds.
template <class Work>
Runs Measure(const Work& work) {
  Runs seconds{};
  for (double& one : seconds) one = work();
  return seconds;
}

// Writes the random weights of a shape as published models are: float16.
void WriteModel(const std::string& config_file, const std::string& folder) {
  const model::ModelConfig config = Take(model::ReadModelConfig(config_file, 0));
  std::vector<std::vector<std::uint16_t>> values;
  std::vector<checkpoint::TensorBytes> tensors;
  for (const model::ExpectedTensor& tensor : model::ExpectedTensors(config)) {
    std::vector<float> row(static_cast<std::size_t>(tensor.columns()));
    const backend::MatrixSource source = Take(model::RandomSource().Open(tensor));
    std::vector<std::uint16_t>& halves = values.emplace_back();
    for (std::int64_t i = 0; i < tensor.rows(); ++i) {
      Check(source.read(i, 1, row));
      for (const float value : row) halves.push_back(tensor::F16FromFloat(value));
    }
    tensors.push_back(
        {tensor.name, tensor::DType::kF16, tensor.shape, std::as_bytes(std::span(halves))});
  }
  std::filesystem::copy(config_file, folder + "/config.json");
  Check(checkpoint::WriteSafetensors(folder, "model.safetensors", {{"format", "pt"}}, tensors));
}

// Seconds to read a file and add up its bytes on all threads.
double PassOver(const std::string& path, base::ThreadPool& pool) {
  constexpr std::int64_t kPiece = std::int64_t{1} << 20;
  const Clock::time_point start = Clock::now();
  const auto file = Take(base::File::Open(path));
  std::vector<std::vector<std::uint64_t>> pieces(static_cast<std::size_t>(pool.threads()),
                                                 std::vector<std::uint64_t>(kPiece / 8));
  std::vector<std::uint64_t> sums(pieces.size());
  pool.ParallelForWorkers(file->size() / kPiece, [&](std::int64_t task, int worker) {
    std::vector<std::uint64_t>& piece = pieces[static_cast<std::size_t>(worker)];
    Check(file->Read(task * kPiece, std::as_writable_bytes(std::span(piece))));
    std::uint64_t sum = 0;
    for (const std::uint64_t word : piece) sum += word;
    sums[static_cast<std::size_t>(worker)] += sum;
  });
  return SecondsSince(start);
}

// Seconds to touch `bytes` of fresh memory on all threads, a huge page at a time.
double TouchFresh(std::int64_t bytes, base::ThreadPool& pool) {
  constexpr std::int64_t kHugePage = std::int64_t{2} << 20;
  constexpr std::int64_t kPage = 4096;
  base::AlignedBuffer buffer = Take(base::AlignedBuffer::Make(bytes));
  const Clock::time_point start = Clock::now();
  pool.ParallelFor((bytes + kHugePage - 1) / kHugePage, [&](std::int64_t task) {
    const std::int64_t end = std::min(bytes, (task + 1) * kHugePage);
    for (std::int64_t i = task * kHugePage; i < end; i += kPage) buffer.data()[i] = std::byte{1};
  });
  return SecondsSince(start);
}

double Load(const std::string& folder, WeightFormat format) {
  const Clock::time_point start = Clock::now();
  const Model model = Take(Model::Load(folder, {.weights = format}));
  return SecondsSince(start);
}

std::int64_t FileBytes(const std::string& folder) {
  return static_cast<std::int64_t>(std::filesystem::file_size(folder + "/model.safetensors"));
}

void PrintLine(const std::string& what, std::int64_t bytes, const Runs& seconds) {
  fmt::print("{:36} best {:6.3f} s, {:5.2f} GB/s; median {:6.3f} s\n", what, Best(seconds),
             static_cast<double>(bytes) / Best(seconds) / 1e9, Median(seconds));
  std::fflush(stdout);
}

// What the process of `first-token FOLDER` does: writes the time of the first token to `out`.
int FirstToken(const std::string& folder, int out) {
  const Model model = Take(Model::Load(folder));
  Session session = Take(Session::Create(model));
  Request request = {.max_new_tokens = 1, .stop = {.ignore_eos = true}};
  if (model.tokenizer()) {
    request.prompt = "def hello(name):\n    ";
  } else {
    request.prompt_ids = {4299, 23748, 7, 3672, 2599, 198, 50284};
  }
  Take(session.Complete(request));
  const Clock::rep now = Clock::now().time_since_epoch().count();
  return ::write(out, &now, sizeof(now)) == sizeof(now) ? 0 : 1;
}

// Seconds from before fork and exec to the first token in the new process; the clock is one.
double TimeFirstToken(const std::string& folder) {
  std::array<int, 2> ends{};
  if (::pipe(ends.data()) != 0) std::exit(1);
  const std::string out = std::to_string(ends[1]);
  const Clock::time_point start = Clock::now();
  const pid_t child = ::fork();
  if (child == 0) {
    ::execl("/proc/self/exe", "load_model_bench", "first-token", folder.c_str(), out.c_str(),
            nullptr);
    ::_exit(127);
  }
  ::close(ends[1]);  // or nothing would be heard of a child that failed
  Clock::rep then = 0;
  int status = 0;
  const bool heard = ::read(ends[0], &then, sizeof(then)) == sizeof(then);
  ::waitpid(child, &status, 0);
  ::close(ends[0]);
  if (!heard || status != 0) std::exit(1);
  return std::chrono::duration<double>(Clock::time_point(Clock::duration(then)) - start).count();
}

// A folder that goes with the program.
class ScratchFolder {
 public:
  ScratchFolder() {
    if (::mkdtemp(path_.data()) == nullptr) std::exit(1);
  }
  ~ScratchFolder() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  ScratchFolder(const ScratchFolder&) = delete;
  ScratchFolder& operator=(const ScratchFolder&) = delete;
  const std::string& path() const { return path_; }

 private:
  std::string path_ = (std::filesystem::temp_directory_path() / "load-model-bench-XXXXXX").string();
};

void MeasureFormat(const std::string& published, const std::string& saved, WeightFormat format,
                   const std::string& tokenizer_folder) {
  const std::string name = WeightFormatName(format);
  PrintLine("load f16 to " + name, FileBytes(published),
            Measure([&] { return Load(published, format); }));
  Check(Take(Model::Load(published, {.weights = format, .tokenizer_folder = tokenizer_folder}))
            .Save(saved));
  PrintLine("load saved " + name, FileBytes(saved),
            Measure([&] { return Load(saved, WeightFormat::kAuto); }));
}

// How loading to int8 compares with what it cannot do without.
void MeasureShares(const std::string& folder, base::ThreadPool& pool) {
  const std::int64_t bytes = FileBytes(folder);
  Runs passes{};
  Runs touches{};
  Runs loads{};
  Runs of_pass{};
  Runs of_both{};
  for (std::size_t i = 0; i < kRuns; ++i) {
    passes[i] = PassOver(folder + "/model.safetensors", pool);
    touches[i] = TouchFresh(bytes / 2, pool);
    loads[i] = Load(folder, WeightFormat::kInt8);
    of_pass[i] = passes[i] / loads[i];
    of_both[i] = (passes[i] + touches[i]) / loads[i];
  }
  PrintLine("pass over f16 once", bytes, passes);
  PrintLine("touch half as much fresh memory", bytes / 2, touches);
  PrintLine("load f16 to int8, in turns with both", bytes, loads);
  fmt::print("int8 at {:.2f} of the speed of passing over, {:.2f} of that and touching memory\n",
             Median(of_pass), Median(of_both));
  std::fflush(stdout);
}

int Main(const std::string& config_file, const std::string& tokenizer_folder) {
  const auto pool = Take(base::ThreadPool::Create(base::UsableCores()));
  const ScratchFolder scratch;
  const std::string published = scratch.path() + "/published";
  std::filesystem::create_directory(published);
  WriteModel(config_file, published);
  fmt::print("{} threads\n", pool->threads());
  MeasureShares(published, *pool);
  using enum WeightFormat;
  for (const WeightFormat format : {kF16, kBf16, kInt8, kInt4}) {
    const std::string saved = scratch.path() + "/" + WeightFormatName(format);
    MeasureFormat(published, saved, format, tokenizer_folder);
    if (format == kInt8) {
      PrintLine("process start to first token, int8", FileBytes(saved),
                Measure([&] { return TimeFirstToken(saved); }));
    }
    std::filesystem::remove_all(saved);
  }
  return 0;
}

}  // namespace
}  // namespace codegen

int main(int argc, char** argv) {
  if (argc == 4 && std::strcmp(argv[1], "first-token") == 0)
    return codegen::FirstToken(argv[2], std::atoi(argv[3]));
  const std::string shape =
      argc > 1 ? argv[1] : CODEGEN_SOURCE_DIR "/bench/shapes/codegen1-350M.json";
  return codegen::Main(shape, argc > 2 ? argv[2] : "");
}
