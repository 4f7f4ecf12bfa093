#include "daemon/broker/idle.h"

#include "daemon/broker/room.h"
#include "daemon/broker/warm.h"

namespace hearth::broker {

void used(Core& core, Model& model) {
  model.last_used = core.now();
  if (core.config.keep_alive.count() > 0)
    core.timer.wake_at(model.last_used + core.config.keep_alive);
}

std::optional<Milliseconds> leaves_in(Core& core, const Model& model) {
  const Milliseconds kept = core.config.keep_alive;
  const bool may_leave = model.stage == Stage::kHot && !model.pinned && !model.is_at_work();
  if (kept.count() <= 0 || !may_leave) return std::nullopt;
  return std::max(kept - idle_time(core, model), Milliseconds(0));
}

void idle_tick(Core& core) {
  if (!core.supervisor.is_ready() || core.suspension.is_on()) return;
  for (Model* model : core.models.all()) {
    const auto left = leaves_in(core, *model);
    if (!left) continue;
    if (left->count() > 0) {
      core.timer.wake_at(core.now() + *left);
    } else {
      leave_device(core, *model, true, "nobody: it was idle for long");
    }
  }
}

}  // namespace hearth::broker
