#include "daemon/broker/weights_cache.h"

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <string_view>
#include <system_error>
#include <vector>

#include <dirent.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>

namespace hearth::broker {
namespace {

constexpr std::string_view kSuffix = ".weights";
constexpr std::size_t kKeyDigits = 40;

struct Found {
  std::string name;
  std::uint64_t bytes = 0;
  timespec used{};
};

bool is_ours(std::string_view name) {
  if (name.size() != kKeyDigits + kSuffix.size() || !name.ends_with(kSuffix)) return false;
  return name.find_first_not_of("0123456789abcdef") == kKeyDigits;
}

std::string name_of(const std::string& key) {
  return key + std::string(kSuffix);
}

std::vector<Found> list(int folder) {
  std::vector<Found> found;
  const int again = ::openat(folder, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  DIR* entries = again < 0 ? nullptr : ::fdopendir(again);
  if (entries == nullptr) {
    if (again >= 0) ::close(again);
    return found;
  }
  while (const dirent* entry = ::readdir(entries)) {
    struct stat file {};
    if (!is_ours(entry->d_name)) continue;
    if (::fstatat(folder, entry->d_name, &file, AT_SYMLINK_NOFOLLOW) != 0) continue;
    if (S_ISREG(file.st_mode))
      found.push_back({entry->d_name, static_cast<std::uint64_t>(file.st_size), file.st_mtim});
  }
  ::closedir(entries);
  return found;
}

std::uint64_t sum_of(const std::vector<Found>& files) {
  std::uint64_t bytes = 0;
  for (const Found& file : files) bytes += file.bytes;
  return bytes;
}

bool was_used_before(const Found& a, const Found& b) {
  return std::pair(a.used.tv_sec, a.used.tv_nsec) < std::pair(b.used.tv_sec, b.used.tv_nsec);
}

}  // namespace

Result<std::shared_ptr<const WeightsCache>> WeightsCache::open(const std::string& folder,
                                                               std::uint64_t most_bytes) {
  std::error_code error;
  const std::filesystem::path path(folder);
  if (path.has_parent_path()) std::filesystem::create_directories(path.parent_path(), error);
  ::mkdir(folder.c_str(), 0700);  // what is there already serves as well
  Fd opened(::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!opened)
    return fail(Code::kBadRequest,
                fmt::format("{} cannot keep rounded weights: {}.", folder, std::strerror(errno)),
                "Name a folder that can be written with --cache-dir, or none: --cache-dir ''.");
  auto cache = std::shared_ptr<const WeightsCache>(new WeightsCache(std::move(opened), most_bytes));
  if (!cache->new_file())
    return fail(Code::kBadRequest,
                fmt::format("{} cannot keep rounded weights: no file without a name can be made "
                            "in it ({}).",
                            folder, std::strerror(errno)),
                "Name a folder on another file system with --cache-dir, or none: --cache-dir ''.");
  return cache;
}

std::string WeightsCache::default_folder() {
  const auto named = [](const char* variable) {
    const char* value = std::getenv(variable);
    return std::string(value == nullptr ? "" : value);
  };
  // systemd separates several by colons.
  if (std::string cache = named("CACHE_DIRECTORY"); !cache.empty())
    return cache.substr(0, cache.find(':')) + "/weights";
  if (const std::string cache = named("XDG_CACHE_HOME"); !cache.empty())
    return cache + "/hearth/weights";
  const std::string home = named("HOME");
  return home.empty() ? "" : home + "/.cache/hearth/weights";
}

Fd WeightsCache::new_file() const {
  return Fd(::openat(folder_.get(), ".", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600));
}

std::optional<WeightsCache::File> WeightsCache::find(const std::string& key) const {
  Fd fd(::openat(folder_.get(), name_of(key).c_str(),
                 O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC));
  struct stat file {};
  if (fd && ::fstat(fd.get(), &file) == 0 && S_ISREG(file.st_mode) && file.st_uid == ::geteuid()) {
    ::futimens(fd.get(), nullptr);  // or it counts as not used for longer than it was
    return File{key, std::make_shared<const Fd>(std::move(fd)), false};
  }
  Fd made = new_file();
  if (!made) return std::nullopt;
  return File{key, std::make_shared<const Fd>(std::move(made)), true};
}

Result<void> WeightsCache::keep(const File& file) const {
  struct stat written {};
  if (::fstat(file.fd->get(), &written) != 0)
    return fail(Code::kInternal, fmt::format("a file of weights: {}", std::strerror(errno)));
  const auto bytes = static_cast<std::uint64_t>(written.st_size);
  if (bytes > most_bytes_)
    return fail(Code::kOutOfMemory,
                fmt::format("{} MB of rounded weights are not kept: all may take {} MB.",
                            bytes >> 20, most_bytes_ >> 20),
                "Raise --cache-size.");
  std::vector<Found> others = list(folder_.get());
  std::sort(others.begin(), others.end(), was_used_before);
  std::uint64_t all = sum_of(others) + bytes;
  for (const Found& other : others) {
    if (all <= most_bytes_) break;
    ::unlinkat(folder_.get(), other.name.c_str(), 0);
    all -= other.bytes;
  }
  const std::string unnamed = fmt::format("/proc/self/fd/{}", file.fd->get());
  const std::string name = name_of(file.key);
  if (::linkat(AT_FDCWD, unnamed.c_str(), folder_.get(), name.c_str(), AT_SYMLINK_FOLLOW) == 0)
    return {};
  if (errno == EEXIST) return {};  // another service was faster, with the same
  return fail(Code::kInternal,
              fmt::format("rounded weights cannot be kept as {}: {}", name, std::strerror(errno)));
}

void WeightsCache::drop(const std::string& key) const {
  ::unlinkat(folder_.get(), name_of(key).c_str(), 0);
}

std::uint64_t WeightsCache::bytes() const {
  return sum_of(list(folder_.get()));
}

}  // namespace hearth::broker
