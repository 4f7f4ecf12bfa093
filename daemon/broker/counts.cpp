#include "daemon/broker/counts.h"

#include <algorithm>
#include <utility>

namespace hearth::broker {

void ask_count(Core& core, Model& model, Caller caller, std::string body) {
  core.counts[core.next_job_id()] = CountCall{caller, model.id, std::move(body)};
}

bool awaits_counts(const Core& core, const Model& model) {
  return std::any_of(core.counts.begin(), core.counts.end(), [&](const auto& entry) {
    return entry.second.model == model.id && !entry.second.body.empty();
  });
}

void send_counts(Core& core, const Model& model) {
  for (auto& [id, count] : core.counts)
    if (count.model == model.id && !count.body.empty())
      core.worker.send(
          OutFrame{contract::CountTokens::kType, id, std::exchange(count.body, {}), {}});
}

bool count_answered(Core& core, JobId id, const InFrame& frame) {
  const Caller caller = core.counts.at(id).caller;
  if (frame.type == contract::TokensCounted::kType) {
    const auto counted = read_body<contract::TokensCounted>(frame);
    if (!counted) return false;
    core.counts.erase(id);
    core.reply(caller, *counted);
    return true;
  }
  const auto error = read_body<contract::Error>(frame);
  if (frame.type != contract::Error::kType || !error) return false;
  core.counts.erase(id);
  core.fail(caller,
            fail(parse_code(error->code).value_or(Code::kInternal), error->what, error->hint));
  return true;
}

void fail_waiting_counts(Core& core, const Model& model, const Error& error) {
  std::vector<Caller> callers;
  std::erase_if(core.counts, [&](const auto& entry) {
    const CountCall& count = entry.second;
    const bool ends = count.model == model.id && !count.body.empty();
    if (ends) callers.push_back(count.caller);
    return ends;
  });
  for (const Caller caller : callers) core.fail(caller, error);
}

void counts_lose_worker(Core& core, const Error& error) {
  for (const auto& [id, count] : std::exchange(core.counts, {})) core.fail(count.caller, error);
}

void drop_count(Core& core, Caller caller) {
  std::erase_if(core.counts, [&](const auto& entry) { return entry.second.caller == caller; });
}

void drop_counts_of(Core& core, ConnectionId client) {
  std::erase_if(core.counts,
                [&](const auto& entry) { return entry.second.caller.connection == client; });
}

}  // namespace hearth::broker
