// CRC-32C (Castagnoli), as in RFC 3720, appendix B.4: of long memory, by the processor's own
// instruction where it has one. Any thread, no state.
#pragma once

#include <cstddef>
#include <cstdint>

namespace hearth::weights {

// Of what was before (0: nothing) and these bytes behind it.
std::uint32_t crc32c(std::uint32_t before, const std::byte* bytes, std::size_t count);
// The same, without the instruction.
std::uint32_t crc32c_by_table(std::uint32_t before, const std::byte* bytes, std::size_t count);

}  // namespace hearth::weights
