#include "daemon/broker/net/libtorch.h"

#include <cstdlib>
#include <optional>
#include <string_view>

#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

namespace hearth::broker {
namespace {

constexpr std::string_view kVersion = HEARTH_TORCH_VERSION;  // empty in a build without it

std::optional<std::string> data_home() {
  const char* const data = std::getenv("XDG_DATA_HOME");
  if (data != nullptr && *data == '/') return data;
  const char* const home = std::getenv("HOME");
  if (home != nullptr && *home == '/') return std::string(home) + "/.local/share";
  return std::nullopt;
}

// Not what somebody else could have put there: HOME survives many a sudo.
bool is_trusted_folder(const std::string& path) {
  struct stat found = {};
  if (::stat(path.c_str(), &found) != 0 || !S_ISDIR(found.st_mode)) return false;
  return found.st_uid == ::geteuid() || found.st_uid == 0;
}

}  // namespace

std::string_view libtorch_version() {
  return kVersion;
}

std::vector<std::string> own_libtorch() {
  const std::optional<std::string> home = data_home();
  if (kVersion.empty() || !home) return {};
  const std::string folder = fmt::format("{}/hearth/torch/{}/torch/lib", *home, kVersion);
  if (!is_trusted_folder(folder)) return {};
  return {"LD_LIBRARY_PATH=" + folder};
}

Error no_libtorch() {
  if (kVersion.empty())
    return fail(Code::kWorkerLost,
                "There is no engine: a library that it is linked with cannot be loaded; the log "
                "names it.",
                "Install that library.");
  return fail(
      Code::kWorkerLost,
      fmt::format("There is no engine: libtorch {}, with which it computes, is not here, or "
                  "cannot be loaded; the log names the library.",
                  kVersion),
      "Run: hearth setup. The service notices within half a minute.");
}

}  // namespace hearth::broker
