#include "models/torch/expert_groups.h"

#include <cassert>

namespace hearth::engine {

Result<ExpertGroups> ExpertGroups::create(decoder::DeviceMemory& memory, std::int64_t entries) {
  ExpertGroups made;
  made.memory_ = &memory;
  TRY(made.row_, memory.allocate(bytes(entries) / 2));
  TRY(made.place_, memory.allocate(bytes(entries) / 2));
  return made;
}

std::uint64_t ExpertGroups::bytes(std::int64_t entries) {
  return 2 * static_cast<std::uint64_t>(entries) * sizeof(std::int32_t);
}

Result<void> ExpertGroups::sort(const std::int32_t* chosen, std::int64_t rows, std::int64_t each,
                                std::int64_t experts) {
  const auto entries = static_cast<std::size_t>(rows * each);
  const std::size_t bytes = entries * sizeof(std::int32_t);
  assert(bytes <= row_.bytes());
  chosen_.resize(entries);
  CHECK_OK(memory_->read(chosen_.data(), chosen, bytes));
  groups_.assign(static_cast<std::size_t>(experts), Group{});
  for (const std::int32_t expert : chosen_) ++groups_[static_cast<std::size_t>(expert)].count;
  for (std::size_t e = 1; e < groups_.size(); ++e)
    groups_[e].first = groups_[e - 1].first + groups_[e - 1].count;
  for (Group& group : groups_) group.count = 0;
  rows_.resize(entries);
  places_.resize(entries);
  for (std::size_t i = 0; i < entries; ++i) {
    Group& group = groups_[static_cast<std::size_t>(chosen_[i])];
    group.expert = chosen_[i];
    const std::int64_t place = group.first + group.count++;
    places_[i] = static_cast<std::int32_t>(place);
    rows_[static_cast<std::size_t>(place)] =
        static_cast<std::int32_t>(static_cast<std::int64_t>(i) / each);
  }
  std::erase_if(groups_, [](const Group& group) { return group.count == 0; });
  CHECK_OK(memory_->write(row_.data(), rows_.data(), bytes));
  return memory_->write(place_.data(), places_.data(), bytes);
}

}  // namespace hearth::engine
