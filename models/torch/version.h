// Which libtorch was loaded, and whether it is the one this build was made for. Any thread.
//
// libtorch's C++ interface promises nothing from one release to the next: a call into another one
// may compute nonsense instead of failing.
#pragma once

#include <cstdint>
#include <string>

#include "shm/base/result.h"

namespace hearth::engine {

// As libtorch packs it: major, minor, patch in the three highest bytes. 0: one that cannot say.
std::uint64_t loaded_version();

// "2.11.0"; "of an unknown version" for 0.
std::string version_text(std::uint64_t packed);

// Errors: unsupported, when it is not the release of the build.
Result<void> check_version(std::uint64_t packed);

}  // namespace hearth::engine
