#include "models/weights/weights.h"

#include "models/weights/loader.h"

namespace hearth::weights {

Weights::Weights(const Plan& plan, std::unique_ptr<Arena> arena)
    : arena_(std::move(arena)),
      precision_(plan.precision),
      decoder_(bind(plan, arena_->address(), arena_->device())) {
  for (const auto& [name, place] : plan.further)
    further_[name] = matrix_in(plan.placements[place], arena_->address());
  for (std::size_t i = 1; i < plan.placements.size(); ++i)
    ends_.push_back(plan.placements[i].offset);
  ends_.push_back(plan.bytes);
}

Result<std::shared_ptr<const Weights>> load(const files::WeightIndex& index, const Plan& plan,
                                            const models::LoadOptions& options,
                                            std::unique_ptr<Arena> arena) {
  CHECK_OK(read_placements(index, plan, options, *arena));
  CHECK_OK(index.check_unchanged());
  return std::shared_ptr<const Weights>(std::make_shared<Weights>(plan, std::move(arena)));
}

}  // namespace hearth::weights
