// What this process takes of the machine, as the kernel tells. Any thread.
#pragma once

#include <cstdint>

namespace hearth::broker {

std::uint64_t rss_bytes();
std::uint32_t open_descriptors();

}  // namespace hearth::broker
