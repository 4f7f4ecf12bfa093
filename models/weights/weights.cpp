#include "models/weights/weights.h"

#include <optional>

#include <sys/statvfs.h>
#include <unistd.h>

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

// Why so much is not written to it.
std::optional<Outcome> refusal(const models::WeightsFile& file, std::uint64_t bytes) {
  if (bytes > file.most_bytes) return Outcome::kTooLarge;
  struct statvfs disk {};
  if (::fstatvfs(file.fd->get(), &disk) != 0) return Outcome::kFailed;
  if (disk.f_blocks == 0) return std::nullopt;  // a file system without a size, such as a memfd's
  const std::uint64_t free = disk.f_bavail * disk.f_frsize;
  if (free < bytes || free - bytes < file.keep_free) return Outcome::kDiskFull;
  return std::nullopt;
}

// A file that was not written to its end gives its disk back: it has no name to be found by.
class Unfinished {
 public:
  explicit Unfinished(const models::WeightsFile& file) : file_(file) {}
  Unfinished(const Unfinished&) = delete;
  Unfinished& operator=(const Unfinished&) = delete;
  ~Unfinished() {
    if (file_.outcome != Outcome::kWritten && ::ftruncate(file_.fd->get(), 0) != 0) return;
  }

 private:
  const models::WeightsFile& file_;
};

Result<void> read_and_keep(const files::WeightIndex& index, const Plan& plan,
                           const models::LoadOptions& options, Arena& arena) {
  models::WeightsFile& file = *options.weights_file;
  file.nbytes = plan.bytes;
  if (const auto refused = refusal(file, plan.bytes)) {
    file.outcome = *refused;
    return read_placements(index, plan, options, arena);
  }
  const Unfinished unfinished(file);
  KeptArena kept(arena, file.fd->get(), plan.bytes);
  CHECK_OK(read_placements(index, plan, options, kept));
  CHECK_OK(index.check_unchanged());  // or the file would outlive what it was made of
  const std::uint64_t written = kept.finish(fingerprint_of(index, plan));
  file.outcome = written > 0 ? Outcome::kWritten : Outcome::kFailed;
  if (written > 0) file.nbytes = written;
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
