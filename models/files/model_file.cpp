#include "models/files/model_file.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <system_error>

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

namespace hearth::files {
namespace {

Error unreadable(const models::ModelFile& file, int error_number) {
  return fail(Code::kBadModel, fmt::format("{} cannot be read: {}.", file.label,
                                           std::generic_category().message(error_number)));
}

Error ends_early(const models::ModelFile& file, std::uint64_t offset, std::size_t missing) {
  return fail(Code::kBadModel,
              fmt::format("{} ends at byte {}, {} bytes too early.", file.label, offset, missing));
}

// Whether the system holds this byte in memory. Asking for it starts to fetch it where it does not.
bool is_cached(const models::ModelFile& file, std::uint64_t offset) {
  std::byte byte{};
  const iovec target = {&byte, 1};
  return ::preadv2(file.fd->get(), &target, 1, static_cast<off_t>(offset), RWF_NOWAIT) == 1;
}

// What is left to fill after `done` bytes, as much of it as one call takes.
std::size_t rest_of(const RowTarget& target, std::size_t done, std::span<iovec> parts) {
  std::size_t row = done / target.row_bytes;
  std::size_t skipped = done % target.row_bytes;
  std::size_t count = 0;
  for (; row < target.rows && count < parts.size(); ++row, ++count, skipped = 0)
    parts[count] = {target.first + row * target.stride_bytes + skipped, target.row_bytes - skipped};
  return count;
}

std::int64_t nanoseconds(const timespec& time) {
  return static_cast<std::int64_t>(time.tv_sec) * 1'000'000'000 + time.tv_nsec;
}

}  // namespace

Result<FileIdentity> identity_of(const models::ModelFile& file) {
  struct stat status {};
  if (!file.fd || ::fstat(file.fd->get(), &status) != 0) return unreadable(file, errno);
  if (!S_ISREG(status.st_mode))
    return fail(Code::kBadModel, fmt::format("{} is not a regular file.", file.label));
  return FileIdentity{.device = status.st_dev,
                      .inode = status.st_ino,
                      .size_bytes = static_cast<std::uint64_t>(status.st_size),
                      .modified_ns = nanoseconds(status.st_mtim),
                      .changed_ns = nanoseconds(status.st_ctim)};
}

const models::ModelFile* find_file(const models::ModelFiles& files, std::string_view label) {
  for (const auto& file : files)
    if (file.label == label) return &file;
  return nullptr;
}

Result<void> read_at(const models::ModelFile& file, std::uint64_t offset,
                     std::span<std::byte> out) {
  constexpr std::size_t kLargestReadBytes = std::size_t{1} << 30;  // Linux stops short of 2 GiB
  while (!out.empty()) {
    const auto wanted = std::min(out.size(), kLargestReadBytes);
    const auto got = ::pread(file.fd->get(), out.data(), wanted, static_cast<off_t>(offset));
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return unreadable(file, errno);
    if (got == 0) return ends_early(file, offset, out.size());
    out = out.subspan(static_cast<std::size_t>(got));
    offset += static_cast<std::uint64_t>(got);
  }
  return {};
}

Result<void> read_rows(const models::ModelFile& file, std::uint64_t offset,
                       const RowTarget& target) {
  const std::size_t bytes = target.rows * target.row_bytes;
  if (target.stride_bytes == target.row_bytes) return read_at(file, offset, {target.first, bytes});
  constexpr std::size_t kMostParts = 1024;  // IOV_MAX
  std::array<iovec, kMostParts> parts;
  for (std::size_t done = 0; done < bytes;) {
    const std::size_t count = rest_of(target, done, parts);
    const auto got = ::preadv(file.fd->get(), parts.data(), static_cast<int>(count),
                              static_cast<off_t>(offset + done));
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return unreadable(file, errno);
    if (got == 0) return ends_early(file, offset + done, bytes - done);
    done += static_cast<std::size_t>(got);
  }
  return {};
}

void prefetch(const models::ModelFile& file, std::uint64_t offset, std::uint64_t bytes) {
  // Advising costs a walk over every page, so what begins and ends in memory is left alone.
  if (bytes == 0 || (is_cached(file, offset) && is_cached(file, offset + bytes - 1))) return;
  static_cast<void>(::posix_fadvise(file.fd->get(), static_cast<off_t>(offset),
                                    static_cast<off_t>(bytes), POSIX_FADV_WILLNEED));
}

Result<std::string> read_whole(const models::ModelFile& file, std::size_t max_bytes) {
  TRY(const auto identity, identity_of(file));
  if (identity.size_bytes > max_bytes)
    return fail(Code::kBadModel, fmt::format("{} has {} bytes; at most {} are read.", file.label,
                                             identity.size_bytes, max_bytes));
  std::string text(static_cast<std::size_t>(identity.size_bytes), '\0');
  CHECK_OK(read_at(file, 0, std::as_writable_bytes(std::span(text))));
  return text;
}

std::string shortened(std::string_view text) {
  constexpr std::size_t kMaxBytes = 100;
  if (text.size() <= kMaxBytes) return std::string(text);
  auto end = kMaxBytes;
  while (end > 0 && (static_cast<unsigned char>(text[end]) & 0xC0) == 0x80) --end;
  return std::string(text.substr(0, end)) + "…";
}

}  // namespace hearth::files
