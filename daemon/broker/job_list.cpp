#include "daemon/broker/job_list.h"

#include <algorithm>

#include <fmt/format.h>

#include "daemon/broker/ending.h"
#include "daemon/broker/rights.h"
#include "daemon/broker/schedule.h"
#include "shm/base/log.h"

namespace hearth::broker {
namespace {

constexpr std::size_t kMaxListed = 1024;

std::uint64_t ms_between(TimePoint from, TimePoint to) {
  return static_cast<std::uint64_t>(std::max(milliseconds_between(from, to), 0.0));
}

// Whose a job is; of a job that waits to be asked for again, its key knows.
uid_t user_of(const Core& core, const Job& job) {
  const auto client = core.clients.find(job.caller.connection);
  return client == core.clients.end() ? job.key.user : client->second.peer.uid;
}

void describe_caller(const Core& core, const Caller& caller, contract::JobEntry& entry) {
  const auto client = core.clients.find(caller.connection);
  if (client == core.clients.end()) return;
  entry.connection = client->second.id;
  entry.client = client->second.name;
  entry.pid = client->second.peer.pid;
}

void describe_model(Core& core, const std::string& id, contract::JobEntry& entry) {
  entry.model = id;
  if (const Model* model = core.models.find(id)) entry.name = model->name;
}

bool is_loading(Core& core, const std::string& id) {
  const Model* model = core.models.find(id);
  return model != nullptr && model->stage == Stage::kLoading;
}

contract::JobEntry entry_of(Core& core, const Job& job) {
  contract::JobEntry entry;
  entry.job = job.id;
  entry.kind = job.type == contract::Encode::kType ? "encode" : "generate";
  entry.state = job.running ? "running" : is_loading(core, job.model) ? "loading" : "queued";
  entry.uid = user_of(core, job);
  entry.waited_ms = ms_between(job.arrived, job.running ? job.dispatched : core.now());
  if (job.running) entry.running_ms = ms_between(job.dispatched, core.now());
  entry.tokens = job.tokens;
  describe_caller(core, job.caller, entry);
  describe_model(core, job.model, entry);
  return entry;
}

bool is_sent(const Core& core, const OpenRequest& request) {
  const auto count = core.counts.find(request.job);
  return count != core.counts.end() && count->second.body.empty();
}

// Of a load_model or count_tokens request.
contract::JobEntry entry_of(Core& core, const Client& client, const OpenRequest& request) {
  contract::JobEntry entry;
  entry.job = request.job;
  entry.kind = request.kind == RequestKind::kLoad ? "load" : "count_tokens";
  entry.state = "queued";
  if (request.kind == RequestKind::kLoad && is_loading(core, request.model))
    entry.state = "loading";
  if (request.kind == RequestKind::kCount && is_sent(core, request)) entry.state = "running";
  entry.uid = client.peer.uid;
  entry.waited_ms = ms_between(request.opened, core.now());
  describe_caller(core, {client.id, 0, 0}, entry);
  describe_model(core, request.model, entry);
  return entry;
}

bool is_listed(const OpenRequest& request) {
  return request.kind == RequestKind::kLoad || request.kind == RequestKind::kCount;
}

// Which jobs this client may see and end.
class Sight {
 public:
  Sight(const Core& core, const Client& client)
      : sees_all_(may_administer(core, client)), user_(client.peer.uid) {}
  bool covers(uid_t user) const { return sees_all_ || user == user_; }

 private:
  bool sees_all_;
  uid_t user_;
};

void add(std::vector<contract::JobEntry>& list, contract::JobEntry entry) {
  if (list.size() < kMaxListed) list.push_back(std::move(entry));
}

std::vector<const Job*> running_jobs(const Core& core) {
  std::vector<const Job*> running;
  for (const auto& [id, job] : core.jobs)
    if (job.running) running.push_back(&job);
  std::sort(running.begin(), running.end(), [](const Job* a, const Job* b) {
    return std::pair(a->dispatched, a->id) < std::pair(b->dispatched, b->id);
  });
  return running;
}

Error others_job(const Client& client, JobId id) {
  return fail(Code::kDenied,
              fmt::format("Job {} is another user's; this is user {}.", id, client.peer.uid));
}

// The load or count of this id.
std::optional<Caller> find_listed(const Core& core, JobId id) {
  for (const auto& [connection, client] : core.clients)
    for (const auto& [request_id, request] : client.open)
      if (is_listed(request) && request.job == id)
        return Caller{connection, request_id, request.serial};
  return std::nullopt;
}

Error ended_by(const Client& client, uid_t owner) {
  return fail(Code::kCancelled,
              fmt::format("The request was cancelled by {}.", describe_actor(client, owner)));
}

}  // namespace

contract::JobList list_jobs(Core& core, const Client& client) {
  const Sight sight(core, client);
  contract::JobList list;
  for (const Job* job : running_jobs(core))
    if (sight.covers(user_of(core, *job))) add(list.jobs, entry_of(core, *job));
  std::uint32_t place = 0;
  for (const JobId id : core.queue.order()) {
    const Job& job = core.jobs.at(id);
    contract::JobEntry entry = entry_of(core, job);
    if (entry.state == "queued") entry.place = place;
    if (sight.covers(entry.uid)) add(list.jobs, std::move(entry));
    ++place;
  }
  for (const auto& [id, each] : core.clients)
    for (const auto& [request_id, request] : each.open)
      if (is_listed(request) && sight.covers(each.peer.uid))
        add(list.jobs, entry_of(core, each, request));
  return list;
}

Result<std::string> cancel_listed_job(Core& core, const Client& client, JobId id) {
  const Sight sight(core, client);
  const auto job = core.jobs.find(id);
  std::optional<Caller> caller = find_listed(core, id);
  if (job != core.jobs.end()) caller = job->second.caller;
  if (!caller)
    return fail(Code::kBadRequest, fmt::format("There is no job {}; it may have ended.", id),
                "`hearth jobs` lists those there are.");
  const auto owner = core.clients.find(caller->connection);
  const uid_t user = job != core.jobs.end() ? user_of(core, job->second) : owner->second.peer.uid;
  if (!sight.covers(user)) return others_job(client, id);
  const Error error = ended_by(client, user);
  log::info("job {}: {}", id, error.what);
  if (core.find_open(*caller) != nullptr) {
    end_request(core, *caller, error);
  } else {
    cancel_job(core, job->second);  // of a caller that may come back
  }
  return fmt::format("Job {} was cancelled.", id);
}

}  // namespace hearth::broker
