#include "daemon/broker/places.h"

#include <algorithm>

namespace hearth::broker {
namespace {

// Who waits for a model that is being loaded hears of that instead.
bool hears_of_loading(Core& core, const Job& job) {
  const Model* model = core.models.find(job.model);
  return model != nullptr && model->stage == Stage::kLoading;
}

}  // namespace

void places_changed(Core& core) {
  if (core.queue.size() == 0 || std::exchange(core.places_due, true)) return;
  core.timer.wake_at(std::max(core.now(), core.places_next));
}

void places_tick(Core& core) {
  if (!core.places_due) return;
  if (core.now() < core.places_next) return core.timer.wake_at(core.places_next);
  core.places_due = false;
  core.places_next = core.now() + kPlacesEvery;
  contract::Progress progress;
  progress.stage = "queued";
  progress.total = core.queue.size();
  for (const JobId id : core.queue.order()) {
    Job& job = core.jobs.at(id);
    if (job.told_place != progress.done && !hears_of_loading(core, job)) {
      job.told_place = progress.done;
      core.event(job.caller, make_frame(0, progress));
    }
    ++progress.done;
  }
}

}  // namespace hearth::broker
