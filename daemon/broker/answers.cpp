#include "daemon/broker/answers.h"

#include <algorithm>

#include "daemon/broker/keys.h"
#include "daemon/broker/observe.h"
#include "daemon/broker/recall.h"
#include "daemon/broker/results.h"

namespace hearth::broker {
namespace {

// The broker's part of the receipt; the worker has filled in the rest.
void complete_receipt(Core& core, const Job& job, contract::Receipt& receipt) {
  const TimePoint end = core.now();
  const bool has_tokens = job.type == contract::Generate::kType;
  const TimePoint first = job.first_token == TimePoint{} ? end : job.first_token;
  receipt.load_ms = job.load_ms;
  receipt.warm_load = job.warm_load;
  // On top of what the worker kept it waiting.
  receipt.queue_ms +=
      std::max(0.0, milliseconds_between(job.arrived, job.dispatched) - job.load_ms);
  receipt.first_token_ms = has_tokens ? milliseconds_between(job.arrived, first) : 0.0;
  receipt.total_ms = milliseconds_between(job.arrived, end);
  receipt.model = job.model;
  receipt.evicted = job.evicted;
  if (Model* model = core.models.find(job.model)) {
    receipt.model_loads = model->loads;
    model->arithmetic = receipt.dtype;
  }
}

// What the reply carries becomes the caller's. Generated carries nothing.
Result<void> hand_over_from(Core&, const Job&, contract::Generated&) {
  return {};
}

Result<void> hand_over_from(Core& core, const Job& job, contract::Encoded& reply) {
  const bool is_wanted = core.find_open(job.caller) != nullptr && !job.cancelled;
  if (is_wanted) return hand_over(core, job, reply.tensors);
  return_unwanted(core, reply.tensors);
  return fail(Code::kCancelled, "The request was cancelled while its result was made.");
}

// Not all tokens come as events: those of beams do not.
void count_generated(Core& core, const Job& job, std::uint32_t n) {
  if (n > job.tokens) core.tokens.add(n - job.tokens, core.now());
  const auto client = core.clients.find(job.caller.connection);
  if (client != core.clients.end() && core.find_open(job.caller) != nullptr)
    client->second.generated_tokens += n;
}

void note_answer(Core& core, Caller caller, contract::Generated& reply) {
  observe_answer(core, caller, reply);
}
void note_answer(Core& core, Caller caller, contract::Encoded& reply) {
  observe_answer(core, caller, reply.receipt);
}

template <class M>
void answer_with(Core& core, const Job& job, const InFrame& terminal) {
  auto reply = read_body<M>(terminal);
  if (!reply) return core.fail(job.caller, fail(Code::kInternal, reply.error().what));
  core.quarantine.succeeded(job.model, Op::kGenerate);
  complete_receipt(core, job, reply->receipt);
  if (auto handed = hand_over_from(core, job, *reply); !handed)
    return core.fail(job.caller, handed.error());
  count_generated(core, job, reply->receipt.generated_tokens);
  note_answer(core, job.caller, *reply);
  remember(core, job, *reply);
  keep_result(core, job, *reply);
  core.reply(job.caller, *reply);
}

}  // namespace

bool can_end(const Job& job, std::uint8_t frame_type) {
  const bool encodes = job.type == contract::Encode::kType;
  return frame_type == contract::Error::kType ||
         frame_type == (encodes ? contract::Encoded::kType : contract::Generated::kType);
}

void answer(Core& core, const Job& job, const InFrame& terminal) {
  if (terminal.type == contract::Generated::kType)
    return answer_with<contract::Generated>(core, job, terminal);
  if (terminal.type == contract::Encoded::kType)
    return answer_with<contract::Encoded>(core, job, terminal);
  core.finish(job.caller, OutFrame{terminal.type, job.caller.request_id, terminal.body, {}});
}

}  // namespace hearth::broker
