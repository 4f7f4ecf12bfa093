#include "daemon/worker/model_source.h"

#include <utility>

#include <fmt/format.h>
#include <sys/stat.h>

namespace hearth::worker {
namespace {

std::int64_t nanoseconds(const timespec& time) {
  return std::int64_t{time.tv_sec} * 1'000'000'000 + time.tv_nsec;
}

FileStamp stamp_of(const models::ModelFile& file) {
  struct stat status {};
  if (::fstat(file.fd->get(), &status) != 0) return {};
  return {status.st_dev, status.st_ino, status.st_size, nanoseconds(status.st_mtim),
          nanoseconds(status.st_ctim)};
}

Result<std::shared_ptr<models::Model>> load_and_check(const ModelSource& source,
                                                      const models::LoadOptions& options) {
  CHECK_OK(check_unchanged(source));
  auto model = models::load(source.files, options);
  CHECK_OK(check_unchanged(source));  // the likelier cause of a failed load as well
  return model;
}

}  // namespace

Result<ModelSource> open_source(const contract::AttachModel& message, std::vector<Fd> fds) {
  if (message.labels.size() != fds.size())
    return fail(Code::kBadRequest, fmt::format("attach_model has {} labels and {} descriptors.",
                                               message.labels.size(), fds.size()));
  ModelSource source{message.name, message.dtype, message.head, message.attention, {}, {}};
  for (std::size_t index = 0; index < fds.size(); ++index) {
    source.files.push_back(
        {message.labels[index], std::make_shared<const Fd>(std::move(fds[index]))});
    source.stamps.push_back(stamp_of(source.files.back()));
  }
  return source;
}

Result<void> check_unchanged(const ModelSource& source) {
  for (std::size_t index = 0; index < source.files.size(); ++index)
    if (stamp_of(source.files[index]) != source.stamps[index])
      return fail(Code::kModelChanged, fmt::format("{} of {} changed after it was offered.",
                                                   source.files[index].label, source.name));
  return {};
}

Result<contract::ModelOffered> examine_guarded(const ModelSource& source,
                                               const models::LoadOptions& options) {
  try {
    contract::ModelOffered offered;
    TRY(models::Detected detected, models::detect(source.files));
    TRY(offered.memory, models::plan(source.files, options));
    offered.family = std::move(detected.family);
    offered.warnings = std::move(detected.warnings);
    return offered;
  } catch (...) {
    return models::describe(std::current_exception()).error;
  }
}

Loaded load_unchanged(const ModelSource& source, const models::LoadOptions& options) {
  try {
    return {load_and_check(source, options), false};
  } catch (...) {
    models::Fault fault = models::describe(std::current_exception());
    return {std::move(fault.error), fault.device_lost};
  }
}

}  // namespace hearth::worker
