// The arenas a worker can see: client memory, mapped read-only, found by arena id.
//
// A request holds the arenas of its tensors while it runs, so a client that goes away or drops an
// arena takes nothing from under a reader: the mapping ends with its last holder. Ids are given by
// the broker and never used twice. Thread rule: the table belongs to one thread; an Arena may be
// read by any.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <unordered_map>
#include <utility>
#include <vector>

#include "shm/base/result.h"
#include "shm/segment.h"
#include "shm/tensor.h"

namespace hearth {

using Arena = std::shared_ptr<const Mapping>;

class ArenaTable {
 public:
  // Called with each new mapping; what it returns lives as long as the mapping and ends just before
  // it, on the thread of the last holder.
  using Attend = std::function<std::shared_ptr<const void>(std::span<const std::byte>)>;

  explicit ArenaTable(Attend attend = {}) : attend_(std::move(attend)) {}

  // Maps `fd` after checking that it is a sealed memfd of `nbytes`; the descriptor is closed.
  // Errors: bad_request for a used id or an unfit descriptor, out_of_memory.
  Result<void> attach(std::uint32_t id, Fd fd, std::uint64_t nbytes);

  // Forgets the id; running requests keep their mapping. False: no such arena.
  bool detach(std::uint32_t id);

  // Errors: bad_tensor for an unknown id.
  Result<Arena> find(std::uint32_t id) const;

  std::size_t size() const { return arenas_.size(); }

 private:
  const Attend attend_;
  std::unordered_map<std::uint32_t, Arena> arenas_;
};

// The tensors of one request with the arenas that keep their bytes mapped.
struct RequestTensors {
  std::vector<TensorView> views;  // in the order of the descriptors
  std::vector<Arena> arenas;
};

// Checks and opens every descriptor. Errors: bad_tensor, naming the field.
Result<RequestTensors> open_tensors(const ArenaTable& table,
                                    std::span<const contract::Tensor* const> descriptors);

}  // namespace hearth
