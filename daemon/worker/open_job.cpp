#include "daemon/worker/open_job.h"

#include <type_traits>
#include <utility>

#include <fmt/format.h>

#include "shm/base/log.h"

namespace hearth::worker {
namespace {

using PreparedPrompt = Result<std::unique_ptr<models::Prompt>>;

models::Generates* capability(models::Model& model, const contract::Generate&) {
  return model.generates();
}
models::Encodes* capability(models::Model& model, const contract::Encode&) {
  return model.encodes();
}

std::string_view verb_of(const contract::Generate&) {
  return "generate text";
}
std::string_view verb_of(const contract::Encode&) {
  return "give hidden states";
}

PreparedPrompt prepare_guarded(models::Model& model, const JobRequest& request,
                               std::span<const TensorView> tensors, const models::Job& job) {
  try {
    return std::visit(
        [&](const auto& wanted) {
          return capability(model, wanted)->prepare(wanted, tensors, job);
        },
        request);
  } catch (...) {
    return models::describe(std::current_exception()).error;
  }
}

bool is_device_at_work() {
  using models::Phase;
  if (models::this_thread_progress == nullptr) return false;
  const Phase phase = models::this_thread_progress->phase();
  return phase == Phase::kVision || phase == Phase::kPrefill || phase == Phase::kDecode;
}

}  // namespace

const std::string& model_of(const JobRequest& request) {
  return std::visit([](const auto& any) -> const std::string& { return any.model; }, request);
}

const std::vector<contract::ChatMessage>& messages_of(const JobRequest& request) {
  return std::visit(
      [](const auto& any) -> const std::vector<contract::ChatMessage>& { return any.messages; },
      request);
}

Result<void> check_capability(models::Model& model, const JobRequest& request) {
  return std::visit(
      [&](const auto& wanted) -> Result<void> {
        if (capability(model, wanted) != nullptr) return {};
        return fail(Code::kUnsupported, fmt::format("A model of family {} does not {}.",
                                                    model.family(), verb_of(wanted)));
      },
      request);
}

OpenJob::OpenJob(std::uint32_t id, JobInput input, JobOutlet outlet, std::function<void()> on_end)
    : job_(std::make_shared<models::Job>(id, input.owner.user)),
      client_(input.owner.client),
      request_(std::move(input.request)),
      tensors_(std::move(input.tensors)),
      n_tensors_(tensors_.views.size()),
      pinned_(input.pinned),
      outlet_(std::move(outlet)),
      on_end_(std::move(on_end)) {}

bool OpenJob::start() {
  State waiting = State::kWaiting;
  return state_.compare_exchange_strong(waiting, State::kRunning);
}

PreparedPrompt OpenJob::prepare(models::Model& model) {
  if (n_tensors_ > 0) progress("preprocess", 0, n_tensors_);
  auto prompt = prepare_guarded(model, request_, tensors_.views, *job_);
  tensors_ = {};
  if (n_tensors_ > 0 && prompt) outlet_.link.send(job_->id, contract::InputsDone{});
  return prompt;
}

void OpenJob::cancel() {
  job_->cancelled.store(true);
  State waiting = State::kWaiting;
  if (state_.compare_exchange_strong(waiting, State::kEnded))
    end(fail(Code::kCancelled, "The request was cancelled."));
  else
    outlet_.results.cancel(job_->id);  // should its result be waiting there
}

void OpenJob::token(contract::Token piece) {
  outlet_.link.send_token(job_->id, std::move(piece));
}

void OpenJob::progress(std::string_view stage, std::uint64_t done, std::uint64_t total) {
  contract::Progress message;
  message.stage = stage;
  message.done = done;
  message.total = total;
  outlet_.link.send(job_->id, message);
}

void OpenJob::done(contract::Generated reply) {
  if (state_.exchange(State::kEnded) == State::kEnded) return;
  reply.receipt.pinned = n_tensors_ > 0 && pinned_;
  outlet_.complete(reply.receipt);
  outlet_.link.send(job_->id, reply);
  on_end_();
}

// Its tensors decide together with those of the result whether all of them were pinned.
void OpenJob::encoded(models::Encoding result) {
  if (state_.exchange(State::kEnded) == State::kEnded) return;
  result.reply.receipt.pinned = n_tensors_ == 0 || pinned_;
  outlet_.complete(result.reply.receipt);
  const auto finish = [self = shared_from_this()](Result<contract::Encoded> reply) {
    if (!reply) return self->end(reply.error());
    self->outlet_.link.send(self->job_->id, *reply);
    self->on_end_();
  };
  outlet_.link.send(job_->id, contract::Computed{});  // waiting for room must not hold up others
  outlet_.results.deliver({client_, job_, std::move(result), finish});
}

// Where the device lacked memory for it, others may make room and it may be asked again; a request
// that is too large by itself was refused before the device was at it.
void OpenJob::failed(Error error) {
  if (state_.exchange(State::kEnded) == State::kEnded) return;
  const bool wants_room = error.code == Code::kOutOfMemory && is_device_at_work();
  if (wants_room) outlet_.trim();
  end(error, wants_room);
}

void OpenJob::end(const Error& error, bool wants_room) {
  if (error.code == Code::kInternal) log::error("request {}: {}", job_->id, error.what);
  outlet_.link.send_error(job_->id, error, wants_room);
  on_end_();
}

}  // namespace hearth::worker
