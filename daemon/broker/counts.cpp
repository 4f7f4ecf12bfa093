#include "daemon/broker/counts.h"

#include <algorithm>
#include <utility>

namespace hearth::broker {
namespace {

// The question is over, whoever asked it.
CountCall take(Core& core, JobId id) {
  CountCall count = core.counts.extract(id).mapped();
  if (count.is_orphan) core.accounts.release(count.user, {.open_requests = 1});
  return count;
}

template <class Predicate>
std::vector<JobId> ids_of(const Core& core, Predicate is_meant) {
  std::vector<JobId> ids;
  for (const auto& [id, count] : core.counts)
    if (is_meant(count)) ids.push_back(id);
  return ids;
}

template <class Predicate>
void end_counts(Core& core, const Error& error, Predicate is_meant) {
  for (const JobId id : ids_of(core, is_meant)) core.fail(take(core, id).caller, error);
}

template <class Predicate>
void drop(Core& core, Predicate is_meant) {
  for (const JobId id : ids_of(core, is_meant)) {
    CountCall& count = core.counts.at(id);
    if (!count.body.empty()) {
      core.counts.erase(id);
    } else if (!std::exchange(count.is_orphan, true)) {
      core.accounts.acquire(count.user, {.open_requests = 1});
    }
  }
}

}  // namespace

JobId ask_count(Core& core, Model& model, Caller caller, std::string body) {
  const JobId id = core.next_job_id();
  const uid_t user = core.clients.at(caller.connection).peer.uid;
  core.counts[id] = CountCall{caller, model.id, std::move(body), user, false};
  return id;
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
  if (frame.type == contract::TokensCounted::kType) {
    const auto counted = read_body<contract::TokensCounted>(frame);
    if (!counted) return false;
    core.reply(take(core, id).caller, *counted);
    return true;
  }
  const auto error = read_body<contract::Error>(frame);
  if (frame.type != contract::Error::kType || !error) return false;
  core.fail(take(core, id).caller,
            fail(parse_code(error->code).value_or(Code::kInternal), error->what, error->hint));
  return true;
}

void fail_waiting_counts(Core& core, const Model& model, const Error& error) {
  end_counts(core, error, [&](const CountCall& count) {
    return count.model == model.id && !count.body.empty();
  });
}

void counts_lose_worker(Core& core, const Error& error) {
  end_counts(core, error, [](const CountCall&) { return true; });
}

void sent_counts_lose_worker(Core& core, const Error& error) {
  end_counts(core, error, [](const CountCall& count) { return count.body.empty(); });
}

bool is_any_count_sent(const Core& core) {
  return std::any_of(core.counts.begin(), core.counts.end(),
                     [](const auto& entry) { return entry.second.body.empty(); });
}

void drop_count(Core& core, Caller caller) {
  drop(core, [&](const CountCall& count) { return count.caller == caller; });
}

void drop_counts_of(Core& core, ConnectionId client) {
  drop(core, [&](const CountCall& count) { return count.caller.connection == client; });
}

}  // namespace hearth::broker
