// The 16 bytes before every message body, little endian.
//
//   0  u32 magic "HRT1"     4  u32 body_len      8  u32 request_id (0 = the connection)
//   12 u8  type             13 u8  flags (0)     14 u16 n_fds
//
// Descriptors travel with the header's bytes only: a receiver reads exactly 16 bytes with room for
// n_fds, then the body.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>

#include "shm/base/result.h"

namespace hearth {

inline constexpr std::uint32_t kFrameMagic = 0x31545248;  // "HRT1"
inline constexpr std::size_t kFrameHeaderBytes = 16;
inline constexpr std::uint32_t kMaxGreetingBytes = 4 * 1024;  // a body before welcome
inline constexpr std::uint32_t kMaxFrameBytes = 1024 * 1024;  // a body after it
inline constexpr std::uint16_t kMaxFrameFds = 240;            // the kernel allows 253

struct FrameHeader {
  std::uint32_t body_len = 0;
  std::uint32_t request_id = 0;
  std::uint8_t type = 0;
  std::uint8_t flags = 0;
  std::uint16_t n_fds = 0;
};

using FrameHeaderBytes = std::array<std::byte, kFrameHeaderBytes>;

FrameHeaderBytes encode(const FrameHeader& header);

// Errors: bad_request for a wrong magic, flags other than 0, body_len over `max_body_bytes`, or
// more than kMaxFrameFds descriptors.
Result<FrameHeader> decode_header(std::span<const std::byte, kFrameHeaderBytes> bytes,
                                  std::uint32_t max_body_bytes);

}  // namespace hearth
