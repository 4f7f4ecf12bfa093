// How well the service is, in one word, and why it is not better. A pure function of the core.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "daemon/broker/core.h"

namespace hearth::broker {

enum class HealthLevel { kFailed, kListening, kGpuOk, kLoaded, kWarm };

struct Health {
  HealthLevel level = HealthLevel::kListening;
  std::vector<std::string> reasons;  // sentences; at most 16
};

std::string_view name_of(HealthLevel level);  // as in status_report
HealthLevel level_of(Core& core);
Health health_of(Core& core);  // and why it is no better
// Of the reasons, those that are about what engine and device do unasked, and name nobody's models.
std::vector<std::string> faults_of(Core& core);

}  // namespace hearth::broker
