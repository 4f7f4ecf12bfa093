// Which idle models leave when another needs their memory.
//
// A model costs what its return will: its bytes are read again, and a fixed amount for everything a
// load does beside reading; one that comes back from pinned memory, a fraction of that. The longer
// it was idle, the less likely that return is. The set with the least sum leaves. Values only; any
// thread.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

namespace hearth::broker {

struct IdleModel {
  std::uint64_t bytes = 0;         // free once it has left
  std::uint64_t reload_bytes = 0;  // read from its files when it is wanted again
  std::chrono::milliseconds idle{0};
  bool rests = false;  // they are copied from pinned memory instead
};

// Bytes that have to be read or copied again, times the chance that they have to, up to a factor.
double cost_of_leaving(const IdleModel& model);

// Indices into `idle` of models that together free at least `needed_bytes`, ascending. nullopt: all
// of them are not enough. Of up to twelve models the cheapest set is found; of more, those that are
// cheapest for their size are looked at first, twelve at a time.
std::optional<std::vector<std::size_t>> choose_leaving(std::span<const IdleModel> idle,
                                                       std::uint64_t needed_bytes);

}  // namespace hearth::broker
