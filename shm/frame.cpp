#include "shm/frame.h"

#include <string>

namespace hearth {

namespace {

void put(FrameHeaderBytes& bytes, std::size_t at, std::uint32_t value, std::size_t count) {
  for (std::size_t i = 0; i < count; ++i)
    bytes[at + i] = static_cast<std::byte>(value >> (8 * i) & 0xFF);
}

std::uint32_t get(std::span<const std::byte, kFrameHeaderBytes> bytes, std::size_t at,
                  std::size_t count) {
  std::uint32_t value = 0;
  for (std::size_t i = 0; i < count; ++i)
    value |= std::to_integer<std::uint32_t>(bytes[at + i]) << (8 * i);
  return value;
}

}  // namespace

FrameHeaderBytes encode(const FrameHeader& header) {
  FrameHeaderBytes bytes{};
  put(bytes, 0, kFrameMagic, 4);
  put(bytes, 4, header.body_len, 4);
  put(bytes, 8, header.request_id, 4);
  put(bytes, 12, header.type, 1);
  put(bytes, 13, header.flags, 1);
  put(bytes, 14, header.n_fds, 2);
  return bytes;
}

Result<FrameHeader> decode_header(std::span<const std::byte, kFrameHeaderBytes> bytes,
                                  std::uint32_t max_body_bytes) {
  if (get(bytes, 0, 4) != kFrameMagic)
    return fail(Code::kBadRequest, "a frame does not begin with HRT1");
  FrameHeader header;
  header.body_len = get(bytes, 4, 4);
  header.request_id = get(bytes, 8, 4);
  header.type = static_cast<std::uint8_t>(get(bytes, 12, 1));
  header.flags = static_cast<std::uint8_t>(get(bytes, 13, 1));
  header.n_fds = static_cast<std::uint16_t>(get(bytes, 14, 2));
  if (header.flags != 0)
    return fail(Code::kBadRequest,
                "a frame has flags " + std::to_string(header.flags) + "; this version knows none");
  if (header.body_len > max_body_bytes)
    return fail(Code::kBadRequest, "a frame has a body of " + std::to_string(header.body_len) +
                                       " bytes; at most " + std::to_string(max_body_bytes) +
                                       " are allowed here");
  if (header.n_fds > kMaxFrameFds)
    return fail(Code::kBadRequest, "a frame announces " + std::to_string(header.n_fds) +
                                       " descriptors; at most " + std::to_string(kMaxFrameFds) +
                                       " are allowed");
  return header;
}

}  // namespace hearth
