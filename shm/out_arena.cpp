#include "shm/out_arena.h"

#include <cassert>
#include <new>
#include <utility>

#include <boost/interprocess/managed_external_buffer.hpp>

#include "shm/tensor.h"

namespace hearth {
namespace {

namespace ipc = boost::interprocess;

constexpr std::uint64_t kPageBytes = 4096;
constexpr std::uint64_t kBookkeepingBytes = 4096;  // of the allocator itself; 128 today

// Results of a page and more begin on a page, as copies and transfers like it.
std::uint64_t alignment_of(std::uint64_t nbytes) {
  return nbytes >= kPageBytes ? kPageBytes : kSlotAlignment;
}

std::uint64_t whole_pages(std::uint64_t nbytes) {
  return (nbytes + kPageBytes - 1) / kPageBytes * kPageBytes;
}

}  // namespace

// Without a mutex: one thread owns an arena.
struct OutArena::Allocator {
  ipc::managed_external_buffer buffer;
};

WriteSlot::WriteSlot(WriteSlot&& other) noexcept
    : arena_(std::exchange(other.arena_, nullptr)), offset_(other.offset_), bytes_(other.bytes_) {}

WriteSlot& WriteSlot::operator=(WriteSlot&& other) noexcept {
  if (this == &other) return *this;
  give_back();
  arena_ = std::exchange(other.arena_, nullptr);
  offset_ = other.offset_;
  bytes_ = other.bytes_;
  return *this;
}

WriteSlot::~WriteSlot() {
  give_back();
}

void WriteSlot::give_back() {
  if (OutArena* arena = std::exchange(arena_, nullptr)) arena->release(offset_);
}

SealedSlot WriteSlot::seal() && {
  assert(arena_ != nullptr);
  const OutArena* arena = std::exchange(arena_, nullptr);
  return {arena->id(), offset_, bytes_.size()};
}

Result<std::unique_ptr<OutArena>> OutArena::create(std::uint32_t id, std::uint64_t nbytes) {
  if (nbytes < kArenaHeaderBytes + kBookkeepingBytes)
    return fail(Code::kInternal, "an out arena is smaller than its bookkeeping");
  TRY(OutSegment segment, create_out_segment(id, nbytes));
  return std::unique_ptr<OutArena>(new OutArena(id, std::move(segment)));
}

OutArena::OutArena(std::uint32_t id, OutSegment segment) : id_(id), segment_(std::move(segment)) {
  const auto managed = segment_.mapping.writable_bytes().subspan(kArenaHeaderBytes);
  allocator_ = std::make_unique<Allocator>();
  allocator_->buffer = {ipc::create_only, managed.data(), managed.size()};
}

OutArena::~OutArena() = default;

// Around each slot: the allocator's header, and what rounding up to its alignment may waste.
std::uint64_t OutArena::bytes_for(std::span<const std::uint64_t> slots) {
  std::uint64_t total = kArenaHeaderBytes + kBookkeepingBytes;
  for (const std::uint64_t nbytes : slots)
    if (nbytes > 0) total += whole_pages(nbytes) + 2 * kPageBytes;
  return total;
}

std::optional<WriteSlot> OutArena::acquire(std::uint64_t nbytes) {
  const auto memory = segment_.mapping.writable_bytes();
  if (nbytes == 0 || nbytes > memory.size()) return std::nullopt;
  void* place = allocator_->buffer.allocate_aligned(nbytes, alignment_of(nbytes), std::nothrow);
  if (place == nullptr) return std::nullopt;
  const auto offset = static_cast<std::uint64_t>(static_cast<std::byte*>(place) - memory.data());
  live_.emplace(offset, nbytes);
  live_bytes_ += nbytes;
  return WriteSlot(*this, offset, memory.subspan(offset, nbytes));
}

bool OutArena::release(std::uint64_t offset) {
  const auto slot = live_.find(offset);
  if (slot == live_.end()) return false;
  live_bytes_ -= slot->second;
  live_.erase(slot);
  allocator_->buffer.deallocate(segment_.mapping.writable_bytes().data() + offset);
  return true;
}

bool OutArena::is_sane() const {
  return allocator_->buffer.check_sanity();
}

bool OutArena::all_memory_is_free() const {
  return allocator_->buffer.all_memory_deallocated();
}

}  // namespace hearth
