#include "shm/arena.h"

#include <string>
#include <utility>

namespace hearth {
namespace {

struct Attended {
  Mapping mapping;
  std::shared_ptr<const void> attendance;  // ends first
};

}  // namespace

Result<void> ArenaTable::attach(std::uint32_t id, Fd fd, std::uint64_t nbytes) {
  if (arenas_.contains(id))
    return fail(Code::kBadRequest, "arena " + std::to_string(id) + " is attached already");
  TRY(Mapping mapping, Mapping::map(fd, nbytes, Access::kReadOnly));
  auto attended = std::make_shared<Attended>(Attended{std::move(mapping), nullptr});
  if (attend_) attended->attendance = attend_(attended->mapping.bytes());
  arenas_.emplace(id, Arena(attended, &attended->mapping));
  return {};
}

bool ArenaTable::detach(std::uint32_t id) {
  return arenas_.erase(id) == 1;
}

Result<Arena> ArenaTable::find(std::uint32_t id) const {
  const auto found = arenas_.find(id);
  if (found == arenas_.end())
    return fail(Code::kBadTensor, "tensor.arena: there is no arena " + std::to_string(id));
  return found->second;
}

Result<RequestTensors> open_tensors(const ArenaTable& table,
                                    std::span<const contract::Tensor* const> descriptors) {
  RequestTensors opened;
  for (const contract::Tensor* descriptor : descriptors) {
    TRY(Arena arena, table.find(descriptor->arena));
    TRY(TensorView view, checked_view(*descriptor, arena->bytes()));
    opened.views.push_back(std::move(view));
    opened.arenas.push_back(std::move(arena));
  }
  return opened;
}

}  // namespace hearth
