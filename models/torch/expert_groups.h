// Rows of a prefill sorted by the experts they have chosen, so that each expert's linears run once
// over all rows that want it.
//
// Ownership: owns what it writes to the device; borrows the memory. Engine thread only.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "models/decoder/device_memory.h"

namespace hearth::engine {

class ExpertGroups {
 public:
  // Entries [first, first + count) in the sorted order have chosen `expert`.
  struct Group {
    std::int32_t expert = 0;
    std::int64_t first = 0;
    std::int64_t count = 0;
  };

  // For at most `entries` rows times experts chosen by each. Errors: out_of_memory.
  static Result<ExpertGroups> create(decoder::DeviceMemory& memory, std::int64_t entries);
  // Device memory that it takes.
  static std::uint64_t bytes(std::int64_t entries);

  // Sorts entries by expert, then by row. Waits for the device. `chosen`: on the device
  // [rows, each], every number in [0, experts).
  Result<void> sort(const std::int32_t* chosen, std::int64_t rows, std::int64_t each,
                    std::int64_t experts);

  // What the last sort() made, by expert.
  std::span<const Group> groups() const { return groups_; }
  const std::int32_t* row() const { return row_.as<std::int32_t>(); }      // [entries], sorted
  const std::int32_t* place() const { return place_.as<std::int32_t>(); }  // [rows, each]

 private:
  decoder::DeviceMemory* memory_ = nullptr;
  decoder::DeviceBlock row_, place_;
  std::vector<Group> groups_;
  std::vector<std::int32_t> chosen_, rows_, places_;  // on their way from and to the device
};

}  // namespace hearth::engine
