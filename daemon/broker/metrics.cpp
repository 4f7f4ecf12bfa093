#include "daemon/broker/metrics.h"

#include <algorithm>
#include <cassert>
#include <cmath>
#include <sstream>

#include <fmt/format.h>

#include "shm/base/text.h"

namespace hearth::broker {
namespace {

constexpr std::size_t kMostLabelBytes = 64;
constexpr const char* kOther = "other";

std::vector<std::string> names_of_labels(const MetricRow& row) {
  std::istringstream words{std::string(row.labels)};
  std::vector<std::string> names;
  for (std::string name; words >> name;) names.push_back(name);
  return names;
}

std::string escaped(const std::string& text) {
  std::string made;
  for (const char c : whole_utf8(text)) {
    if (c == '\\' || c == '"') made += '\\';
    if (c == '\n') {
      made += "\\n";
    } else {
      made += c;
    }
  }
  return made;
}

std::string number(double value) {
  if (std::isnan(value)) return "NaN";
  if (std::isinf(value)) return value > 0 ? "+Inf" : "-Inf";
  return fmt::format("{}", value);
}

// One metric's samples, after its two comment lines.
class Writer {
 public:
  Writer(const MetricRow& row, std::string& out)
      : row_(row), labels_(names_of_labels(row)), out_(out) {
    out_ += fmt::format("# HELP {} {}\n# TYPE {} {}\n", row.name, row.help, row.name,
                        name_of(row.type));
  }

  void write(const MetricSet::LabelValues& values, const MetricSet::Sample& sample) {
    if (row_.type != MetricType::kHistogram) return line("", values, number(sample.value));
    std::uint64_t n = 0;
    for (std::size_t i = 0; i < sample.buckets.size(); ++i) {
      n += sample.buckets[i];
      const std::string end = i < row_.buckets.size() ? number(row_.buckets[i]) : "+Inf";
      line("_bucket", values, std::to_string(n), end);
    }
    line("_sum", values, number(sample.value));
    line("_count", values, std::to_string(n));
  }

 private:
  void line(std::string_view suffix, const MetricSet::LabelValues& values, const std::string& value,
            const std::string& bucket = {}) {
    std::string pairs;
    for (std::size_t i = 0; i < labels_.size(); ++i)
      pairs += fmt::format("{}{}=\"{}\"", pairs.empty() ? "" : ",", labels_[i], escaped(values[i]));
    if (!bucket.empty()) pairs += fmt::format("{}le=\"{}\"", pairs.empty() ? "" : ",", bucket);
    out_ += fmt::format("{}{}", row_.name, suffix);
    if (!pairs.empty()) out_ += "{" + pairs + "}";
    out_ += " " + value + "\n";
  }

  const MetricRow& row_;
  const std::vector<std::string> labels_;
  std::string& out_;
};

}  // namespace

MetricSet::Sample& MetricSet::sample(Metric metric, const LabelValues& labels) {
  assert(labels.size() == names_of_labels(row_of(metric)).size());
  Series& all = series(metric);
  const auto found = all.find(labels);
  if (found != all.end()) return found->second;
  if (all.size() < kMostSeries) return all[labels];
  return all[LabelValues(labels.size(), kOther)];
}

void MetricSet::add(Metric metric, const LabelValues& labels, double by) {
  sample(metric, labels).value += by;
}

void MetricSet::set(Metric metric, const LabelValues& labels, double value) {
  sample(metric, labels).value = value;
}

void MetricSet::observe(Metric metric, const LabelValues& labels, double seconds) {
  const auto ends = row_of(metric).buckets;
  Sample& into = sample(metric, labels);
  into.buckets.resize(ends.size() + 1);
  const auto bucket = std::lower_bound(ends.begin(), ends.end(), seconds) - ends.begin();
  ++into.buckets[static_cast<std::size_t>(bucket)];
  into.value += seconds;
}

std::string exposition(const MetricSet& set) {
  std::string out;
  for (const MetricRow& row : metric_table()) {
    const MetricSet::Series& series = set.series(row.metric);
    if (series.empty()) continue;
    Writer writer(row, out);
    for (const auto& [labels, sample] : series) writer.write(labels, sample);
  }
  return out;
}

std::string LabelWords::label_of(const std::string& word) {
  const std::string label = cut(word, kMostLabelBytes);
  if (words_.contains(label)) return label;
  if (words_.size() >= kMost) return kOther;
  words_.insert(label);
  return label;
}

}  // namespace hearth::broker
