#include "daemon/broker/keys.h"

#include <algorithm>
#include <functional>

#include "daemon/broker/observe.h"
#include "daemon/broker/schedule.h"

namespace hearth::broker {
namespace {

// Of one token event when an answer is told again. Thousands of small ones would keep the loop from
// everybody else.
constexpr std::size_t kSaidBytes = 64 * 1024;

std::size_t bytes_in(const contract::Token& token) {
  return token.text.size() + token.token_ids.size();
}

template <class M>
std::uint64_t hash_of(M& message) {
  message.key.clear();
  message.priority.clear();
  for (contract::ChatMessage& turn : message.messages) {
    for (contract::ContentPart& part : turn.content) {
      if (part.tensor) part.tensor->arena = 0;
      if (part.tensor) part.tensor->offset = 0;
    }
  }
  return std::hash<std::string>()(contract::pack(message));
}

Error another_request() {
  return fail(Code::kBadRequest, "key: it belongs to another request, which asked something else.",
              "Give every request a random key of its own.");
}

// Its result will lie in memory that only the first caller's connection has.
bool is_bound_elsewhere(const Job& job, const Caller& caller) {
  return job.type == contract::Encode::kType && job.running &&
         job.caller.connection != caller.connection;
}

bool take_over(Core& core, Job& job, const Job& sent) {
  if (job.cancelled || is_bound_elsewhere(job, sent.caller)) {
    cancel_job(core, job);
    return false;
  }
  const Caller before = std::exchange(job.caller, sent.caller);
  core.find_open(sent.caller)->job = job.id;
  core.queue.hand_over(job.id, sent.caller.connection);
  std::erase(core.left_jobs, job.id);  // left again, it is the last
  job.left_until = TimePoint::max();
  job.told_place = Job::kNotTold;
  catch_up(core, sent, job.said);
  core.fail(before, fail(Code::kCancelled,
                         "The same request was sent again; its answer goes "
                         "there."));
  return true;
}

void replay(Core& core, const Job& sent, const std::string& body) {
  auto generated = contract::unpack<contract::Generated>(bytes_of(body));
  if (!generated) return core.fail(sent.caller, fail(Code::kInternal, generated.error().what));
  catch_up(core, sent, whole_answers(*generated));
  observe_answer(core, sent.caller, generated->receipt);
  core.reply(sent.caller, *generated);
}

// An answer's thoughts, then its text. Which token belongs to which is not known any more: the ids
// go with the text.
template <class AnswerType>
void say(std::uint32_t number, const AnswerType& answer, std::vector<contract::Token>& whole) {
  contract::Token piece;
  piece.answer = number;
  piece.thinking = true;
  piece.text = answer.thinking;
  if (!piece.text.empty()) whole.push_back(piece);
  piece.thinking = false;
  piece.text = answer.text;
  piece.token_ids = answer.token_ids;
  whole.push_back(std::move(piece));
}

std::vector<JobId> left_jobs_of(const Core& core, ConnectionId connection) {
  std::vector<JobId> jobs;
  for (const JobId id : core.left_jobs) {
    const auto job = core.jobs.find(id);
    if (job == core.jobs.end() || job->second.left_until == TimePoint::max()) continue;
    if (job->second.caller.connection == connection) jobs.push_back(id);
  }
  return jobs;
}

}  // namespace

void catch_up(Core& core, const Job& sent, const std::vector<contract::Token>& said) {
  if (!sent.arenas.empty()) core.event(sent.caller, make_frame(0, contract::InputsDone{}));
  for (const contract::Token& token : said) core.event(sent.caller, make_frame(0, token));
}

std::vector<contract::Token> whole_answers(const contract::Generated& generated) {
  std::vector<contract::Token> whole;
  say(0, generated, whole);
  for (std::size_t i = 0; i < generated.others.size(); ++i)
    say(static_cast<std::uint32_t>(i + 1), generated.others[i], whole);
  return whole;
}

std::uint64_t fingerprint_of(contract::Generate message) {
  return hash_of(message);
}

std::uint64_t fingerprint_of(contract::Encode message) {
  return hash_of(message);
}

bool resume(Core& core, const Job& sent) {
  if (!sent.key) return false;
  const Recent::Running* running = core.recent.find_running(sent.key);
  const Recent::Answer* answer = core.recent.find_answer(sent.key, core.now());
  if (running == nullptr && answer == nullptr) return false;
  const std::uint64_t before = running != nullptr ? running->fingerprint : answer->fingerprint;
  if (before != sent.fingerprint) {
    core.fail(sent.caller, another_request());
    return true;
  }
  if (running != nullptr) return take_over(core, core.jobs.at(running->job), sent);
  replay(core, sent, answer->body);
  return true;
}

void keep_said(Job& job, const contract::Token& token) {
  const auto last = std::find_if(job.said.rbegin(), job.said.rend(), [&](const auto& said) {
    return said.answer == token.answer && said.thinking == token.thinking;
  });
  const bool has_room = last != job.said.rend() && bytes_in(*last) + bytes_in(token) <= kSaidBytes;
  if (!has_room) return job.said.push_back(token);
  last->text += token.text;
  last->token_ids += token.token_ids;
}

void leave(Core& core, Job& job) {
  const bool may_be_resumed = job.key && job.running && !job.cancelled && !core.stopping &&
                              job.type == contract::Generate::kType;
  if (!may_be_resumed) return cancel_job(core, job);
  job.left_until = core.now() + core.config.return_within;
  core.left_jobs.push_back(job.id);
  core.timer.wake_at(job.left_until);
}

bool awaits_return(const Core& core, ConnectionId connection) {
  return !left_jobs_of(core, connection).empty();
}

void give_up_left_jobs(Core& core, ConnectionId connection) {
  for (const JobId id : left_jobs_of(core, connection)) {
    Job& job = core.jobs.at(id);
    job.left_until = TimePoint::max();
    cancel_job(core, job);
  }
}

void remember(Core& core, const Job& job, const contract::Generated& reply) {
  if (!job.key) return;
  contract::Generated again = reply;
  again.receipt.replayed = true;
  core.recent.keep(job.key, {job.fingerprint, contract::pack(again)}, core.now());
  if (const auto next = core.recent.expire(core.now())) core.timer.wake_at(*next);
}

void keys_tick(Core& core) {
  if (const auto next = core.recent.expire(core.now())) core.timer.wake_at(*next);
  // All wait equally long: the first to be left is the first to be given up.
  while (!core.left_jobs.empty()) {
    const auto job = core.jobs.find(core.left_jobs.front());
    const bool is_left = job != core.jobs.end() && job->second.left_until != TimePoint::max();
    if (is_left && core.now() < job->second.left_until)
      return core.timer.wake_at(job->second.left_until);
    if (is_left) cancel_job(core, job->second);
    core.left_jobs.pop_front();
  }
}

}  // namespace hearth::broker
