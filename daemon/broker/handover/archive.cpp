#include "daemon/broker/handover/archive.h"

#include <algorithm>
#include <bit>

#include <fmt/format.h>

#include "daemon/broker/handover/format.h"

namespace hearth::broker::handover {
namespace {

// msgpack's, the widest form of each.
constexpr std::uint8_t kNil = 0xc0;
constexpr std::uint8_t kFalse = 0xc2;
constexpr std::uint8_t kTrue = 0xc3;
constexpr std::uint8_t kBytes = 0xc6;
constexpr std::uint8_t kReal = 0xcb;
constexpr std::uint8_t kNatural = 0xcf;
constexpr std::uint8_t kInteger = 0xd3;
constexpr std::uint8_t kDescriptor = 0xd6;  // an extension of four bytes
constexpr std::uint8_t kName = 0xd9;
constexpr std::uint8_t kArray = 0xdd;
constexpr std::uint8_t kMap = 0xdf;
constexpr std::uint8_t kDescriptorType = 1;

}  // namespace

// --- writing -----------------------------------------------------------------------------------

std::string_view Saver::next_name(std::string_view& names) {
  const std::size_t end = std::min(names.find(','), names.size());
  std::string_view name = names.substr(0, end);
  names.remove_prefix(std::min(end + 1, names.size()));
  while (name.starts_with(' ')) name.remove_prefix(1);
  return name;
}

void Saver::put(std::uint8_t tag, std::uint64_t value, int n_bytes) {
  bytes_.push_back(static_cast<char>(tag));
  for (int shift = 8 * (n_bytes - 1); shift >= 0; shift -= 8)
    bytes_.push_back(static_cast<char>(value >> shift));
}

void Saver::begin_map(std::size_t entries) {
  put(kMap, entries, 4);
}

void Saver::begin_array(std::size_t items) {
  put(kArray, items, 4);
}

void Saver::name(std::string_view name) {
  put(kName, name.size(), 1);
  bytes_ += name;
}

void Saver::nil() {
  put(kNil, 0, 0);
}

void Saver::boolean(bool value) {
  put(value ? kTrue : kFalse, 0, 0);
}

void Saver::natural(std::uint64_t value) {
  put(kNatural, value, 8);
}

void Saver::integer(std::int64_t value) {
  put(kInteger, static_cast<std::uint64_t>(value), 8);
}

void Saver::real(double value) {
  put(kReal, std::bit_cast<std::uint64_t>(value), 8);
}

void Saver::text(std::string_view bytes) {
  put(kBytes, bytes.size(), 4);
  bytes_ += bytes;
}

void Saver::descriptor(int fd) {
  put(kDescriptor, kDescriptorType, 1);
  for (int shift = 24; shift >= 0; shift -= 8)
    bytes_.push_back(static_cast<char>(static_cast<std::uint32_t>(fd) >> shift));
  if (fd >= 0) descriptors_[fd] = true;
}

std::vector<int> Saver::descriptors() const {
  std::vector<int> fds;
  for (const auto& [fd, is_saved] : descriptors_) fds.push_back(fd);
  return fds;
}

// --- reading -----------------------------------------------------------------------------------

Loader::Loader(std::string_view bytes, std::uint32_t format, std::span<const int> descriptors)
    : bytes_(bytes), is_strict_(format == kFormat) {
  for (const int fd : descriptors) owned_.emplace(fd, Fd(fd));
}

void Loader::refuse(std::string_view problem) {
  if (problem_.empty()) problem_ = fmt::format("{} (at byte {})", problem, at_);
}

void Loader::disown() {
  for (auto* kept : {&owned_, &numbers_}) {
    for (auto& [number, fd] : *kept) fd.release();
    kept->clear();
  }
}

void Loader::give_numbers() {
  if (!problem_.empty()) return;
  for (auto& [number, fd] : numbers_) fd.release();
  numbers_.clear();
}

Result<void> Loader::result() const {
  if (problem_.empty()) return {};
  return fail(Code::kInternal, "The state that was handed over is not as it should be: " + problem_,
              "Please report it with the service's log.");
}

std::uint64_t Loader::take(std::uint8_t tag, int n_bytes) {
  if (!problem_.empty()) return 0;
  if (!has(1 + static_cast<std::size_t>(n_bytes))) return refuse("it ends too early"), 0;
  if (static_cast<std::uint8_t>(bytes_[at_]) != tag)
    return refuse(fmt::format("a value of kind {:#x} is not of kind {:#x}",
                              static_cast<std::uint8_t>(bytes_[at_]), tag)),
           0;
  ++at_;
  std::uint64_t value = 0;
  for (; n_bytes > 0; --n_bytes) value = value << 8 | static_cast<std::uint8_t>(bytes_[at_++]);
  return value;
}

Loader::Entries Loader::begin_map() {
  Entries entries;
  for (std::uint64_t n = take(kMap, 4); n > 0 && problem_.empty(); --n) {
    const std::uint64_t length = take(kName, 1);
    if (!has(length)) return refuse("a name ends too early"), entries;
    entries.list.push_back({bytes_.substr(at_, length), at_ + length, false});
    at_ += length;
    skip();
  }
  entries.end = at_;
  return entries;
}

bool Loader::seek(Entries& entries, std::string_view name) {
  if (!problem_.empty()) return false;
  for (Entry& entry : entries.list) {
    if (entry.name != name) continue;
    entry.is_read = true;
    at_ = entry.at;
    return true;
  }
  if (is_strict_) refuse(fmt::format("{} is missing", name));
  return false;
}

void Loader::end_map(const Entries& entries) {
  if (!problem_.empty()) return;
  at_ = entries.end;
  if (!is_strict_) return;
  for (const Entry& entry : entries.list)
    if (!entry.is_read) refuse(fmt::format("{} is unknown", entry.name));
}

std::size_t Loader::begin_array() {
  const std::uint64_t items = take(kArray, 4);
  if (items > bytes_.size() - at_) return refuse("an array is longer than what is left"), 0;
  return items;
}

bool Loader::is_nil() {
  if (!has(1) || static_cast<std::uint8_t>(bytes_[at_]) != kNil) return false;
  ++at_;
  return true;
}

bool Loader::boolean() {
  if (has(1) && static_cast<std::uint8_t>(bytes_[at_]) == kTrue) return ++at_, true;
  take(kFalse, 0);
  return false;
}

std::uint64_t Loader::natural() {
  return take(kNatural, 8);
}

std::int64_t Loader::integer() {
  return static_cast<std::int64_t>(take(kInteger, 8));
}

double Loader::real() {
  return std::bit_cast<double>(take(kReal, 8));
}

std::string_view Loader::text() {
  const std::uint64_t length = take(kBytes, 4);
  if (!has(length)) return refuse("a text ends too early"), std::string_view();
  at_ += length;
  return bytes_.substr(at_ - length, length);
}

int Loader::descriptor() {
  const std::uint64_t type = take(kDescriptor, 1);
  if (type != kDescriptorType || !has(4)) return refuse("a descriptor is none"), -1;
  std::uint32_t fd = 0;
  for (int i = 0; i < 4; ++i) fd = fd << 8 | static_cast<std::uint8_t>(bytes_[at_++]);
  const int number = static_cast<int>(fd);
  if (number >= 0 && !owned_.contains(number) && !shared_.contains(number))
    refuse(fmt::format("descriptor {} did not come along", number));
  return number;
}

int Loader::number() {
  const int fd = descriptor();
  if (auto node = owned_.extract(fd)) numbers_.insert(std::move(node));
  return fd;
}

SharedFd Loader::shared(int fd) {
  if (fd < 0 || !problem_.empty()) return nullptr;
  if (const auto node = owned_.extract(fd)) shared_[fd] = adopt_(std::move(node.mapped()));
  return shared_[fd];
}

void Loader::skip() {
  // Values that are still to come; maps have their names among them.
  for (std::uint64_t left = 1; left > 0 && problem_.empty(); --left) {
    if (!has(1)) return refuse("it ends too early");
    switch (static_cast<std::uint8_t>(bytes_[at_])) {
      case kNil:
      case kFalse:
      case kTrue:
        ++at_;
        break;
      case kReal:
      case kNatural:
      case kInteger:
        take(static_cast<std::uint8_t>(bytes_[at_]), 8);
        break;
      case kDescriptor:
        descriptor();
        break;
      case kBytes:
        text();
        break;
      case kName:
        at_ += take(kName, 1);
        break;
      case kArray:
        left += begin_array();
        break;
      case kMap:
        left += 2 * take(kMap, 4);
        break;
      default:
        refuse("a value of an unknown kind");
    }
    if (at_ > bytes_.size()) refuse("it ends too early");
  }
}

}  // namespace hearth::broker::handover
