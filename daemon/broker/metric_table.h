// Every metric of the service, declared once: name, type, labels, buckets, meaning. docs/metrics.md
// is compared with this table by a test. To add one: its line in metrics.def, its line in the
// document, its curve in docs/grafana.json, and the place where the number comes from.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>

namespace hearth::broker {

enum class Metric : std::uint8_t {
#define METRIC(metric, ...) metric,
#include "daemon/broker/metrics.def"
#undef METRIC
  kEnd
};

enum class MetricType : std::uint8_t { kCounter, kGauge, kHistogram };

struct MetricRow {
  Metric metric;
  std::string_view name;
  MetricType type;
  std::string_view labels;  // their names, with blanks between
  std::string_view help;
  std::span<const double> buckets = {};  // upper ends, rising; of a histogram
};

// In the order of Metric.
std::span<const MetricRow> metric_table();
const MetricRow& row_of(Metric metric);
std::string_view name_of(MetricType type);

}  // namespace hearth::broker
