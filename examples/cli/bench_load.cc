// SPDX-License-Identifier: Apache-2.0
#include "bench_load.h"

#include <fmt/format.h>

#include <cerrno>
#include <cstdio>
#include <string>
#include <vector>

#include "load.h"
#include "load_generator.h"
#include "load_report.h"
#include "output.h"
#include "progress_bar.h"
#include "workload.h"

namespace cli {
namespace {

std::vector<LoadPoint> PointsOf(const LoadTest& test) {
  std::vector<LoadPoint> points;
  for (const double rate : test.rates) points.push_back({.rate = rate});
  if (!points.empty()) return points;
  for (const int clients : test.clients) points.push_back({.clients = clients});
  return points;
}

absl::StatusOr<LoadSummary> RunPoint(const LoadedModel& loaded, const Workload& workload,
                                     const Flags& flags, const LoadPoint& point) {
  ProgressBar bar(point.clients > 0 ? fmt::format("{} clients", point.clients)
                                    : fmt::format("{:g} requests per second", point.rate));
  const absl::StatusOr<LoadResult> result =
      RunLoad(loaded.model, workload, flags, point,
              [&bar](double share, std::string_view note) { bar.Show(share, note); });
  if (!result.ok()) return result.status();
  return Summarize(*result);
}

absl::Status WriteFigure(const std::string& name, const std::string& svg) {
  std::FILE* file = std::fopen(name.c_str(), "wb");
  if (file == nullptr) return absl::ErrnoToStatus(errno, name);
  const bool written = std::fwrite(svg.data(), 1, svg.size(), file) == svg.size();
  if (std::fclose(file) != 0 || !written) return absl::ErrnoToStatus(errno, name);
  return absl::OkStatus();
}

}  // namespace

absl::Status CheckLoadTest(const Flags& flags) {
  if (!flags.load_test.run) {
    return CheckGiven(
        flags,
        {"clients", "rate", "requests", "duration", "prompts", "max-new-tokens", "mixed", "seed",
         "deadline-ms", "max-batch", "static-batches", "kv-mb", "step-tokens", "plot"},
        "needs --load");
  }
  const auto refuse = [&flags](const char* name, const char* beside) {
    return Given(flags, beside)
               ? CheckGiven(flags, {name}, fmt::format("give this or --{}, not both", beside))
               : absl::OkStatus();
  };
  absl::Status status = CheckGiven(flags, {"batch", "new-tokens"}, "not with --load");
  status.Update(refuse("rate", "clients"));
  status.Update(refuse("duration", "requests"));
  status.Update(refuse("prompt-tokens", "prompts"));
  status.Update(refuse("max-batch", "static-batches"));
  return status;
}

absl::Status RunLoadTest(const Flags& flags) {
  const absl::StatusOr<LoadedModel> loaded = LoadModel(flags);
  if (!loaded.ok()) return loaded.status();
  const absl::StatusOr<Workload> workload = Workload::Create(flags, loaded->model);
  if (!workload.ok()) return workload.status();
  std::vector<LoadSummary> summaries;
  for (const LoadPoint& point : PointsOf(flags.load_test)) {
    const absl::StatusOr<LoadSummary> summary = RunPoint(*loaded, *workload, flags, point);
    if (!summary.ok()) return summary.status();
    summaries.push_back(*summary);
  }
  const std::string& plot = flags.load_test.plot;
  if (!plot.empty()) {
    const absl::Status drawn = WriteFigure(plot, ToFigure(*loaded, flags, summaries));
    if (!drawn.ok()) return drawn;
  }
  return flags.json ? WriteLine(ToJson(*loaded, flags, summaries))
                    : Write(ToTable(*loaded, flags, summaries));
}

}  // namespace cli
