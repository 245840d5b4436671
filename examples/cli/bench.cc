// SPDX-License-Identifier: Apache-2.0
//
// codegen bench: how fast a model runs here, and how near that is to what the machine can do.

#include <fmt/format.h>

#include "bench_load.h"
#include "command.h"
#include "load.h"
#include "output.h"
#include "progress_bar.h"

namespace cli {
namespace {

Json ToJson(const codegen::MachineSpeed& machine) {
  return {{"threads", machine.threads},         {"isa", machine.isa},
          {"read_gb_s", machine.read_gb_s},     {"f32_gflops", machine.f32_gflops},
          {"bf16_gflops", machine.bf16_gflops}, {"int8_gops", machine.int8_gops}};
}

Json ToJson(const codegen::PrefillSpeed& prefill) {
  return {{"what", "prefill"},
          {"tokens", prefill.tokens},
          {"tok_s", prefill.tok_s},
          {"share_of_peak", prefill.share_of_peak}};
}

Json ToJson(const codegen::DecodeSpeed& decode) {
  return {{"what", "decode"},
          {"batch", decode.batch},
          {"context", decode.context},
          {"tok_s", decode.tok_s},
          {"share_of_bandwidth", decode.share_of_bandwidth}};
}

Json ToJson(const LoadedModel& loaded, const codegen::BenchmarkResult& result) {
  Json cases = Json::array();
  for (const codegen::PrefillSpeed& prefill : result.prefill) cases.push_back(ToJson(prefill));
  for (const codegen::DecodeSpeed& decode : result.decode) cases.push_back(ToJson(decode));
  const codegen::ModelInfo& info = loaded.model.info();
  return {{"device", codegen::DeviceName(info.device)},
          {"gpu_library", OrNull(info.gpu_library)},
          {"machine", ToJson(result.machine)},
          {"weights", codegen::WeightFormatName(info.weights)},
          {"head_weights", codegen::WeightFormatName(info.head_weights)},
          {"weight_bytes", info.weight_bytes},
          {"kv_cache", codegen::KvFormatName(info.kv_cache)},
          {"precision", codegen::ComputePrecisionName(info.precision)},
          {"peak", result.peak},
          {"load_s", loaded.load_s},
          {"results", cases}};
}

std::string ToTable(const LoadedModel& loaded, const codegen::BenchmarkResult& result) {
  const codegen::MachineSpeed& machine = result.machine;
  const codegen::ModelInfo& info = loaded.model.info();
  std::string table = fmt::format(
      "machine  {} threads, {}: reads {:.1f} GB/s, f32 {:.1f} GFLOP/s, bf16 {:.1f} GFLOP/s, "
      "int8 {:.1f} Gop/s\n"
      "weights  {}, {:.3f} GB, loaded in {:.2f} s\n\n"
      "          tokens  batch  context      tok/s\n",
      machine.threads, machine.isa, machine.read_gb_s, machine.f32_gflops, machine.bf16_gflops,
      machine.int8_gops, codegen::WeightFormatName(info.weights),
      static_cast<double>(info.weight_bytes) * 1e-9, loaded.load_s);
  for (const codegen::PrefillSpeed& speed : result.prefill) {
    table += fmt::format("prefill  {:7} {:6} {:8} {:10.1f}  {:3.0f} % of {} peak\n", speed.tokens,
                         "", "", speed.tok_s, 100 * speed.share_of_peak, result.peak);
  }
  for (const codegen::DecodeSpeed& speed : result.decode) {
    table += fmt::format("decode   {:7} {:6} {:8} {:10.1f}  {:3.0f} % of memory bandwidth\n", "",
                         speed.batch, speed.context, speed.tok_s, 100 * speed.share_of_bandwidth);
  }
  return table;
}

absl::StatusOr<codegen::BenchmarkResult> Measure(const codegen::Model& model,
                                                 codegen::BenchmarkOptions options) {
  ProgressBar bar("measuring");
  options.progress = [&bar](double share) { bar.Show(share); };
  return codegen::RunBenchmark(model, options);
}

absl::Status Run(const Flags& flags) {
  if (flags.load_test.run) return RunLoadTest(flags);
  const absl::StatusOr<LoadedModel> loaded = LoadModel(flags);
  if (!loaded.ok()) return loaded.status();
  const absl::StatusOr<codegen::BenchmarkResult> result = Measure(loaded->model, flags.bench);
  if (!result.ok()) return result.status();
  return flags.json ? WriteLine(ToJson(*loaded, *result)) : Write(ToTable(*loaded, *result));
}

absl::Status Check(const Flags& flags) {
  if (flags.model.empty() == flags.dummy_weights.empty())
    return absl::InvalidArgumentError("give --model or --dummy-weights, one of them");
  return CheckLoadTest(flags);
}

}  // namespace

Command BenchCommand() {
  return {
      .name = "bench",
      .summary = "measure the speed of a model on this machine",
      .details =
          R"(Times prefill of each prompt length, and decoding at each batch size after a prompt of the
first length; shares are of what the machine was measured to do, just before or after.
--json prints {"device", "gpu_library", "machine": {"threads", "isa", "read_gb_s", "f32_gflops",
  "bf16_gflops", "int8_gops"}, "weights", "head_weights", "weight_bytes", "kv_cache", "precision", "peak",
  "load_s", "results": [
  {"what": "prefill", "tokens", "tok_s", "share_of_peak"},
  {"what": "decode", "batch", "context", "tok_s", "share_of_bandwidth"}]}.

--load measures how a Batcher serves many clients. In a closed loop (--clients) each asks again as
soon as it is answered; in an open loop (--rate) requests come at random times, so many a second,
whether or not those before are done. Their prompts are random tokens of --prompt-tokens (of
several lengths each in turn) or the lines of --prompts; every completion has --max-new-tokens.
--mixed draws lengths at random instead, many short ones and few long ones.
Times are what a client sees, percentiles those of all requests: until the first token, between
tokens, and from asking to the end, for requests done in time. With --deadline-ms a request that
is late is ended, and "in time" is the share that was not. In an open loop the clock of a request
starts when it was due. Each point starts with an empty cache of prefixes.
--static-batches N batches as a host does by hand: all that wait, up to N, start together and the
next start when the last of these has ended. It is the same engine and computes no padding, so
what it loses to the continuous batch is lost to waiting alone.
--load --json prints {"device", "gpu_library", "weights", "weight_bytes", "kv_cache", "precision",
  "isa", "mode": "continuous|static", "max_batch", "points": [{"clients" | "rate", "requests",
  "tokens", "seconds", "tok_s", "requests_per_min", "ttft_s": {"p50", "p95", "p99"},
  "inter_token_s": {"p50", "p95", "p99"}, "end_to_end_s": {"p50", "p95", "p99"}, "goodput",
  "batch_size", "kv_usage", "preemptions", "prefix_hit_rate"}]}; requests_per_min counts those
  in time, goodput is their share, batch_size the mean over all steps, kv_usage the greatest
  share of the memory of keys and values in use.
)",
      .example =
          "codegen bench --dummy-weights config.json --prompt-tokens 128,512 --batch 1,8\n"
          "  codegen bench --load --model examples/models/codegen-tiny-python --clients 1,4,16 "
          "--plot load.svg",
      .flags = {CommonFlags(), BenchFlags(), LoadTestFlags()},
      .check = Check,
      .run = Run};
}

}  // namespace cli
