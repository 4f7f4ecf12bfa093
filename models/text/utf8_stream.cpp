#include "models/text/utf8_stream.h"

#include <cstdint>

namespace hearth::text {
namespace {

constexpr std::string_view kReplacement = "\xEF\xBF\xBD";  // U+FFFD

struct Lead {
  std::size_t bytes = 0;             // of the whole character; 0: cannot begin one
  std::uint8_t second_least = 0x80;  // range of the second byte (Unicode 15, table 3-7)
  std::uint8_t second_most = 0xBF;
};

Lead lead_of(std::uint8_t byte) {
  if (byte < 0x80) return {1};
  if (byte < 0xC2) return {0};
  if (byte < 0xE0) return {2};
  if (byte == 0xE0) return {3, 0xA0, 0xBF};
  if (byte == 0xED) return {3, 0x80, 0x9F};
  if (byte < 0xF0) return {3};
  if (byte == 0xF0) return {4, 0x90, 0xBF};
  if (byte < 0xF4) return {4};
  if (byte == 0xF4) return {4, 0x80, 0x8F};
  return {0};
}

// How many of the bytes at the front belong together: a whole character, or the longest part of
// one.
struct Taken {
  std::size_t bytes = 0;
  bool whole = false;
  bool could_continue = false;  // the text ends inside a character that is valid so far
};

Taken take(std::string_view text) {
  const Lead lead = lead_of(static_cast<std::uint8_t>(text[0]));
  if (lead.bytes == 0) return {1, false, false};
  std::size_t count = 1;
  for (; count < lead.bytes && count < text.size(); ++count) {
    const auto byte = static_cast<std::uint8_t>(text[count]);
    const std::uint8_t least = count == 1 ? lead.second_least : 0x80;
    const std::uint8_t most = count == 1 ? lead.second_most : 0xBF;
    if (byte < least || byte > most) return {count, false, false};
  }
  return {count, count == lead.bytes, count < lead.bytes};
}

}  // namespace

std::string Utf8Stream::feed(std::string_view bytes) {
  pending_ += bytes;
  std::string text;
  std::string_view rest = pending_;
  while (!rest.empty()) {
    const Taken taken = take(rest);
    if (taken.could_continue) break;
    text += taken.whole ? rest.substr(0, taken.bytes) : kReplacement;
    rest.remove_prefix(taken.bytes);
  }
  pending_ = std::string(rest);
  return text;
}

std::string Utf8Stream::finish() {
  if (pending_.empty()) return {};
  pending_.clear();
  return std::string(kReplacement);
}

}  // namespace hearth::text
