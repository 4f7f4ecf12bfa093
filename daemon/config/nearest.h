// The known word that somebody may have meant.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace hearth::config {

// Empty when none is near: one slip, or as many as a third of the letters behind the word's last
// dot or underscore. A slip is a letter missing, added or replaced, or two neighbours exchanged.
std::string nearest(std::string_view word, const std::vector<std::string>& known);

}  // namespace hearth::config
