#include "models/weights/weights_file.h"

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <cstring>
#include <functional>
#include <mutex>
#include <thread>

#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include "models/weights/crc32c.h"
#include "models/weights/share_out.h"

namespace hearth::weights {
namespace {

constexpr std::uint64_t kHeaderBytes = 4096;
constexpr std::uint64_t kBlockBytes = std::uint64_t{4} << 20;
constexpr std::size_t kMostReaders = 8;  // as in loader.cpp
constexpr std::array<char, 8> kMagic = {'H', 'R', 'T', 'W', 'G', 'T', 'S', '\n'};

struct Header {
  std::array<char, 8> magic = kMagic;
  std::uint64_t version = kLayoutVersion;
  std::uint64_t bytes = 0;
  std::uint64_t fingerprint = 0;
  std::uint32_t table_crc = 0;
  std::uint32_t header_crc = 0;  // of all before
};
static_assert(sizeof(Header) == 40);

std::uint32_t crc_of(const Header& header) {
  return crc32c(0, reinterpret_cast<const std::byte*>(&header), offsetof(Header, header_crc));
}

template <class T>
std::uint32_t crc_of(const std::vector<T>& items) {
  return crc32c(0, reinterpret_cast<const std::byte*>(items.data()), items.size() * sizeof(T));
}

std::uint64_t blocks_of(std::uint64_t bytes) {
  return (bytes + kBlockBytes - 1) / kBlockBytes;
}

bool write_at(int fd, std::uint64_t offset, const void* data, std::uint64_t bytes) {
  const auto* from = static_cast<const char*>(data);
  while (bytes > 0) {
    const ssize_t written = ::pwrite(fd, from, bytes, static_cast<off_t>(offset));
    if (written < 0 && errno == EINTR) continue;
    if (written <= 0) return false;
    from += written;
    offset += static_cast<std::uint64_t>(written);
    bytes -= static_cast<std::uint64_t>(written);
  }
  return true;
}

bool read_at(int fd, std::uint64_t offset, void* data, std::uint64_t bytes) {
  auto* to = static_cast<char*>(data);
  while (bytes > 0) {
    const ssize_t read = ::pread(fd, to, bytes, static_cast<off_t>(offset));
    if (read < 0 && errno == EINTR) continue;
    if (read <= 0) return false;
    to += read;
    offset += static_cast<std::uint64_t>(read);
    bytes -= static_cast<std::uint64_t>(read);
  }
  return true;
}

Error damaged(std::string_view what) {
  return fail(Code::kBadModel, fmt::format("the kept weights are not usable: {}", what));
}

// FNV-1a, 64 bits: nobody chooses what it is of.
class Fingerprint {
 public:
  void add(std::uint64_t number) { add(&number, sizeof number); }
  void add(std::string_view text) {
    add(text.size());
    add(text.data(), text.size());
  }
  std::uint64_t value() const { return value_; }

 private:
  void add(const void* data, std::size_t bytes) {
    for (std::size_t i = 0; i < bytes; ++i)
      value_ = (value_ ^ static_cast<const std::uint8_t*>(data)[i]) * 0x100000001b3;
  }
  std::uint64_t value_ = 0xcbf29ce484222325;
};

template <class... Numbers>
void add_all(Fingerprint& print, Numbers... numbers) {
  (print.add(static_cast<std::uint64_t>(numbers)), ...);
}

void add_entry(Fingerprint& print, const files::WeightIndex& index,
               const files::WeightEntry& entry) {
  print.add(entry.stored_name);
  print.add(index.label_of(entry));
  add_all(print, entry.dtype, entry.offset, entry.nbytes, entry.shape.size());
  for (const std::int64_t size : entry.shape) add_all(print, size);
}

class Reading {
 public:
  Reading(int fd, const Plan& plan, const models::LoadOptions& options, Arena& arena)
      : fd_(fd),
        bytes_(plan.bytes),
        options_(options),
        arena_(arena),
        table_(static_cast<std::size_t>(blocks_of(plan.bytes))),
        done_(table_.size()) {}

  Result<void> check(std::uint64_t fingerprint) {
    struct stat file {};
    Header header;
    if (::fstat(fd_, &file) != 0 || !read_at(fd_, 0, &header, sizeof header))
      return damaged("no header");
    if (header.magic != kMagic || header.header_crc != crc_of(header))
      return damaged("the header is damaged");
    if (header.version != kLayoutVersion || header.fingerprint != fingerprint ||
        header.bytes != bytes_)
      return damaged("they are of other weights");
    const std::uint64_t table_bytes = table_.size() * sizeof table_[0];
    if (static_cast<std::uint64_t>(file.st_size) != kHeaderBytes + bytes_ + table_bytes)
      return damaged(fmt::format("the file has {} bytes", file.st_size));
    if (!read_at(fd_, kHeaderBytes + bytes_, table_.data(), table_bytes) ||
        crc_of(table_) != header.table_crc)
      return damaged("the checksums are damaged");
    return {};
  }

  Result<void> run() {
    const auto& told = options_.on_progress;
    const auto hire = [this] { return [this](std::size_t block) { return take(block); }; };
    const auto tell = [&] { told(read_bytes_.load(), bytes_); };
    CHECK_OK(share_out(table_.size(), threads(), hire, told ? tell : std::function<void()>()));
    if (told) told(bytes_, bytes_);
    return {};
  }

 private:
  std::size_t threads() const {
    const std::size_t wanted =
        options_.device.threads > 0 ? options_.device.threads : std::thread::hardware_concurrency();
    return std::clamp<std::size_t>(std::min(wanted, kMostReaders), 1,
                                   std::max<std::size_t>(table_.size(), 1));
  }

  Result<void> take(std::size_t block) {
    if (options_.cancelled != nullptr && options_.cancelled->load())
      return fail(Code::kCancelled, "loading was cancelled");
    const std::uint64_t begin = block * kBlockBytes;
    const std::uint64_t count = std::min(kBlockBytes, bytes_ - begin);
    std::byte* target = arena_.host() + begin;
    if (!read_at(fd_, kHeaderBytes + begin, target, count))
      return damaged(fmt::format("block {} cannot be read", block));
    if (crc32c(0, target, count) != table_[block])
      return damaged(fmt::format("block {} of {} is damaged", block, table_.size()));
    read_bytes_.fetch_add(count);
    return finish(block);
  }

  Result<void> finish(std::size_t block) {
    const std::lock_guard lock(mutex_);
    done_[block] = true;
    const std::size_t before = arrived_;
    while (arrived_ < done_.size() && done_[arrived_]) ++arrived_;
    if (arrived_ == before) return {};
    return arena_.arrived(std::min(arrived_ * kBlockBytes, bytes_));
  }

  const int fd_;
  const std::uint64_t bytes_;
  const models::LoadOptions& options_;
  Arena& arena_;
  std::vector<std::uint32_t> table_;
  std::atomic<std::uint64_t> read_bytes_{0};

  std::mutex mutex_;  // guards what follows
  std::vector<bool> done_;
  std::size_t arrived_ = 0;  // blocks
};

}  // namespace

bool rounds(const Plan& plan) {
  return std::any_of(
      plan.placements.begin(), plan.placements.end(),
      [](const Placement& placement) { return placement.is_packed() && !placement.keeps_codes; });
}

std::uint64_t fingerprint_of(const files::WeightIndex& index, const Plan& plan) {
  Fingerprint print;
  add_all(print, kLayoutVersion, plan.bytes, plan.placements.size());
  for (const Placement& placement : plan.placements) {
    add_all(print, placement.format, placement.rows, placement.columns, placement.offset,
            placement.scale_offset, placement.keeps_codes, placement.added != 0.0F,
            placement.sources.size());
    for (const Source& source : placement.sources) {
      add_entry(print, index, *source.entry);
      add_all(print, source.rows, source.first, source.step, source.from, source.column,
              source.stored_columns, source.scale != nullptr);
      if (source.scale != nullptr && source.scale->entry != nullptr)
        add_entry(print, index, *source.scale->entry);
    }
  }
  return print.value();
}

Result<void> KeptArena::arrived(std::uint64_t end) {
  if (!failed_) keep(std::min(end, bytes_));
  return arena_.arrived(end);
}

void KeptArena::keep(std::uint64_t end) {
  while (kept_ < end) {
    const std::uint64_t block_end = std::min((kept_ / kBlockBytes + 1) * kBlockBytes, bytes_);
    const std::uint64_t count = std::min(end, block_end) - kept_;
    const std::byte* from = arena_.host() + kept_;
    failed_ = !write_at(fd_, kHeaderBytes + kept_, from, count);
    if (failed_) return;
    crc_ = crc32c(crc_, from, count);
    kept_ += count;
    if (kept_ == block_end) table_.push_back(std::exchange(crc_, 0));
  }
}

std::uint64_t KeptArena::finish(std::uint64_t fingerprint) {
  if (failed_ || kept_ != bytes_) return 0;
  Header header{.bytes = bytes_, .fingerprint = fingerprint, .table_crc = crc_of(table_)};
  header.header_crc = crc_of(header);
  const std::uint64_t table_bytes = table_.size() * sizeof table_[0];
  if (!write_at(fd_, kHeaderBytes + bytes_, table_.data(), table_bytes) ||
      !write_at(fd_, 0, &header, sizeof header))
    return 0;
  return kHeaderBytes + bytes_ + table_bytes;
}

Result<void> read_weights_file(int fd, std::uint64_t fingerprint, const Plan& plan,
                               const models::LoadOptions& options, Arena& arena) {
  Reading reading(fd, plan, options, arena);
  CHECK_OK(reading.check(fingerprint));
  return reading.run();
}

}  // namespace hearth::weights
