#include "daemon/broker/ending.h"

#include <algorithm>

#include "daemon/broker/residency.h"
#include "daemon/broker/schedule.h"

namespace hearth::broker {

void end_request(Core& core, Caller caller, const Error& error) {
  const OpenRequest* open = core.find_open(caller);
  if (open == nullptr) return;
  const OpenRequest request = *open;
  core.fail(caller, error);
  if (request.kind == RequestKind::kJob) {
    const auto job = core.jobs.find(request.job);
    if (job != core.jobs.end()) cancel_job(core, job->second);
  } else if (Model* model = core.models.find(request.model)) {
    stop_waiting(core, *model, caller);
  }
}

std::vector<Caller> open_work(const Core& core) {
  std::vector<Caller> open;
  for (const auto& [id, client] : core.clients)
    for (const auto& [request_id, request] : client.open)
      if (request.kind != RequestKind::kDuty) open.push_back({id, request_id, request.serial});
  return open;
}

bool is_work_open(const Core& core) {
  return std::any_of(core.clients.begin(), core.clients.end(), [](const auto& entry) {
    const auto& open = entry.second.open;
    return std::any_of(open.begin(), open.end(), [](const auto& request) {
      return request.second.kind != RequestKind::kDuty;
    });
  });
}

}  // namespace hearth::broker
