#include "daemon/broker/weights_files.h"

#include <fmt/format.h>

#include "daemon/config/amounts.h"
#include "shm/base/log.h"

namespace hearth::broker {
namespace {

using Cache = std::shared_ptr<const WeightsCache>;

// What becomes of a file, and the one that takes its place.
std::optional<WeightsCache::File> settle(const WeightsCache& cache, const WeightsCache::File& file,
                                         bool is_written) {
  if (!is_written) {
    cache.drop(file.key);
  } else if (const auto kept = cache.keep(file); !kept) {
    log::warning("{} {}", kept.error().what, kept.error().hint);
    return std::nullopt;
  }
  return cache.find(file.key);
}

// Why the model will be rounded again at its next load.
void warn_of_refusal(const Core& core, const Model& model, const contract::WeightsCached& message) {
  const auto words = [](std::uint64_t bytes) {
    return config::size_text(static_cast<std::int64_t>(bytes));
  };
  const config::Settings& settings = core.config.settings;
  std::string reason;
  if (message.outcome == "too_large")
    reason =
        fmt::format("all may take {}. Raise --cache-size.", words(settings.size("cache.size")));
  if (message.outcome == "disk_full")
    reason = fmt::format(
        "the disk would have less than {} free. Make room on it, lower "
        "--cache-keep-free, or name a folder on another disk with --cache-dir.",
        words(settings.size("cache.keep_free")));
  if (message.outcome == "failed")
    reason = "writing them to the disk failed. It may be full, or be failing.";
  if (!reason.empty())
    log::warning("{} MiB of rounded weights of {} are not kept: {}", message.nbytes >> 20,
                 printable(model.name), reason);
}

}  // namespace

void send_weights_file(Core& core, const Model& model) {
  if (!model.weights_file) return;
  contract::WeightsCache message;
  message.model = model.id;
  message.writes = model.weights_file->writes;
  message.most_bytes = core.config.settings.size("cache.size");
  message.keep_free = core.config.settings.size("cache.keep_free");
  core.worker.send(make_frame(0, message, {model.weights_file->fd}));
}

bool weights_cached(Core& core, const InFrame& frame) {
  const auto message = read_body<contract::WeightsCached>(frame);
  if (!message) return false;
  Model* model = core.models.find(message->model);
  if (model == nullptr || !model->weights_file) return true;
  warn_of_refusal(core, *model, *message);
  const bool is_written = message->outcome == "written" && model->weights_file->writes;
  if (!is_written && message->outcome != "damaged") return true;
  log::info("rounded weights of {}: {}", printable(model->name),
            is_written ? "kept on disk" : "what was on disk is damaged and dropped");
  WeightsCache::File file = *std::exchange(model->weights_file, std::nullopt);
  auto work = [&core, id = model->id, cache = core.config.weights_cache, file = std::move(file),
               is_written]() -> OffLoop::Continuation {
    auto next = settle(*cache, file, is_written);
    return [&core, id, next = std::move(next)] {
      if (Model* known = core.models.find(id)) known->weights_file = next;
    };
  };
  core.off_loop.run(OffLoop::Lane::kOwnFiles, std::move(work));  // refused: the file is gone
  return true;
}

}  // namespace hearth::broker
