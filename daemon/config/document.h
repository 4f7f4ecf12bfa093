// What the table says, as documents: generated, never written by hand.
//
// Pure functions; any thread.
#pragma once

#include <string>

namespace hearth::config {

std::string document();      // docs/config.md
std::string example_file();  // systemd/hearth.toml: every default, commented out
std::string json_schema();   // of hearth.toml, JSON Schema 2020-12

}  // namespace hearth::config
