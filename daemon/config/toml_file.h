// Settings from the text of a TOML file. The only user of toml++.
//
// Values; any thread.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "daemon/config/settings.h"

namespace hearth::config {

// What is wrong, and where: "FILE:LINE:COLUMN", an option, or HEARTH_….
struct Problem {
  std::string where;
  std::string what;  // a sentence that may begin with a key
};

// "WHERE: WHAT"
std::string text_of(const Problem& problem);

// Reads all of `text` into `settings` and appends what is wrong with it. A text that is no TOML has
// one problem, any other all that there are; what is right counts in any case. `file` is for
// origins and problems.
void read_toml(std::string_view text, const std::string& file, Settings& settings,
               std::vector<Problem>& problems);

// What is wrong with the name in the place of the row's `*`; empty: nothing.
std::string fault_of_instance(const Row& row, std::string_view name);

// "there is no setting KEY; did you mean OTHER?"
std::string unknown_key(std::string_view key);

}  // namespace hearth::config
