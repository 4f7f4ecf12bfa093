// SHA-256 (FIPS 180-4) of short texts. Internal to text/: names known chat templates, guards
// nothing.
#pragma once

#include <string>
#include <string_view>

namespace hearth::text {

// 64 hexadecimal digits, lower case.
std::string sha256_hex(std::string_view text);

}  // namespace hearth::text
