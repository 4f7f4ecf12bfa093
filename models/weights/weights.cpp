#include "models/weights/weights.h"

#include "models/weights/loader.h"
#include "models/weights/weights_file.h"

namespace hearth::weights {
namespace {

using Outcome = models::WeightsFile::Outcome;

Result<void> read_kept(const files::WeightIndex& index, const Plan& plan,
                       const models::LoadOptions& options, Arena& arena) {
  models::WeightsFile& file = *options.weights_file;
  auto read = read_weights_file(file.fd->get(), fingerprint_of(index, plan), plan, options, arena);
  if (read) {
    file.outcome = Outcome::kRead;
  } else if (read.error().code == Code::kBadModel) {
    file.outcome = Outcome::kDamaged;
  }
  return read;
}

Result<void> read_and_keep(const files::WeightIndex& index, const Plan& plan,
                           const models::LoadOptions& options, Arena& arena) {
  models::WeightsFile& file = *options.weights_file;
  KeptArena kept(arena, file.fd->get(), plan.bytes);
  CHECK_OK(read_placements(index, plan, options, kept));
  CHECK_OK(index.check_unchanged());  // or the file would outlive what it was made of
  file.nbytes = kept.finish(fingerprint_of(index, plan));
  if (file.nbytes > 0) file.outcome = Outcome::kWritten;
  return {};
}

Result<void> fill(const files::WeightIndex& index, const Plan& plan,
                  const models::LoadOptions& options, Arena& arena) {
  if (options.weights_file == nullptr || !rounds(plan))
    return read_placements(index, plan, options, arena);
  return options.weights_file->writes ? read_and_keep(index, plan, options, arena)
                                      : read_kept(index, plan, options, arena);
}

}  // namespace

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
  CHECK_OK(fill(index, plan, options, *arena));
  CHECK_OK(index.check_unchanged());
  return std::shared_ptr<const Weights>(std::make_shared<Weights>(plan, std::move(arena)));
}

}  // namespace hearth::weights
