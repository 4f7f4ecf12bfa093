// Text that must fit.
#pragma once

#include <cstddef>
#include <string>

namespace hearth {

// Cuts UTF-8 to at most `max_bytes`, before a character, never inside one: a receiver refuses
// broken UTF-8.
std::string cut(std::string text, std::size_t max_bytes);

}  // namespace hearth
