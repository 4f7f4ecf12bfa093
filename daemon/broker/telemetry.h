// What the broker remembers of what it did, for those who look after it. observe.h fills it in.
//
// Plain values, no ports. The upgrade of the broker keeps records, errors, counts,
// model_words and device; the rest begins anew.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "daemon/broker/metrics.h"
#include "daemon/broker/ports.h"
#include "daemon/broker/records.h"

namespace hearth::broker {

struct Telemetry {
  Records records;
  ErrorLog errors;
  MetricSet counts;              // counters and histograms; gauges are read when they are asked for
  LabelWords model_words;        // names of models that are labels
  contract::DeviceState device;  // as the engine last told of it
  TimePoint device_at;           // when that was
  // Names of the models that left for one that is to be loaded, by its id; until it is.
  std::map<std::string, std::vector<std::string>> evicted_for;

  TimePoint metrics_due;                       // when metrics_file is written next
  OffLoop::Ticket metrics_writing = 0;         // off the loop; 0: it is not
  TimePoint metrics_late;                      // when that has taken too long
  bool metrics_failing = false;                // said once
  TimePoint stalled_since = TimePoint::max();  // the outermost input began; max: none is handled
};

}  // namespace hearth::broker
