// Text that must fit, and that must be text.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace hearth {

// Cuts UTF-8 to at most `max_bytes`, before a character, never inside one: a receiver refuses
// broken UTF-8.
std::string cut(std::string text, std::size_t max_bytes);

// `text` with U+FFFD in the place of every byte that does not belong to a character.
std::string whole_utf8(std::string_view text);

// A text for people who look after the service, without what belongs to a user alone: paths below a
// home become ~/…, and so, where `hides_quoted`, does what stands between double quotes "…".
std::string redacted(std::string_view text, bool hides_quoted);

}  // namespace hearth
