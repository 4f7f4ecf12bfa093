#include "daemon/broker/warm.h"

#include <algorithm>

#include "daemon/broker/memory_cost.h"
#include "daemon/broker/residency.h"
#include "shm/base/log.h"

namespace hearth::broker {
namespace {

// What is lost with the image: to a model that rests, a return by copy. A hot one would have it
// made again, beside other work, when it leaves: next to nothing, as if it had not been used for
// ages.
IdleModel image_of(Core& core, const Model& model) {
  constexpr Milliseconds kAges = std::chrono::hours(24 * 365);
  return {.bytes = model.image_bytes,
          .reload_bytes = model.memory.weights_bytes,
          .idle = model.stage == Stage::kHot ? kAges : idle_time(core, model)};
}

// Those that nobody waits for.
std::vector<Model*> with_idle_images(Core& core, const Model& wanted) {
  std::vector<Model*> models = core.models.all();
  std::erase_if(models, [&](const Model* model) {
    const bool is_idle =
        model->stage == Stage::kHot || (model->stage == Stage::kResting && !model->wants_heat());
    return model == &wanted || model->image_bytes == 0 || !is_idle;
  });
  return models;
}

}  // namespace

Milliseconds idle_time(Core& core, const Model& model) {
  return std::chrono::duration_cast<Milliseconds>(core.now() - model.last_used);
}

std::uint64_t warm_bytes(Core& core) {
  std::uint64_t bytes = 0;
  for (const Model* model : core.models.all()) bytes += model->image_bytes;
  return bytes;
}

bool could_rest(const Core& core, const Model& model) {
  const std::uint64_t needed = model.memory.image_bytes;
  return model.image_bytes > 0 || (needed > 0 && needed <= core.config.warm_memory_bytes);
}

double worth_of_image(Core& core, const Model& model) {
  return cost_of_leaving({.bytes = model.memory.image_bytes,
                          .reload_bytes = model.memory.weights_bytes,
                          .idle = idle_time(core, model)});
}

bool make_room_for_image(Core& core, const Model& model) {
  if (model.image_bytes > 0) return true;
  if (!could_rest(core, model)) return false;
  const std::uint64_t free = left_of(core.config.warm_memory_bytes, warm_bytes(core));
  const std::vector<Model*> others = with_idle_images(core, model);
  std::vector<IdleModel> images;
  for (const Model* other : others) images.push_back(image_of(core, *other));
  const auto leaving = choose_leaving(images, left_of(model.memory.image_bytes, free));
  if (!leaving) return false;
  double lost = 0.0;
  for (const std::size_t i : *leaving) lost += cost_of_leaving(images[i]);
  if (lost > worth_of_image(core, model)) return false;
  for (const std::size_t i : *leaving) forget_image(core, *others[i]);
  return true;
}

void forget_image(Core& core, Model& model) {
  contract::ForgetImage message;
  message.model = model.id;
  core.worker.send(make_frame(0, message));
  model.image_bytes = 0;
  if (model.stage != Stage::kResting) return;
  log::info("{} ({}) rests no more", printable(model.name), model.id);
  model.stage = Stage::kCold;
  advance(core, model);
}

}  // namespace hearth::broker
