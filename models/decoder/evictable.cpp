#include "models/decoder/evictable.h"

#include <algorithm>
#include <functional>

namespace hearth::decoder {

FillParts::FillParts(const DeviceBlock& block, std::span<const std::uint64_t> ends,
                     std::uint64_t part_bytes)
    : first_(block.as<const std::byte>()) {
  std::uint64_t begin = 0;
  for (const std::uint64_t end : ends) {
    if (end >= block.bytes() || end - begin < part_bytes) continue;
    ends_.push_back(end);
    begin = end;
  }
  if (block.bytes() > 0) ends_.push_back(block.bytes());
}

std::size_t FillParts::until(const void* address) const {
  const auto* const byte = static_cast<const std::byte*>(address);
  if (ends_.empty() || std::less<>()(byte, first_)) return 0;
  const auto offset = static_cast<std::uint64_t>(byte - first_);
  if (offset >= ends_.back()) return 0;
  const auto part = std::upper_bound(ends_.begin(), ends_.end(), offset);
  return static_cast<std::size_t>(part - ends_.begin()) + 1;
}

}  // namespace hearth::decoder
