// A message's body. Input: the frame's type, then msgpack.
#include <vector>

#include "tests/fuzz/recode.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0) return 0;
  // A copy of exactly this length, so that reading one byte too far is seen.
  const std::vector<std::uint8_t> body(data + 1, data + size);
  hearth::fuzz::recode(data[0], std::as_bytes(std::span(body)));
  return 0;
}
