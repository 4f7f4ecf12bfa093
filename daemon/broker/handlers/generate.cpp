// generate, encode.
#include <algorithm>
#include <set>

#include <fmt/format.h>

#include "daemon/broker/handlers/handlers.h"
#include "daemon/broker/handlers/reports.h"
#include "daemon/broker/keys.h"
#include "daemon/broker/observe.h"
#include "daemon/broker/recall.h"
#include "daemon/broker/residency.h"
#include "daemon/broker/schedule.h"
#include "shm/base/log.h"
#include "shm/base/text.h"
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

struct Input {
  std::vector<ArenaId> arenas;  // each once
  std::uint32_t n_tensors = 0;
};

// Checks all tensors of the chat.
Result<Input> check_input(Core& core, const Client& client,
                          const std::vector<contract::ChatMessage>& chat) {
  std::set<ArenaId> arenas;
  Input input;
  for (const contract::ChatMessage& turn : chat) {
    for (const contract::ContentPart& part : turn.content) {
      CHECK_OK(check_part(core, client, part));
      if (!part.tensor) continue;
      arenas.insert(part.tensor->arena);
      ++input.n_tensors;
    }
  }
  if (input.n_tensors > core.config.limits.tensors)
    return fail(Code::kBadRequest,
                fmt::format("The request has {} tensors, over {}.", input.n_tensors,
                            core.config.limits.tensors),
                "Send fewer pictures in one request.");
  input.arenas.assign(arenas.begin(), arenas.end());
  return input;
}

Result<void> check_own_fields(const contract::Generate& message) {
  const auto& stop = message.stop;
  if (std::none_of(stop.begin(), stop.end(), [](const std::string& s) { return s.empty(); }))
    return {};
  return fail(Code::kBadRequest, "stop: an empty string would end every answer at once.");
}

Result<void> check_own_fields(const contract::Encode& message) {
  if (!message.layers.empty()) return {};
  return fail(Code::kBadRequest, "layers: name at least one layer.",
              "[-1] is the output of the last one.");
}

// Tensors in the reply, which count for the user from the start: a result always has room.
std::uint32_t n_results(const contract::Generate&) {
  return 0;
}
std::uint32_t n_results(const contract::Encode& message) {
  return static_cast<std::uint32_t>(message.layers.size());
}

const std::string& result_key_of(const contract::Generate& message) {
  return message.result_key;
}
std::string result_key_of(const contract::Encode&) {
  return {};  // its result lies in memory of one connection
}

// The work of a request before it is known, in decode steps, for sharing the engine fairly. The
// answer counts with the most it may have. A prompt is read many tokens at a time, so eight of them
// count as one step; its text is taken at four bytes a token, its pictures at 32 x 32 pixels.
constexpr std::int64_t kPromptTokensPerStep = 8;
constexpr std::int64_t kBytesPerToken = 4;
constexpr std::int64_t kPixelsPerToken = 1024;

std::int64_t prompt_tokens(const std::vector<contract::ChatMessage>& chat) {
  std::uint64_t text_bytes = 0;
  std::uint64_t pixel_bytes = 0;
  for (const contract::ChatMessage& turn : chat) {
    for (const contract::ContentPart& part : turn.content) {
      text_bytes += part.text.size();
      if (part.tensor) pixel_bytes += part.tensor->nbytes;
    }
  }
  return static_cast<std::int64_t>(text_bytes / kBytesPerToken +
                                   pixel_bytes / (3 * kPixelsPerToken));
}

std::uint32_t slots(const contract::Generate& message) {
  return static_cast<std::uint32_t>(std::max(message.answers, message.beams));
}
std::uint32_t slots(const contract::Encode&) {
  return 1;
}

std::int64_t cost_tokens(const contract::Generate& message) {
  return std::int64_t{message.max_tokens} * slots(message) +
         prompt_tokens(message.messages) / kPromptTokensPerStep;
}
std::int64_t cost_tokens(const contract::Encode& message) {
  return prompt_tokens(message.messages) / kPromptTokensPerStep;
}

Priority priority_of(const std::string& word) {
  if (word == "batch") return Priority::kBatch;
  return word == "maintenance" ? Priority::kMaintenance : Priority::kInteractive;
}

struct Checked {
  Job job;
  std::uint32_t n_tensors = 0;  // of input and result
};

template <class M>
Result<Checked> check(Core& core, const Client& client, M& message) {
  CHECK_OK(check_own_fields(message));
  TRY(Input input, check_input(core, client, message.messages));
  const Model* model = core.models.find_for(client.id, message.model);
  if (model == nullptr) return unknown_model(message.model);
  CHECK_OK(check_quarantine(core, *model));
  const std::uint32_t n_tensors = input.n_tensors + n_results(message);
  CHECK_OK(core.accounts.check(client.peer.uid, {.tensors = n_tensors}));
  message.model = model->id;
  Job job;
  job.id = core.next_job_id();
  job.type = M::kType;
  job.model = model->id;
  job.arenas = std::move(input.arenas);
  job.body = contract::pack(message);
  job.priority = priority_of(message.priority);
  job.slots = slots(message);
  job.cost_tokens = cost_tokens(message);
  job.key = {client.peer.uid, message.key};
  job.result_key = result_key_of(message);
  if (job.key || !job.result_key.empty()) job.fingerprint = fingerprint_of(message);
  job.arrived = core.now();
  return Checked{std::move(job), n_tensors};
}

// Only where the configuration asks for it.
template <class M>
void log_prompt(const Client& client, Caller caller, const M& message) {
  constexpr std::size_t kMostPromptBytes = 32 * 1024;
  std::string text;
  for (const contract::ChatMessage& turn : message.messages)
    for (const contract::ContentPart& part : turn.content)
      if (part.kind == "text") text += (text.empty() ? "" : "\n") + part.text;
  log::event(log::Level::kInfo, "prompt",
             {{"request", caller.serial},
              {"client", client.name},
              {"uid", client.peer.uid},
              {"model", message.model}},
             "prompt of request {}: {}", caller.serial, one_line(cut(text, kMostPromptBytes)));
}

// Refused ones are opened too, so that they count as failed.
template <class M>
void accept(Core& core, Client& client, std::uint32_t request_id, M message) {
  auto checked = check(core, client, message);
  const Caller caller =
      core.open(client, request_id, RequestKind::kJob, checked ? checked->n_tensors : 0);
  observe_request(core, caller, M::kType == contract::Encode::kType ? "encode" : "generate",
                  core.models.find_for(client.id, message.model));
  if (core.config.log_prompts) log_prompt(client, caller, message);
  if (!checked) return core.fail(caller, checked.error());
  Job& job = checked->job;
  job.caller = caller;
  hold(*core.models.find(job.model), client.id);
  if (resume(core, job) || recall(core, job)) return;
  core.find_open(caller)->job = job.id;
  enqueue(core, std::move(job));
}

}  // namespace

void handle(Core& core, Client& client, Request request, contract::Generate message) {
  accept(core, client, request.caller.request_id, std::move(message));
}

void handle(Core& core, Client& client, Request request, contract::Encode message) {
  accept(core, client, request.caller.request_id, std::move(message));
}

}  // namespace hearth::broker
