// Bytes in, whole UTF-8 characters out.
//
// Invalid bytes become U+FFFD exactly as Python's bytes.decode("utf-8", errors="replace") does: one
// for each maximal part of a character that cannot be completed. One sequence, one thread.
#pragma once

#include <string>
#include <string_view>

namespace hearth::text {

class Utf8Stream {
 public:
  // Adds bytes and returns the characters complete by now.
  std::string feed(std::string_view bytes);
  // The bytes end here: U+FFFD for an unfinished character, or nothing.
  std::string finish();

 private:
  std::string pending_;  // the beginning of a character, at most 3 bytes
};

}  // namespace hearth::text
