#include "daemon/broker/recall.h"

#include "daemon/broker/keys.h"
#include "daemon/broker/observe.h"

namespace hearth::broker {
namespace {

ResultCache::Key key_of(const Job& job) {
  return {job.key.user, job.model, job.result_key, job.fingerprint};
}

// What this request cost, not the one that the answer was made for.
void complete_receipt(Core& core, const Job& sent, contract::Receipt& receipt) {
  contract::Receipt fresh;
  fresh.replayed = true;
  fresh.prompt_tokens = receipt.prompt_tokens;
  fresh.image_tokens = receipt.image_tokens;
  fresh.generated_tokens = receipt.generated_tokens;
  fresh.device = receipt.device;
  fresh.dtype = receipt.dtype;
  fresh.model = sent.model;
  if (const Model* model = core.models.find(sent.model)) fresh.model_loads = model->loads;
  fresh.total_ms = milliseconds_between(sent.arrived, core.now());
  fresh.first_token_ms = fresh.total_ms;
  receipt = fresh;
}

}  // namespace

bool recall(Core& core, const Job& sent) {
  if (sent.result_key.empty()) return false;
  const std::string* body = core.results.find(key_of(sent));
  if (body == nullptr) return false;
  auto answer = contract::unpack<contract::Generated>(bytes_of(*body));
  if (!answer) return false;
  complete_receipt(core, sent, answer->receipt);
  answer->token_us.clear();
  observe_answer(core, sent.caller, *answer);
  catch_up(core, sent, whole_answers(*answer));
  core.reply(sent.caller, *answer);
  return true;
}

void keep_result(Core& core, const Job& job, const contract::Generated& reply) {
  if (job.result_key.empty()) return;
  core.results.keep(key_of(job), contract::pack(reply));
}

}  // namespace hearth::broker
