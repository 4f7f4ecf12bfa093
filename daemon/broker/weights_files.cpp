#include "daemon/broker/weights_files.h"

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

}  // namespace

void send_weights_file(Core& core, const Model& model) {
  if (!model.weights_file) return;
  contract::WeightsCache message;
  message.model = model.id;
  message.writes = model.weights_file->writes;
  core.worker.send(make_frame(0, message, {model.weights_file->fd}));
}

bool weights_cached(Core& core, const InFrame& frame) {
  const auto message = read_body<contract::WeightsCached>(frame);
  if (!message) return false;
  Model* model = core.models.find(message->model);
  if (model == nullptr || !model->weights_file) return true;
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
