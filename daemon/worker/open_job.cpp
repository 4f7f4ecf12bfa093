#include "daemon/worker/open_job.h"

#include <utility>

#include "shm/base/log.h"

namespace hearth::worker {
namespace {

Result<std::unique_ptr<models::Prompt>> prepare_guarded(const models::Generates& model,
                                                        const contract::Generate& request,
                                                        std::span<const TensorView> tensors,
                                                        const models::Job& job) {
  try {
    return model.prepare(request, tensors, job);
  } catch (...) {
    return models::describe(std::current_exception()).error;
  }
}

}  // namespace

OpenJob::OpenJob(std::uint32_t id, contract::Generate request, RequestTensors tensors, Link& link,
                 std::function<void()> on_end)
    : job_(std::make_shared<models::Job>(id)),
      request_(std::move(request)),
      tensors_(std::move(tensors)),
      link_(link),
      on_end_(std::move(on_end)) {}

bool OpenJob::start() {
  State waiting = State::kWaiting;
  return state_.compare_exchange_strong(waiting, State::kRunning);
}

Result<std::unique_ptr<models::Prompt>> OpenJob::prepare(const models::Generates& model) {
  const std::size_t pictures = tensors_.views.size();
  if (pictures > 0) progress("preprocess", 0, pictures);
  auto prompt = prepare_guarded(model, request_, tensors_.views, *job_);
  tensors_ = {};
  if (pictures > 0 && prompt) link_.send(job_->id, contract::InputsDone{});
  return prompt;
}

void OpenJob::cancel() {
  job_->cancelled.store(true);
  State waiting = State::kWaiting;
  if (!state_.compare_exchange_strong(waiting, State::kEnded)) return;
  link_.send_error(job_->id, fail(Code::kCancelled, "The request was cancelled."));
  on_end_();
}

void OpenJob::token(std::string text, std::span<const std::int32_t> ids) {
  link_.send_token(job_->id, std::move(text), ids);
}

void OpenJob::progress(std::string_view stage, std::uint64_t done, std::uint64_t total) {
  contract::Progress message;
  message.stage = stage;
  message.done = done;
  message.total = total;
  link_.send(job_->id, message);
}

void OpenJob::done(contract::Generated reply) {
  if (state_.exchange(State::kEnded) == State::kEnded) return;
  link_.send(job_->id, reply);
  on_end_();
}

void OpenJob::encoded(models::Encoding) {
  failed(fail(Code::kInternal, "This build does not deliver hidden states."));
}

void OpenJob::failed(Error error) {
  if (state_.exchange(State::kEnded) == State::kEnded) return;
  if (error.code == Code::kInternal) log::error("request {}: {}", job_->id, error.what);
  link_.send_error(job_->id, error);
  on_end_();
}

}  // namespace hearth::worker
