#include "daemon/broker/handover/format.h"

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <span>

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/mman.h>
#include <sys/stat.h>

namespace hearth::broker::handover {
namespace {

constexpr std::uint64_t kMagic = 0x31'45'54'41'54'53'52'48;  // "HRSTATE1"
constexpr int kSeals = F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE;
constexpr std::size_t kMostDescriptors = 1u << 20;

struct Header {
  std::uint64_t magic = kMagic;
  std::uint32_t format = kFormat;
  std::uint32_t readable_from = kReadableFrom;
  std::uint64_t n_descriptors = 0;
  std::uint64_t n_bytes = 0;
  std::uint64_t sum = 0;  // of all that follows
};
static_assert(sizeof(Header) == 40);

// Of accidents, not of forgers: eight bytes at a time, each at its own place.
std::uint64_t sum_of(std::string_view bytes, std::uint64_t sum) {
  std::uint64_t word = 0;
  for (std::size_t at = 0; at < bytes.size(); at += sizeof(word)) {
    word = 0;
    std::memcpy(&word, bytes.data() + at, std::min(sizeof(word), bytes.size() - at));
    sum = (sum ^ word) * 0x9E3779B97F4A7C15u;
    sum ^= sum >> 29;
  }
  return sum;
}

std::string_view bytes_of(const std::vector<int>& descriptors) {
  return {reinterpret_cast<const char*>(descriptors.data()), descriptors.size() * sizeof(int)};
}

Error cannot(std::string_view what) {
  return fail(Code::kOutOfMemory,
              fmt::format("{} of the state's memory: {}", what, std::strerror(errno)));
}

Error broken(std::string_view what) {
  return fail(Code::kInternal, fmt::format("The state that was handed over {}.", what));
}

Result<void> write_all(int fd, std::string_view bytes) {
  while (!bytes.empty()) {
    const ssize_t n = ::write(fd, bytes.data(), bytes.size());
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) return cannot("write");
    bytes.remove_prefix(static_cast<std::size_t>(n));
  }
  return {};
}

Result<void> read_all(int fd, std::span<char> into, std::uint64_t at) {
  for (std::size_t have = 0; have < into.size();) {
    const ssize_t n =
        ::pread(fd, into.data() + have, into.size() - have, static_cast<off_t>(at + have));
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) return broken("ends too early");
    have += static_cast<std::size_t>(n);
  }
  return {};
}

Result<void> check_header(const Header& header, std::uint64_t file_bytes) {
  if (header.magic != kMagic) return broken("is something else");
  const bool is_known = header.format >= kOldestFormat && header.readable_from <= kFormat;
  if (!is_known)
    return fail(Code::kVersion,
                fmt::format("The state has format {}, and this program reads {} to {}.",
                            header.format, kOldestFormat, kFormat));
  if (header.n_descriptors > kMostDescriptors || header.n_bytes > kMostStateBytes ||
      sizeof(Header) + header.n_descriptors * sizeof(int) + header.n_bytes != file_bytes)
    return broken("has another size than it says");
  return {};
}

}  // namespace

Program this_program(std::string version) {
  Program program;
  program.version = std::move(version);
  return program;
}

std::string to_line(const Program& program) {
  return fmt::format("hearthd {} state {} reads {} readable {}\n", program.version, program.format,
                     program.oldest_format, program.readable_from);
}

Result<Program> from_line(const std::string& line) {
  Program program;
  char version[65] = {};
  int end = 0;
  const int n = std::sscanf(line.c_str(), "hearthd %64s state %u reads %u readable %u%n", version,
                            &program.format, &program.oldest_format, &program.readable_from, &end);
  if (n != 4 || line.substr(static_cast<std::size_t>(end)) != "\n")
    return fail(Code::kVersion, "The program does not say which state it can take over.");
  program.version = version;
  return program;
}

Result<void> check_succession(const Program& writer, const Program& next) {
  const bool is_understood =
      next.oldest_format <= writer.format && writer.readable_from <= next.format;
  if (is_understood) return {};
  return fail(Code::kVersion,
              fmt::format("hearthd {} reads states of format {} to {}, and hearthd {} writes {}, "
                          "which {} and later understand.",
                          next.version, next.oldest_format, next.format, writer.version,
                          writer.format, writer.readable_from),
              "Restart the service instead: `systemctl restart hearthd`.");
}

Result<Fd> write_state(std::string_view bytes, const std::vector<int>& descriptors) {
  if (bytes.size() > kMostStateBytes)
    return fail(Code::kBusy,
                fmt::format("The state has {} MiB, over {}: requests that are open, and answers "
                            "that nobody reads.",
                            bytes.size() >> 20, kMostStateBytes >> 20),
                "`hearth jobs` and `hearth status` show whose they are. Ask for the upgrade again "
                "when they have ended, or end them with `hearth clients kick`.");
  Fd memfd(::memfd_create("hearth-state", MFD_CLOEXEC | MFD_ALLOW_SEALING));
  if (!memfd) return cannot("memfd_create");
  Header header;
  header.n_descriptors = descriptors.size();
  header.n_bytes = bytes.size();
  header.sum = sum_of(bytes, sum_of(bytes_of(descriptors), 0));
  CHECK_OK(write_all(memfd.get(), {reinterpret_cast<const char*>(&header), sizeof(header)}));
  CHECK_OK(write_all(memfd.get(), bytes_of(descriptors)));
  CHECK_OK(write_all(memfd.get(), bytes));
  if (::fcntl(memfd.get(), F_ADD_SEALS, kSeals) != 0) return cannot("sealing");
  return memfd;
}

Result<State> read_state(int memfd) {
  struct stat file = {};
  if (::fstat(memfd, &file) != 0 || (::fcntl(memfd, F_GET_SEALS) & kSeals) != kSeals)
    return broken("is no sealed memory");
  Header header;
  CHECK_OK(read_all(memfd, {reinterpret_cast<char*>(&header), sizeof(header)}, 0));
  CHECK_OK(check_header(header, static_cast<std::uint64_t>(file.st_size)));
  State state;
  state.format = header.format;
  state.descriptors.resize(header.n_descriptors);
  state.bytes.resize(header.n_bytes);
  const std::size_t numbers_bytes = header.n_descriptors * sizeof(int);
  CHECK_OK(read_all(memfd, {reinterpret_cast<char*>(state.descriptors.data()), numbers_bytes},
                    sizeof(header)));
  CHECK_OK(read_all(memfd, state.bytes, sizeof(header) + numbers_bytes));
  if (sum_of(state.bytes, sum_of(bytes_of(state.descriptors), 0)) != header.sum)
    return broken("has a wrong sum");
  return state;
}

}  // namespace hearth::broker::handover
