// The known word that somebody may have meant.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace hearth::config {

// Empty when none is near: within a third of the word's letters, and at least 2. Letters that are
// exchanged, missing, added or replaced count one each.
std::string nearest(std::string_view word, const std::vector<std::string>& known);

}  // namespace hearth::config
