// What the worker does with models: attach, count, load, unload, and let them rest.

#include <utility>

#include <fmt/format.h>

#include "daemon/worker/worker.h"
#include "shm/base/log.h"

namespace hearth::worker {
namespace {

constexpr auto kProgressInterval = std::chrono::milliseconds(100);

double ms_since(models::Clock::time_point start) {
  return std::chrono::duration<double, std::milli>(models::Clock::now() - start).count();
}

models::LoadOptions options_for(const ModelSource& source, const Settings& settings) {
  models::LoadOptions options;
  options.dtype = source.dtype;
  options.head = source.head;
  options.attention = source.attention;
  options.device = settings.engine.device;
  if (settings.memory_bytes != 0) options.device.memory_bytes = settings.memory_bytes;
  options.slots = settings.slots;
  return options;
}

std::string_view word_for(models::WeightsFile::Outcome outcome) {
  constexpr std::string_view kWords[] = {"unused",    "read",      "written", "damaged",
                                         "too_large", "disk_full", "failed"};
  return kWords[static_cast<std::size_t>(outcome)];
}

// A callback that passes at most ten reports a second on to the link.
std::function<void(std::uint64_t, std::uint64_t)> loading_progress(Link& link, std::uint32_t id) {
  return [&link, id, next = models::Clock::time_point()](std::uint64_t done,
                                                         std::uint64_t total) mutable {
    models::progressed();
    const auto now = models::Clock::now();
    if (now < next && done < total) return;
    next = now + kProgressInterval;
    contract::Progress progress;
    progress.stage = "loading";
    progress.done = done;
    progress.total = total;
    link.send(id, progress);
  };
}

}  // namespace

// A client's files may be on a disk that answers nothing: only the thread of offers touches them.
void Worker::attach_model(std::uint32_t id, contract::AttachModel message, Fds fds) {
  offers_.post([this, id, message = std::move(message),
                fds = std::make_shared<Fds>(std::move(fds))] { examine(id, message, *fds); });
}

void Worker::examine(std::uint32_t id, const contract::AttachModel& message, Fds& fds) {
  const models::Working working(offering_, models::Phase::kAttach, message.model);
  auto source = open_source(message, std::move(fds));
  if (!source) return link_.send_error(id, source.error());
  const auto attached = models_.attach(message.model, *std::move(source));
  if (!attached) return link_.send_error(id, attached.error());
  detect(id, message.model);
}

// A model that is refused is forgotten before the broker hears of it: it may be offered again.
void Worker::detect(std::uint32_t id, const std::string& model_id) {
  const auto use = models_.begin_use(model_id);
  if (!use) return link_.send_error(id, use.error());
  auto offered = examine_guarded(*use->source, options_for(*use->source, settings_));
  models_.end_use(model_id);
  if (!offered) {
    models_.detach(model_id);
    return link_.send_error(id, offered.error());
  }
  offered->model = model_id;
  link_.send(id, *offered);
}

void Worker::detach_model(std::uint32_t, contract::DetachModel message, Fds) {
  auto [source, models] = models_.detach(message.model);
  for (SharedModel& model : models) engine_.drop(std::move(model), [] {});
  offers_.post([files = std::move(source)] {});  // closed there
}

// No answer is expected: without the file a load takes longer, and that is all.
void Worker::weights_cache(std::uint32_t, contract::WeightsCache message, Fds fds) {
  if (fds.size() != 1) return log::error("weights_cache came with {} descriptors", fds.size());
  auto file = std::make_shared<models::WeightsFile>();
  file->fd = std::make_shared<const Fd>(std::move(fds.front()));
  file->writes = message.writes;
  file->most_bytes = message.most_bytes;
  file->keep_free = message.keep_free;
  weights_file_ = {std::move(message.model), std::move(file)};
}

void Worker::load_model(std::uint32_t id, contract::LoadModel message, Fds) {
  auto [file_of, file] = std::exchange(weights_file_, {});
  if (file_of != message.model) file.reset();
  auto use = models_.begin_use(message.model);
  if (!use) return link_.send_error(id, use.error());
  auto job = std::make_shared<models::Job>(id);
  {
    const std::lock_guard lock(jobs_mutex_);
    loads_[id] = job;
  }
  loader_.post(
      [this, job = std::move(job), source = std::move(use->source), file = std::move(file),
       model_id = std::move(message.model)] { load(*job, *source, model_id, file.get()); });
}

void Worker::load(const models::Job& job, const ModelSource& source, const std::string& model_id,
                  models::WeightsFile* file) {
  const models::Working working(loading_, models::Phase::kLoad, model_id);
  const auto loaded = load_now(job, source, model_id, file);
  {
    const std::lock_guard lock(jobs_mutex_);
    loads_.erase(job.id);
  }
  if (!loaded && loaded.error().code == Code::kOutOfMemory)
    static_cast<void>(call_engine(loading_, model_id,
                                  [this](models::OnEngine) { return trim(), Result<void>(); }));
  if (loaded)
    link_.send(job.id, *loaded);
  else
    link_.send_error(job.id, loaded.error());
  if (file != nullptr)
    link_.send(
        0, contract::WeightsCached{model_id, std::string(word_for(file->outcome)), file->nbytes});
  models_.end_use(model_id);
}

Result<contract::ModelLoaded> Worker::load_now(const models::Job& job, const ModelSource& source,
                                               const std::string& model_id,
                                               models::WeightsFile* file) {
  if (job.cancelled.load()) return fail(Code::kCancelled, "Loading was cancelled.");
  const auto start = models::Clock::now();
  if (const SharedModel hot = models_.loaded(model_id))
    return contract::ModelLoaded{model_id, hot->resident_bytes(), 0.0, false};
  if (const SharedModel resting = models_.resting(model_id)) return restore(model_id, resting);
  models::LoadOptions options = options_for(source, settings_);
  options.on_progress = loading_progress(link_, job.id);
  options.cancelled = &job.cancelled;
  options.weights_file = file;
  Loaded loaded = load_unchanged(source, options);
  if (file != nullptr && file->outcome == models::WeightsFile::Outcome::kDamaged &&
      !loaded.device_lost && !loaded.model) {
    log::warning("{}: {}; its own files are read", source.name, loaded.model.error().what);
    options.weights_file = nullptr;
    loaded = load_unchanged(source, options);
  }
  if (loaded.device_lost) device_lost(loaded.model.error());
  TRY(SharedModel model, std::move(loaded.model));
  auto warmed =
      call_engine(loading_, model_id, [model](models::OnEngine on) { return model->warm_up(on); });
  if (!warmed) {
    engine_.drop(std::move(model), [] {});
    return std::move(warmed).error();
  }
  const std::uint64_t resident_bytes = model->resident_bytes();
  models_.set_loaded(model_id, std::move(model));
  log::debug("{} is loaded: {} MiB in {:.0f} ms", source.name, resident_bytes >> 20,
             ms_since(start));
  return contract::ModelLoaded{model_id, resident_bytes, ms_since(start), false};
}

Result<void> Worker::call_engine(models::Progress& waiting, const std::string& model_id,
                                 EngineThread::Call call) {
  const models::Working idle(waiting, models::Phase::kIdle, {});
  return engine_.call(std::move(call), model_id);
}

// Without room it rests on and may be asked again; whatever else goes wrong has spoilt it.
Result<contract::ModelLoaded> Worker::restore(const std::string& model_id,
                                              const SharedModel& model) {
  const auto start = models::Clock::now();
  auto restored = call_engine(loading_, model_id,
                              [model](models::OnEngine on) { return model->rests()->restore(on); });
  if (!restored && restored.error().code == Code::kOutOfMemory) return std::move(restored).error();
  SharedModel taken = models_.take_resting(model_id);
  if (!restored) {
    engine_.drop(std::move(taken), [] {});
    return std::move(restored).error();
  }
  models_.set_loaded(model_id, std::move(taken));
  return contract::ModelLoaded{model_id, model->resident_bytes(), ms_since(start), true};
}

void Worker::unload_model(std::uint32_t id, contract::UnloadModel message, Fds) {
  const auto unloading = models_.unload(message.model, [this, id](SharedModel model) {
    engine_.drop(std::move(model), [this, id] { link_.send(id, contract::ModelUnloaded{false}); });
  });
  if (!unloading) link_.send_error(id, unloading.error());
}

void Worker::rest_model(std::uint32_t id, contract::RestModel message, Fds) {
  const auto unloading =
      models_.unload(message.model, [this, id, model_id = message.model](SharedModel model) {
        images_.post([this, id, model_id, model = std::move(model)]() mutable {
          rest(id, model_id, std::move(model));
        });
      });
  if (!unloading) link_.send_error(id, unloading.error());
}

// Nothing here holds the model any more when the broker hears of it: it must not end on this
// thread.
void Worker::rest(std::uint32_t id, const std::string& model_id, SharedModel model) {
  const models::Working working(imaging_, models::Phase::kLoad, model_id);
  if (model == nullptr) return link_.send(id, contract::ModelUnloaded{false, 0});
  const Result<void> rested = rest_now(model_id, model);
  if (rested) {
    const contract::ModelUnloaded reply{false, model->rests()->image_bytes()};
    if (models_.set_resting(model_id, model)) {
      model.reset();
      return link_.send(id, reply);
    }
  }
  if (!rested) log::warning("{} is dropped instead of resting: {}", model_id, rested.error().what);
  engine_.drop(std::move(model), [this, id] { link_.send(id, contract::ModelUnloaded{false, 0}); });
}

// What `call` throws becomes its error.
template <class Call>
auto Worker::guarded(Call call) -> decltype(call()) {
  try {
    return call();
  } catch (...) {
    models::Fault fault = models::describe(std::current_exception());
    if (fault.device_lost) device_lost(fault.error);
    return std::move(fault.error);
  }
}

// What is kept for later may be what another request lacks. The pools are the library's: what they
// throw must not end the step that asked for room.
void Worker::trim() {
  const auto trimmed = guarded([this]() -> Result<std::uint64_t> {
    return settings_.engine.trim ? settings_.engine.trim() : 0;
  });
  if (!trimmed) return log::warning("out of memory: {}", trimmed.error().what);
  log::warning("out of memory: pools gave {} MiB back", *trimmed >> 20);
}

// On the thread that looks at files: tokenisers take long to read, and prompts must not wait.
void Worker::count_tokens(std::uint32_t id, contract::CountTokens message, Fds) {
  offers_.post([this, id, message = std::move(message)] {
    const models::Working working(offering_, models::Phase::kPreprocess, message.model);
    const auto counted = guarded([&] { return count(message); });
    counted ? link_.send(id, *counted) : link_.send_error(id, counted.error());
  });
}

Result<contract::TokensCounted> Worker::count(const contract::CountTokens& message) {
  TRY(const auto counter, counter_of(message.model));
  return counter->count(message);
}

Result<std::shared_ptr<const models::TokenCounter>> Worker::counter_of(
    const std::string& model_id) {
  if (auto known = models_.counter(model_id)) return known;
  const auto source = models_.source(model_id);
  if (source == nullptr)
    return fail(Code::kUnknownModel, fmt::format("Model {} is not attached.", model_id));
  CHECK_OK(check_unchanged(*source));
  TRY(auto made, models::counter(source->files, options_for(*source, settings_)));
  models_.set_counter(model_id, made);
  return made;
}

Result<void> Worker::rest_now(const std::string& model_id, const SharedModel& model) {
  models::Rests* const rests = model->rests();
  if (rests == nullptr) return fail(Code::kUnsupported, "this model cannot rest on this device");
  const auto start = models::Clock::now();
  TRY(const std::uint64_t copied_bytes, guarded([&] { return rests->keep_image(); }));
  CHECK_OK(call_engine(imaging_, model_id,
                       [model](models::OnEngine on) { return model->rests()->rest(on); }));
  log::debug("{} MiB copied to rest, in {:.0f} ms", copied_bytes >> 20, ms_since(start));
  return {};
}

// In the order of the link, as the broker counts; what is given back is there for the next image.
void Worker::forget_image(std::uint32_t, contract::ForgetImage message, Fds) {
  if (SharedModel resting = models_.take_resting(message.model)) {
    images_.post([this, model = std::move(resting)]() mutable {
      static_cast<void>(engine_.call([model = std::move(model)](models::OnEngine) mutable {
        model.reset();
        return Result<void>();
      }));
    });
    return;
  }
  images_.post([this, model = models_.loaded(message.model)]() mutable {
    if (model == nullptr || model->rests() == nullptr) return;
    const Result<void> dropped = guarded([&] { return model->rests()->drop_image(); });
    if (!dropped) log::warning("an image stays: {}", dropped.error().what);
    engine_.run_soon([model = std::move(model)](models::OnEngine) {});  // where it may end
  });
}

}  // namespace hearth::worker
