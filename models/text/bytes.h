// Bytes, characters and the alphabet that byte-level BPE writes bytes in. Internal to text/.
#pragma once

#include <array>
#include <cstddef>
#include <optional>
#include <string>
#include <string_view>

namespace hearth::text {

// One UTF-8 character of well-formed text, and how many bytes it has.
struct CodePoint {
  char32_t value = 0;
  std::size_t bytes = 0;
};
CodePoint code_point_at(std::string_view well_formed, std::size_t position);

// GPT-2's printable alphabet: byte -> character ("Ġ" for the space), as UTF-8.
const std::array<std::string, 256>& byte_alphabet();

// "Ġhello" -> " hello". Empty when a character is not of the alphabet.
std::optional<std::string> bytes_of_written(std::string_view written);

// Normal form C. Empty when more combining marks follow each other than any script needs: sorting
// them takes quadratic time.
std::optional<std::string> normal_form_c(std::string_view well_formed);

}  // namespace hearth::text
