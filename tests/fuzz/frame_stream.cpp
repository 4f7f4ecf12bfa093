// A stream of frames as a reader takes it apart: header, body, header … Input: the stream.
#include <vector>

#include "shm/frame.h"
#include "tests/fuzz/recode.h"

namespace hearth::fuzz {
namespace {

std::uint32_t little_endian(std::string_view raw) {
  std::uint32_t value = 0;
  for (std::size_t i = raw.size(); i > 0; --i)
    value = value << 8 | static_cast<std::uint8_t>(raw[i - 1]);
  return value;
}

// Decodes the header and compares with the frame's description, byte by byte.
bool take_header(std::string_view raw, std::uint32_t most, FrameHeader& header) {
  const auto bytes = std::as_bytes(std::span(raw.data(), raw.size()));
  const auto decoded = decode_header(bytes.first<kFrameHeaderBytes>(), most);
  const bool allowed = raw.starts_with("HRT1") && little_endian(raw.substr(4, 4)) <= most &&
                       raw[13] == 0 && little_endian(raw.substr(14, 2)) <= kMaxFrameFds;
  expect(bool(decoded) == allowed, "a header is taken if and only if it keeps the limits");
  if (!decoded) return false;
  header = *decoded;
  const FrameHeaderBytes again = encode(header);
  expect(std::memcmp(again.data(), raw.data(), again.size()) == 0,
         "a header that was decoded encodes to the same bytes");
  return true;
}

}  // namespace
}  // namespace hearth::fuzz

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace hearth;
  fuzz::Input input(data, size);
  std::uint32_t most = kMaxGreetingBytes;  // until the first frame was taken
  while (true) {
    const std::string_view raw = input.text(kFrameHeaderBytes);
    FrameHeader header;
    if (raw.size() < kFrameHeaderBytes || !fuzz::take_header(raw, most, header)) return 0;
    const std::string_view body = input.text(header.body_len);
    if (body.size() < header.body_len) return 0;
    const std::vector<char> exact(body.begin(), body.end());
    fuzz::recode(header.type, std::as_bytes(std::span(exact)));
    most = kMaxFrameBytes;
  }
}
