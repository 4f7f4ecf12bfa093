#include "models/weights/weights.h"

#include "models/weights/loader.h"

namespace hearth::weights {

Weights::Weights(const Plan& plan, std::unique_ptr<Arena> arena)
    : arena_(std::move(arena)),
      precision_(plan.precision),
      decoder_(bind(plan, arena_->address(), arena_->device())) {
  for (const auto& [name, tensor] : plan.further) {
    const Placement& placement = plan.placements[tensor.place];
    further_[name] = {arena_->address() + placement.offset,
                      placement.format == HEARTH_FORMAT_F32 ? HEARTH_F32 : HEARTH_BF16,
                      tensor.shape, arena_->device()};
  }
}

Result<std::shared_ptr<const Weights>> load(const files::WeightIndex& index, const Plan& plan,
                                            const models::LoadOptions& options,
                                            std::unique_ptr<Arena> arena) {
  CHECK_OK(read_placements(index, plan, options, *arena));
  CHECK_OK(index.check_unchanged());
  return std::shared_ptr<const Weights>(std::make_shared<Weights>(plan, std::move(arena)));
}

}  // namespace hearth::weights
