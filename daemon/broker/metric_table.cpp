#include "daemon/broker/metric_table.h"

#include <array>

namespace hearth::broker {
namespace {

using enum Metric;
using enum MetricType;

constexpr std::array kPhaseBuckets = {0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1,  0.25,
                                      0.5,   1.0,    2.5,   5.0,  10.0,  30.0, 120.0};
constexpr std::array kGapBuckets = {0.001, 0.002, 0.005, 0.01, 0.02, 0.03,
                                    0.05,  0.075, 0.1,   0.2,  0.5,  2.0};

constexpr std::array kTable = {
#define METRIC(...) MetricRow{__VA_ARGS__},
#include "daemon/broker/metrics.def"
#undef METRIC
};

}  // namespace

std::span<const MetricRow> metric_table() {
  return kTable;
}

const MetricRow& row_of(Metric metric) {
  return kTable.at(static_cast<std::size_t>(metric));
}

std::string_view name_of(MetricType type) {
  switch (type) {
    case kCounter:
      return "counter";
    case kGauge:
      return "gauge";
    case kHistogram:
      return "histogram";
  }
  return "";
}

}  // namespace hearth::broker
