// Numbers under the names of metric_table.h, and their Prometheus text.
//
// A set holds for each metric one sample for each combination of its labels' values. There are at
// most kMostSeries of them; what comes after them is counted with the word `other` in the place of
// every label's value, so that no client makes the set grow. Plain values, no ports.
#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "daemon/broker/metric_table.h"

namespace hearth::broker {

namespace handover {
struct Access;
}

class MetricSet {
 public:
  using LabelValues = std::vector<std::string>;  // as many as the metric has labels
  struct Sample {
    double value = 0.0;                  // of a histogram: the sum
    std::vector<std::uint64_t> buckets;  // of a histogram: counts, not cumulative; last: above all
  };
  using Series = std::map<LabelValues, Sample>;
  static constexpr std::size_t kMostSeries = 512;  // of one metric

  void add(Metric metric, const LabelValues& labels = {}, double by = 1.0);
  void set(Metric metric, const LabelValues& labels, double value);
  void observe(Metric metric, const LabelValues& labels, double seconds);

  const Series& series(Metric metric) const { return all_[static_cast<std::size_t>(metric)]; }
  Series& series(Metric metric) { return all_[static_cast<std::size_t>(metric)]; }

 private:
  friend struct handover::Access;
  Sample& sample(Metric metric, const LabelValues& labels);

  std::array<Series, static_cast<std::size_t>(Metric::kEnd)> all_;
};

// Prometheus' text exposition format 0.0.4. Metrics without a sample are left out.
std::string exposition(const MetricSet& set);

// A word of a client's as the value of a label: cut to 64 bytes, and `other` when there are 64 of
// them.
class LabelWords {
 public:
  static constexpr std::size_t kMost = 64;

  std::string label_of(const std::string& word);
  std::set<std::string>& words() { return words_; }
  const std::set<std::string>& words() const { return words_; }

 private:
  friend struct handover::Access;
  std::set<std::string> words_;
};

}  // namespace hearth::broker
