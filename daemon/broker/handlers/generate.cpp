// generate.
#include <algorithm>
#include <set>

#include <fmt/format.h>

#include "daemon/broker/handlers/handlers.h"
#include "daemon/broker/handlers/reports.h"
#include "daemon/broker/residency.h"
#include "daemon/broker/schedule.h"
#include "shm/tensor.h"

namespace hearth::broker {
namespace {

Result<void> check_part(Core& core, const Client& client, const contract::ContentPart& part) {
  const bool is_text = part.kind == "text";
  if (is_text != !part.tensor)
    return fail(Code::kBadRequest, fmt::format("A content part of kind {} {} a tensor.", part.kind,
                                               is_text ? "has no use for" : "needs"));
  if (is_text) return {};
  const Arena* arena = core.arenas.find_of(client.id, part.tensor->arena);
  if (arena == nullptr)
    return fail(Code::kBadTensor,
                fmt::format("arena: {} is not held by this connection.", part.tensor->arena));
  return check_descriptor(*part.tensor, arena->nbytes);
}

// Checks all tensors; gives the arenas they lie in, each once.
Result<std::vector<ArenaId>> check_tensors(Core& core, const Client& client,
                                           const contract::Generate& message) {
  std::set<ArenaId> arenas;
  std::size_t n_tensors = 0;
  for (const contract::ChatMessage& turn : message.messages) {
    for (const contract::ContentPart& part : turn.content) {
      CHECK_OK(check_part(core, client, part));
      if (!part.tensor) continue;
      arenas.insert(part.tensor->arena);
      ++n_tensors;
    }
  }
  if (n_tensors > core.config.limits.tensors)
    return fail(
        Code::kBadRequest,
        fmt::format("The request has {} tensors, over {}.", n_tensors, core.config.limits.tensors),
        "Send fewer pictures in one request.");
  return std::vector<ArenaId>(arenas.begin(), arenas.end());
}

Result<void> check_stop(const contract::Generate& message) {
  const auto& stop = message.stop;
  if (std::none_of(stop.begin(), stop.end(), [](const std::string& s) { return s.empty(); }))
    return {};
  return fail(Code::kBadRequest, "stop: an empty string would end every answer at once.");
}

Result<Job> make_job(Core& core, const Client& client, contract::Generate message) {
  CHECK_OK(check_stop(message));
  TRY(std::vector<ArenaId> arenas, check_tensors(core, client, message));
  const Model* model = core.models.find_for(client.id, message.model);
  if (model == nullptr) return unknown_model(message.model);
  CHECK_OK(check_quarantine(core, *model));
  message.model = model->id;
  Job job;
  job.id = core.next_job_id();
  job.model = model->id;
  job.arenas = std::move(arenas);
  job.body = contract::pack(message);
  job.arrived = core.now();
  return job;
}

}  // namespace

void handle(Core& core, Client& client, Request request, contract::Generate message) {
  auto job = make_job(core, client, std::move(message));
  const Caller caller = core.open(client, request.caller.request_id, RequestKind::kGenerate);
  if (!job) return core.fail(caller, job.error());
  core.find_open(caller)->job = job->id;
  job->caller = caller;
  hold(*core.models.find(job->model), client.id);
  enqueue(core, *std::move(job));
}

}  // namespace hearth::broker
