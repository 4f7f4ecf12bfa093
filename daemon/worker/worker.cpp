#include "daemon/worker/worker.h"

#include <algorithm>
#include <utility>

#include <fmt/format.h>

#include "shm/base/log.h"
#include "shm/base/text.h"
#include "shm/segment.h"

namespace hearth::worker {
namespace {

constexpr auto kLastWordsLimit = std::chrono::milliseconds(50);
constexpr auto kCacheReportInterval = std::chrono::milliseconds(1000);
constexpr auto kDeviceInterval = std::chrono::milliseconds(200);

contract::Device described(const models::Device& device) {
  contract::Device described;
  described.kind = device.kind == models::DeviceKind::kCuda ? "cuda" : "cpu";
  described.name = device.name;
  described.memory_bytes = device.memory_bytes;
  described.threads = device.threads;
  described.compute_capability = device.compute_capability;
  described.built_for = device.built_for;
  described.bandwidth_bytes_per_s = device.bandwidth_bytes_per_s;
  return described;
}

std::vector<const contract::Tensor*> tensors_of(const JobRequest& request) {
  std::vector<const contract::Tensor*> tensors;
  for (const contract::ChatMessage& message : messages_of(request))
    for (const contract::ContentPart& part : message.content)
      if (part.tensor) tensors.push_back(&*part.tensor);
  return tensors;
}

}  // namespace

Worker::Worker(Fd link, Settings settings)
    : settings_(std::move(settings)),
      link_(std::move(link)),
      pinned_(settings_.engine.pinning,
              settings_.pinned_bytes.value_or(pinned_arena_budget(total_memory_bytes()))),
      arenas_([this](std::span<const std::byte> memory) {
        return pinned_.pin(memory, models::HostAccess::kRead);
      }),
      watch_(settings_.engine.read_state, kDeviceInterval,
             [this](const Error& error) { device_lost(error); }),
      reporter_(kCacheReportInterval, [this] { report_caches(); }),
      results_(link_, pinned_, settings_.results),
      engine_([this](const Error& error) { device_lost(error); },
              {.tick = settings_.engine.tick, .length = settings_.keep_clocks}),
      offers_("offers"),
      loader_("load"),
      images_("images"),
      preparer_("prepare"),
      beats_({&engine_.progress(), &loading_, &imaging_, &preparing_, &offering_}) {}

Worker::~Worker() {
  results_.stop();
  reporter_.stop();
}

contract::WorkerReady Worker::introduction() const {
  contract::WorkerReady ready;
  ready.device = described(settings_.engine.device);
  ready.slots = settings_.slots;
  for (const models::Family* family : models::families()) ready.families.emplace_back(family->name);
  ready.remarks = settings_.engine.remarks;
  return ready;
}

// The broker need not wait for a number that only people read: it hears of it afterwards.
void Worker::measure_bandwidth() {
  const std::uint64_t bandwidth = settings_.engine.measure_bandwidth();
  log::debug("the memory gives {:.1f} GB/s", static_cast<double>(bandwidth) / 1e9);
  if (bandwidth == 0) return;
  watch_.set_bandwidth(bandwidth);
  contract::WorkerReady again = introduction();
  again.device.bandwidth_bytes_per_s = bandwidth;
  link_.send(0, again);
}

void Worker::serve() {
  link_.send(0, introduction());
  watch_.set_bandwidth(settings_.engine.device.bandwidth_bytes_per_s);
  if (settings_.engine.measure_bandwidth)
    engine_.run_soon([this](models::OnEngine) { measure_bandwidth(); });
  for (;;) {
    beat();
    if (!link_.wait(beats_.next(models::Clock::now()))) continue;
    auto frame = link_.read();
    if (!frame) log::error("the link is broken: {}", frame.error().what);
    if (!frame || !*frame || !dispatch(*std::move(*frame))) return;
  }
}

void Worker::beat() {
  const auto device = [this] { return watch_.latest(models_.held_bytes()); };
  for (const contract::Beat& each : beats_.due(models::Clock::now(), device)) link_.send(0, each);
}

template <class Message, Worker::Handler<Message> kHandler>
void Worker::handle(Frame& frame) {
  auto message = contract::unpack<Message>(frame.body);
  if (!message) return link_.send_error(frame.header.request_id, message.error());
  (this->*kHandler)(frame.header.request_id, *std::move(message), std::move(frame.fds));
}

// False: the broker says stop.
bool Worker::dispatch(Frame frame) {
  using namespace contract;
  static const std::unordered_map<std::uint8_t, void (Worker::*)(Frame&)> kHandlers = {
      {AttachArena::kType, &Worker::handle<AttachArena, &Worker::attach_arena>},
      {DetachArena::kType, &Worker::handle<DetachArena, &Worker::detach_arena>},
      {AttachModel::kType, &Worker::handle<AttachModel, &Worker::attach_model>},
      {DetachModel::kType, &Worker::handle<DetachModel, &Worker::detach_model>},
      {WeightsCache::kType, &Worker::handle<WeightsCache, &Worker::weights_cache>},
      {LoadModel::kType, &Worker::handle<LoadModel, &Worker::load_model>},
      {UnloadModel::kType, &Worker::handle<UnloadModel, &Worker::unload_model>},
      {RestModel::kType, &Worker::handle<RestModel, &Worker::rest_model>},
      {ForgetImage::kType, &Worker::handle<ForgetImage, &Worker::forget_image>},
      {AssignJob::kType, &Worker::handle<AssignJob, &Worker::assign_job>},
      {Generate::kType, &Worker::handle<Generate, &Worker::generate>},
      {Encode::kType, &Worker::handle<Encode, &Worker::encode>},
      {CountTokens::kType, &Worker::handle<CountTokens, &Worker::count_tokens>},
      {ReleaseSlots::kType, &Worker::handle<ReleaseSlots, &Worker::release_slots>},
      {ForgetClient::kType, &Worker::handle<ForgetClient, &Worker::forget_client>},
      {Cancel::kType, &Worker::handle<Cancel, &Worker::cancel>},
  };
  const std::uint8_t type = frame.header.type;
  if (type == StopWorker::kType) return false;
  const auto handler = kHandlers.find(type);
  if (handler != kHandlers.end())
    (this->*handler->second)(frame);
  else
    link_.send_error(
        frame.header.request_id,
        fail(Code::kUnknownMessage,
             fmt::format("The worker does not take {} (type {}).", name_of_type(type), type)));
  return true;
}

// No answer is expected: a request that names a missing arena is refused by itself.
void Worker::attach_arena(std::uint32_t, contract::AttachArena message, Fds fds) {
  const auto attached =
      fds.size() == 1
          ? arenas_.attach(message.arena, std::move(fds.front()), message.nbytes)
          : fail(Code::kBadRequest,
                 fmt::format("It came with {} descriptors instead of one.", fds.size()));
  if (!attached) log::error("arena {}: {}", message.arena, attached.error().what);
}

void Worker::detach_arena(std::uint32_t, contract::DetachArena message, Fds) {
  arenas_.detach(message.arena);
}

void Worker::assign_job(std::uint32_t id, contract::AssignJob message, Fds) {
  assigned_[id] = {message.user, message.client};
  results_.assign(message.client, message.out_bytes);
}

void Worker::generate(std::uint32_t id, contract::Generate request, Fds) {
  begin_job(id, std::move(request));
}

void Worker::encode(std::uint32_t id, contract::Encode request, Fds) {
  begin_job(id, std::move(request));
}

void Worker::begin_job(std::uint32_t id, JobRequest request) {
  const std::string model_id = model_of(request);
  auto use = models_.begin_use(model_id);
  if (!use) {
    assigned_.erase(id);
    return link_.send_error(id, use.error());
  }
  const auto started = start_job(id, std::move(request), std::move(use->model));
  if (started) return;
  link_.send_error(id, started.error());
  models_.end_use(model_id);
}

Result<void> Worker::start_job(std::uint32_t id, JobRequest request, SharedModel model) {
  const std::string model_id = model_of(request);
  const auto assigned = assigned_.extract(id);
  if (assigned.empty()) return fail(Code::kBadRequest, "Nobody was named whose job this is.");
  if (!model) return fail(Code::kUnknownModel, fmt::format("Model {} is not loaded.", model_id));
  CHECK_OK(check_capability(*model, request));
  TRY(RequestTensors tensors, open_tensors(arenas_, tensors_of(request)));
  const bool pinned =
      std::all_of(tensors.views.begin(), tensors.views.end(),
                  [this](const TensorView& view) { return pinned_.covers(view.bytes); });
  auto job = std::make_shared<OpenJob>(
      id, JobInput{assigned.mapped(), std::move(request), std::move(tensors), pinned},
      JobOutlet{
          link_, results_,
          [this](contract::Receipt& receipt) { watch_.complete(receipt, models_.held_bytes()); },
          [this] { trim(); }},
      [this, id, model_id] { end_job(id, model_id); });
  watch_.job_began();
  {
    const std::lock_guard lock(jobs_mutex_);
    jobs_[id] = job;
  }
  // Weak: while the job waits it may be cancelled and the model unloaded, on the engine thread.
  preparer_.post([this, job = std::move(job), model = std::weak_ptr(model)] {
    if (job->start()) prepare(job, model.lock());
  });
  return {};
}

void Worker::release_slots(std::uint32_t, contract::ReleaseSlots message, Fds) {
  results_.release(message.arena, std::move(message.offsets));
}

void Worker::forget_client(std::uint32_t, contract::ForgetClient message, Fds) {
  results_.forget(message.client);
}

void Worker::prepare(const std::shared_ptr<OpenJob>& job, SharedModel model) {
  const models::Working working(preparing_, models::Phase::kPreprocess, job->model());
  auto prompt = job->prepare(*model);
  if (prompt) {
    engine_.submit({job->model(), std::move(model)}, job->job(), *std::move(prompt), job);
  } else {
    model.reset();  // the end of the job may unload it
    job->failed(std::move(prompt).error());
  }
}

void Worker::end_job(std::uint32_t id, const std::string& model_id) {
  {
    const std::lock_guard lock(jobs_mutex_);
    jobs_.erase(id);
  }
  models_.end_use(model_id);
  watch_.job_ended();
  reporter_.job_ended();
}

// Only looked at while they live: an unload need not wait for a report.
void Worker::report_caches() {
  std::vector<std::pair<std::string, std::weak_ptr<models::Model>>> models;
  for (auto& [id, model] : models_.all_loaded()) models.emplace_back(id, model);
  engine_.run_soon([this, models = std::move(models)](models::OnEngine on) {
    contract::CacheReport report;
    for (const auto& [id, weak] : models) {
      const SharedModel model = weak.lock();
      if (!model) continue;
      for (contract::CacheEntry& entry : model->caches(on)) {
        entry.model = id;
        report.caches.push_back(std::move(entry));
      }
    }
    link_.send(0, report);
  });
}

void Worker::cancel(std::uint32_t id, contract::Cancel, Fds) {
  std::shared_ptr<OpenJob> job;
  {
    const std::lock_guard lock(jobs_mutex_);
    if (const auto found = jobs_.find(id); found != jobs_.end()) job = found->second;
    if (const auto found = loads_.find(id); found != loads_.end())
      found->second->cancelled.store(true);
  }
  if (job) job->cancel();
}

// Who is still heard within kLastWordsLimit is heard; the broker answers for the rest.
void Worker::device_lost(const Error& error) {
  log::error("{}", error.what);
  contract::LastWords words;
  words.cause = error.code == Code::kDeviceFailed ? "device_lost" : "sticky";
  words.what = cut(error.what, 1024);
  link_.send(0, words);
  link_.flush(kLastWordsLimit);
  settings_.on_device_lost();
}

}  // namespace hearth::worker
