#include "models/weights/weights.h"

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

constexpr std::uint64_t kFreeShare = 10;  // of the disk a tenth stays free

bool has_room(int fd, std::uint64_t bytes) {
  struct statvfs disk {};
  if (::fstatvfs(fd, &disk) != 0) return false;
  if (disk.f_blocks == 0) return true;  // a file system without a size, such as a memfd's
  return disk.f_bavail >= disk.f_blocks / kFreeShare + bytes / disk.f_frsize;
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
  if (!has_room(file.fd->get(), plan.bytes)) return read_placements(index, plan, options, arena);
  const Unfinished unfinished(file);
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
