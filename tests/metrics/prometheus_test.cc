// SPDX-License-Identifier: Apache-2.0
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <limits>
#include <locale>
#include <map>
#include <set>
#include <sstream>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "codegen/metrics.h"
#include "metrics/histogram.h"
#include "metrics/recorder.h"

namespace codegen {
namespace {

using testing::AnyOf;
using testing::HasSubstr;

// A page as Prometheus scrapes it.
struct Scraped {
  std::string name;
  std::map<std::string, std::string> labels;
  double value = 0;
};

constexpr std::string_view kNameCharacters =
    "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ_0123456789";
constexpr std::string_view kMetricCharacters =
    "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ_0123456789:";

// What is left of a line. Each method takes a part from its front, or finds fault with it.
class LineReader {
 public:
  explicit LineReader(std::string_view line) : line_(line), rest_(line) {}

  bool Skip(std::string_view literal) {
    if (!rest_.starts_with(literal)) return false;
    rest_.remove_prefix(literal.size());
    return true;
  }

  void Expect(std::string_view literal) {
    EXPECT_TRUE(Skip(literal)) << "expected " << literal << " before " << rest_ << " in " << line_;
  }

  std::string Take(std::string_view allowed) {
    const std::size_t size = std::min(rest_.find_first_not_of(allowed), rest_.size());
    const std::string taken(rest_.substr(0, size));
    rest_.remove_prefix(size);
    return taken;
  }

  std::string Name(std::string_view allowed) {
    const std::string name = Take(allowed);
    EXPECT_TRUE(!name.empty() && (name[0] < '0' || name[0] > '9')) << "no name in " << line_;
    return name;
  }

  // As it is written, between its quotes. Its escapes are \\, \" and \n.
  std::string LabelValue() {
    std::string value;
    Expect("\"");
    while (!rest_.empty() && rest_[0] != '"') {
      const bool escaped = rest_[0] == '\\';
      if (escaped) {
        EXPECT_THAT(rest_.substr(0, 2), AnyOf(R"(\\)", R"(\")", R"(\n)")) << line_;
      }
      value += rest_.substr(0, escaped ? 2 : 1);
      rest_.remove_prefix(std::min<std::size_t>(rest_.size(), escaped ? 2 : 1));
    }
    Expect("\"");
    return value;
  }

  std::map<std::string, std::string> Labels() {
    std::map<std::string, std::string> labels;
    if (!Skip("{")) return labels;
    do {
      const std::string name = Name(kNameCharacters);
      Expect("=");
      EXPECT_TRUE(labels.emplace(name, LabelValue()).second) << "a label twice in " << line_;
    } while (Skip(","));
    Expect("}");
    return labels;
  }

  double Number() {
    const std::string text(std::exchange(rest_, {}));
    const bool is_word = text == "+Inf" || text == "-Inf" || text == "NaN";
    EXPECT_TRUE(is_word || text.find_first_not_of("0123456789+-.e") == text.npos) << line_;
    char* end = nullptr;
    const double number = std::strtod(text.c_str(), &end);
    EXPECT_TRUE(!text.empty() && *end == '\0') << "no number at the end of " << line_;
    return number;
  }

  std::string_view rest() const { return rest_; }

 private:
  std::string_view line_;
  std::string_view rest_;
};

// Whether a sample of `name` may follow "# TYPE family type".
bool BelongsTo(const std::string& name, const std::string& family, const std::string& type) {
  if (type != "histogram") return name == family;
  return name == family + "_bucket" || name == family + "_sum" || name == family + "_count";
}

// Checks the syntax of every line, and that the lines of a family stand together below its head.
class Scraper {
 public:
  std::vector<Scraped> Read(const std::string& page) {
    EXPECT_TRUE(page.ends_with('\n'));
    std::istringstream lines(page);
    for (std::string line; std::getline(lines, line);) ReadLine(line);
    EXPECT_EQ(families_, typed_) << "a family without a type";
    return samples_;
  }

 private:
  void ReadLine(const std::string& text) {
    LineReader line(text);
    if (line.Skip("# HELP ")) {
      ReadHelp(line);
    } else if (line.Skip("# TYPE ")) {
      ReadType(line);
    } else {
      ReadSample(line, text);
    }
  }

  void ReadHelp(LineReader line) {
    family_ = line.Name(kMetricCharacters);
    EXPECT_TRUE(families_.insert(family_).second) << "a family twice: " << family_;
    line.Expect(" ");
    EXPECT_FALSE(line.rest().empty()) << family_;
  }

  void ReadType(LineReader line) {
    EXPECT_EQ(line.Name(kMetricCharacters), family_);
    EXPECT_TRUE(typed_.insert(family_).second) << "a type twice: " << family_;
    line.Expect(" ");
    type_ = line.rest();
    EXPECT_THAT(type_, AnyOf("counter", "gauge", "histogram"));
  }

  void ReadSample(LineReader line, const std::string& text) {
    const std::string name = line.Name(kMetricCharacters);
    EXPECT_TRUE(typed_.contains(family_) && BelongsTo(name, family_, type_)) << text;
    const std::map<std::string, std::string> labels = line.Labels();
    line.Expect(" ");
    samples_.push_back({name, labels, line.Number()});
    EXPECT_TRUE(series_.insert(text.substr(0, text.rfind(' '))).second) << "twice: " << text;
  }

  std::string family_;
  std::string type_;
  std::set<std::string> families_;
  std::set<std::string> typed_;
  std::set<std::string> series_;
  std::vector<Scraped> samples_;
};

std::vector<Scraped> Scrape(const std::string& page) { return Scraper().Read(page); }

double ValueOf(const std::vector<Scraped>& samples, std::string_view name) {
  for (const Scraped& sample : samples)
    if (sample.name == name) return sample.value;
  ADD_FAILURE() << "no " << name;
  return 0;
}

// Two bounds, and each of `values`.
Histogram Of(const std::vector<double>& values) {
  Histogram histogram = metrics::MakeHistogram({0.00001, 2.5});
  for (const double value : values) metrics::Observe(value, histogram);
  return histogram;
}

// No two numbers the same, so that none can stand for another.
Metrics SmallMetrics() {
  return {.requests_running = 3,
          .requests_waiting = 2,
          .kv_usage = 0.375,
          .kv_blocks = 64,
          .kv_blocks_cached = 12,
          .requests_accepted = 40,
          .requests_refused = 4,
          .requests_finished = {10, 20, 300, 4000, 50000, 600000},
          .prompt_tokens = 1000,
          .generation_tokens = 2000,
          .prefix_cache_queries = 990,
          .prefix_cache_hits = 640,
          .preemptions = 1,
          .steps = 77,
          .time_to_first_token = Of({0.000005, 0.5, 1.25, 100}),
          .inter_token = Of({0.015625}),
          .queue_time = Of({0.03125}),
          .prefill_time = Of({0.0625}),
          .decode_time = Of({0.125}),
          .end_to_end = Of({0.25}),
          .step_time = Of({0.1}),
          .step_rows = Of({1, 20}),
          .batch_size = Of({2})};
}

constexpr char kSmallPage[] =
    R"page(# HELP vllm:num_requests_running Samples with memory and a place in the batch.
# TYPE vllm:num_requests_running gauge
vllm:num_requests_running 3
# HELP vllm:num_requests_waiting Samples that wait for memory or a place.
# TYPE vllm:num_requests_waiting gauge
vllm:num_requests_waiting 2
# HELP vllm:kv_cache_usage_perc Share of the KV blocks that requests hold; 1 is all.
# TYPE vllm:kv_cache_usage_perc gauge
vllm:kv_cache_usage_perc 0.375
# HELP codegen:kv_blocks KV blocks in all.
# TYPE codegen:kv_blocks gauge
codegen:kv_blocks 64
# HELP codegen:kv_blocks_cached KV blocks kept for their prefix alone.
# TYPE codegen:kv_blocks_cached gauge
codegen:kv_blocks_cached 12
# HELP codegen:requests_accepted_total Requests accepted.
# TYPE codegen:requests_accepted_total counter
codegen:requests_accepted_total 40
# HELP codegen:requests_refused_total Requests refused.
# TYPE codegen:requests_refused_total counter
codegen:requests_refused_total 4
# HELP vllm:prompt_tokens_total Tokens of the prompts computed so far.
# TYPE vllm:prompt_tokens_total counter
vllm:prompt_tokens_total 1000
# HELP vllm:generation_tokens_total Tokens generated so far.
# TYPE vllm:generation_tokens_total counter
vllm:generation_tokens_total 2000
# HELP vllm:prefix_cache_queries_total Prompt tokens looked up in the prefix cache.
# TYPE vllm:prefix_cache_queries_total counter
vllm:prefix_cache_queries_total 990
# HELP vllm:prefix_cache_hits_total Prompt tokens found in the prefix cache.
# TYPE vllm:prefix_cache_hits_total counter
vllm:prefix_cache_hits_total 640
# HELP vllm:num_preemptions_total Times that a request lost its memory.
# TYPE vllm:num_preemptions_total counter
vllm:num_preemptions_total 1
# HELP codegen:steps_total Steps of the device.
# TYPE codegen:steps_total counter
codegen:steps_total 77
# HELP vllm:request_success_total Requests that ended, by vLLM's reasons.
# TYPE vllm:request_success_total counter
vllm:request_success_total{finished_reason="stop"} 310
vllm:request_success_total{finished_reason="length"} 20
vllm:request_success_total{finished_reason="abort"} 54000
vllm:request_success_total{finished_reason="error"} 600000
# HELP codegen:requests_finished_total Requests that ended, by reason.
# TYPE codegen:requests_finished_total counter
codegen:requests_finished_total{reason="stop"} 10
codegen:requests_finished_total{reason="length"} 20
codegen:requests_finished_total{reason="eos"} 300
codegen:requests_finished_total{reason="cancelled"} 4000
codegen:requests_finished_total{reason="deadline"} 50000
codegen:requests_finished_total{reason="error"} 600000
# HELP vllm:time_to_first_token_seconds From arrival to the first token.
# TYPE vllm:time_to_first_token_seconds histogram
vllm:time_to_first_token_seconds_bucket{le="1e-05"} 1
vllm:time_to_first_token_seconds_bucket{le="2.5"} 3
vllm:time_to_first_token_seconds_bucket{le="+Inf"} 4
vllm:time_to_first_token_seconds_sum 101.750005
vllm:time_to_first_token_seconds_count 4
# HELP vllm:inter_token_latency_seconds Between the tokens of a sample.
# TYPE vllm:inter_token_latency_seconds histogram
vllm:inter_token_latency_seconds_bucket{le="1e-05"} 0
vllm:inter_token_latency_seconds_bucket{le="2.5"} 1
vllm:inter_token_latency_seconds_bucket{le="+Inf"} 1
vllm:inter_token_latency_seconds_sum 0.015625
vllm:inter_token_latency_seconds_count 1
# HELP vllm:request_queue_time_seconds From arrival until first scheduled.
# TYPE vllm:request_queue_time_seconds histogram
vllm:request_queue_time_seconds_bucket{le="1e-05"} 0
vllm:request_queue_time_seconds_bucket{le="2.5"} 1
vllm:request_queue_time_seconds_bucket{le="+Inf"} 1
vllm:request_queue_time_seconds_sum 0.03125
vllm:request_queue_time_seconds_count 1
# HELP vllm:request_prefill_time_seconds From scheduled to the first token.
# TYPE vllm:request_prefill_time_seconds histogram
vllm:request_prefill_time_seconds_bucket{le="1e-05"} 0
vllm:request_prefill_time_seconds_bucket{le="2.5"} 1
vllm:request_prefill_time_seconds_bucket{le="+Inf"} 1
vllm:request_prefill_time_seconds_sum 0.0625
vllm:request_prefill_time_seconds_count 1
# HELP vllm:request_decode_time_seconds From the first token to the end.
# TYPE vllm:request_decode_time_seconds histogram
vllm:request_decode_time_seconds_bucket{le="1e-05"} 0
vllm:request_decode_time_seconds_bucket{le="2.5"} 1
vllm:request_decode_time_seconds_bucket{le="+Inf"} 1
vllm:request_decode_time_seconds_sum 0.125
vllm:request_decode_time_seconds_count 1
# HELP vllm:e2e_request_latency_seconds From arrival to the end.
# TYPE vllm:e2e_request_latency_seconds histogram
vllm:e2e_request_latency_seconds_bucket{le="1e-05"} 0
vllm:e2e_request_latency_seconds_bucket{le="2.5"} 1
vllm:e2e_request_latency_seconds_bucket{le="+Inf"} 1
vllm:e2e_request_latency_seconds_sum 0.25
vllm:e2e_request_latency_seconds_count 1
# HELP codegen:step_time_seconds Of one step of the device.
# TYPE codegen:step_time_seconds histogram
codegen:step_time_seconds_bucket{le="1e-05"} 0
codegen:step_time_seconds_bucket{le="2.5"} 1
codegen:step_time_seconds_bucket{le="+Inf"} 1
codegen:step_time_seconds_sum 0.1
codegen:step_time_seconds_count 1
# HELP vllm:iteration_tokens_total Tokens computed in one step.
# TYPE vllm:iteration_tokens_total histogram
vllm:iteration_tokens_total_bucket{le="1e-05"} 0
vllm:iteration_tokens_total_bucket{le="2.5"} 1
vllm:iteration_tokens_total_bucket{le="+Inf"} 2
vllm:iteration_tokens_total_sum 21
vllm:iteration_tokens_total_count 2
# HELP codegen:batch_size Samples in one step.
# TYPE codegen:batch_size histogram
codegen:batch_size_bucket{le="1e-05"} 0
codegen:batch_size_bucket{le="2.5"} 1
codegen:batch_size_bucket{le="+Inf"} 1
codegen:batch_size_sum 2
codegen:batch_size_count 1
)page";

TEST(Prometheus, WritesTheExpectedPage) { EXPECT_EQ(SmallMetrics().ToPrometheus(), kSmallPage); }

TEST(Prometheus, WritesOnlyLinesThatAScraperReads) {
  const Metrics fresh = metrics::Recorder().Snapshot();

  for (const Metrics& metrics : {Metrics(), fresh, SmallMetrics()})
    for (const char* labels : {"", R"(model_name="m")", R"(model_name="a\"b\\c\n",engine="0")"})
      EXPECT_FALSE(Scrape(metrics.ToPrometheus(labels)).empty());
}

TEST(Prometheus, PutsTheLabelsOfTheHostOnEverySample) {
  const std::string page = SmallMetrics().ToPrometheus(R"(model_name="m",engine="0")");

  for (const Scraped& sample : Scrape(page)) {
    EXPECT_EQ(sample.labels.at("model_name"), "m") << sample.name;
    EXPECT_EQ(sample.labels.at("engine"), "0") << sample.name;
  }
  EXPECT_THAT(page, HasSubstr("\ncodegen:steps_total{model_name=\"m\",engine=\"0\"} 77\n"));
}

TEST(Prometheus, JoinsTheLabelsOfTheHostWithItsOwn) {
  const std::string page = SmallMetrics().ToPrometheus(R"(a="b")");

  EXPECT_THAT(page, HasSubstr("\ncodegen:batch_size_bucket{a=\"b\",le=\"2.5\"} 1\n"));
  EXPECT_THAT(page, HasSubstr("\ncodegen:batch_size_bucket{a=\"b\",le=\"+Inf\"} 1\n"));
  EXPECT_THAT(page, HasSubstr("\nvllm:request_success_total{a=\"b\",finished_reason=\"stop\"} "));
  EXPECT_THAT(page, HasSubstr("\ncodegen:requests_finished_total{a=\"b\",reason=\"eos\"} "));
}

TEST(Prometheus, AccumulatesBucketsUpToTheCount) {
  metrics::Recorder recorder;
  for (int i = 1; i <= 300; ++i)
    recorder.Step({.seconds = i * 1e-4, .rows = 100 * i, .samples = 1 + i % 7});

  std::map<std::string, std::vector<Scraped>> buckets;
  const std::vector<Scraped> samples = Scrape(recorder.Snapshot().ToPrometheus());
  for (const Scraped& sample : samples)
    if (sample.labels.contains("le")) buckets[sample.name].push_back(sample);

  ASSERT_EQ(buckets.size(), 9U);
  for (const auto& [name, lines] : buckets) {
    const std::string family = name.substr(0, name.rfind("_bucket"));
    for (std::size_t i = 1; i < lines.size(); ++i) {
      EXPECT_LE(lines[i - 1].value, lines[i].value) << name;
      EXPECT_LT(std::stod(lines[i - 1].labels.at("le")), std::stod(lines[i].labels.at("le")))
          << name;
    }
    EXPECT_EQ(lines.back().labels.at("le"), "+Inf");
    EXPECT_EQ(lines.back().value, ValueOf(samples, family + "_count")) << name;
  }
  EXPECT_EQ(buckets["codegen:step_time_seconds_bucket"].back().value, 300);
}

TEST(Prometheus, WritesNumbersThatReadBackExactly) {
  for (const double number : {0.1, 1.0 / 3, 1e-9, 123456789.123456789, 5e-324, 1.7e308}) {
    Metrics metrics;
    metrics.step_time.sum = number;
    metrics.kv_usage = number;

    const std::vector<Scraped> samples = Scrape(metrics.ToPrometheus());

    EXPECT_EQ(ValueOf(samples, "codegen:step_time_seconds_sum"), number);
    EXPECT_EQ(ValueOf(samples, "vllm:kv_cache_usage_perc"), number);
  }
}

TEST(Prometheus, WritesEveryDigitOfACounter) {
  const Metrics metrics{.steps = std::numeric_limits<std::uint64_t>::max()};

  EXPECT_THAT(metrics.ToPrometheus(), HasSubstr("\ncodegen:steps_total 18446744073709551615\n"));
}

TEST(Prometheus, WritesInfinityAndNaNInItsOwnWords) {
  Metrics metrics;
  metrics.step_time.sum = std::numeric_limits<double>::infinity();
  metrics.batch_size.sum = -std::numeric_limits<double>::infinity();
  metrics.kv_usage = std::numeric_limits<double>::quiet_NaN();

  const std::string page = metrics.ToPrometheus();

  EXPECT_THAT(page, HasSubstr("\ncodegen:step_time_seconds_sum +Inf\n"));
  EXPECT_THAT(page, HasSubstr("\ncodegen:batch_size_sum -Inf\n"));
  EXPECT_THAT(page, HasSubstr("\nvllm:kv_cache_usage_perc NaN\n"));
}

// As in German: 1.234,5.
class CommaPoint : public std::numpunct<char> {
  char do_decimal_point() const override { return ','; }
  char do_thousands_sep() const override { return '.'; }
  std::string do_grouping() const override { return "\3"; }
};

TEST(Prometheus, DoesNotDependOnTheLocale) {
  const std::locale before = std::locale::global(std::locale(std::locale(), new CommaPoint));

  const std::string page = SmallMetrics().ToPrometheus();
  std::locale::global(before);

  EXPECT_EQ(page, kSmallPage);
}

TEST(Prometheus, ToleratesHistogramsThatAHostMade) {
  Metrics metrics;
  metrics.batch_size = {.bounds = {1, 2, 3}, .counts = {5}, .count = 5, .sum = 5};

  const std::string page = metrics.ToPrometheus();

  EXPECT_THAT(page, HasSubstr("codegen:batch_size_bucket{le=\"1\"} 5\n"
                              "codegen:batch_size_bucket{le=\"+Inf\"} 5\n"));
}

}  // namespace
}  // namespace codegen
