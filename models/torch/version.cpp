#include "models/torch/version.h"

#include <dlfcn.h>
#include <fmt/format.h>

namespace hearth::engine {
namespace {

constexpr int kPatchShift = 40;

constexpr std::uint64_t kBuiltFor = std::uint64_t{HEARTH_TORCH_MAJOR} << 56 |
                                    std::uint64_t{HEARTH_TORCH_MINOR} << 48 |
                                    std::uint64_t{HEARTH_TORCH_PATCH} << kPatchShift;

}  // namespace

// By name: a header's function would make the loader refuse a libtorch that lacks it, in its words.
std::uint64_t loaded_version() {
  using Version = std::uint64_t();
  auto* const version = reinterpret_cast<Version*>(::dlsym(RTLD_DEFAULT, "aoti_torch_abi_version"));
  return version == nullptr ? 0 : version();
}

std::string version_text(std::uint64_t packed) {
  if (packed == 0) return "of an unknown version";
  return fmt::format("{}.{}.{}", packed >> 56 & 0xff, packed >> 48 & 0xff,
                     packed >> kPatchShift & 0xff);
}

Result<void> check_version(std::uint64_t packed) {
  if (packed >> kPatchShift == kBuiltFor >> kPatchShift) return {};
  return fail(Code::kUnsupported,
              fmt::format("The engine was built for libtorch {} and was given libtorch {}.",
                          version_text(kBuiltFor), version_text(packed)),
              "Run: hearth setup, which brings the right one; or take the wrong one out of "
              "LD_LIBRARY_PATH.");
}

}  // namespace hearth::engine
