// Slots for results inside one `out` segment: the allocating side.
//
// The allocator's own bookkeeping lies in the segment, where its creator alone can write, so no
// client can break it. Which slots are live is kept outside, in private memory: a release that
// names no live slot is noticed before the allocator hears of it. Thread rule: an arena and its
// slots belong to one thread.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "shm/base/fd.h"
#include "shm/base/result.h"
#include "shm/segment.h"

namespace hearth {

class OutArena;

// Where finished bytes lie: what may be told to a client. Live until OutArena::release().
struct SealedSlot {
  std::uint32_t arena = 0;
  std::uint64_t offset = 0;  // from the segment's start; a multiple of 64
  std::uint64_t nbytes = 0;
};

// A slot that may be written. Sealing consumes it; one that is dropped unsealed goes back. Must not
// outlive its arena.
class WriteSlot {
 public:
  WriteSlot(WriteSlot&& other) noexcept;
  WriteSlot& operator=(WriteSlot&& other) noexcept;
  ~WriteSlot();

  std::span<std::byte> bytes() const { return bytes_; }
  SealedSlot seal() &&;

 private:
  friend class OutArena;
  WriteSlot(OutArena& arena, std::uint64_t offset, std::span<std::byte> bytes)
      : arena_(&arena), offset_(offset), bytes_(bytes) {}
  void give_back();

  OutArena* arena_;  // null: sealed or moved from
  std::uint64_t offset_;
  std::span<std::byte> bytes_;
};

class OutArena {
 public:
  // A segment of `nbytes`, pre-faulted. Errors: out_of_memory.
  static Result<std::unique_ptr<OutArena>> create(std::uint32_t id, std::uint64_t nbytes);
  // The size of a segment that surely holds slots of these sizes together.
  static std::uint64_t bytes_for(std::span<const std::uint64_t> slots);
  ~OutArena();
  OutArena(const OutArena&) = delete;
  OutArena& operator=(const OutArena&) = delete;

  std::uint32_t id() const { return id_; }
  std::uint64_t nbytes() const { return segment_.mapping.bytes().size(); }
  std::span<const std::byte> mapped() const { return segment_.mapping.bytes(); }
  // The descriptor to lend. Once; nothing is kept.
  Fd take_fd() { return std::move(segment_.fd); }

  // `nbytes` > 0: an empty tensor needs no slot. Absent: no free range is large enough.
  std::optional<WriteSlot> acquire(std::uint64_t nbytes);
  // False: no live slot begins there; nothing has changed.
  bool release(std::uint64_t offset);

  bool empty() const { return live_.empty(); }
  std::size_t slots() const { return live_.size(); }
  std::uint64_t live_bytes() const { return live_bytes_; }

  // Walks the allocator's bookkeeping. For tests.
  bool is_sane() const;
  bool all_memory_is_free() const;

 private:
  struct Allocator;  // Boost.Interprocess stays in out_arena.cpp
  OutArena(std::uint32_t id, OutSegment segment);

  const std::uint32_t id_;
  OutSegment segment_;
  std::unique_ptr<Allocator> allocator_;         // ends before the mapping
  std::map<std::uint64_t, std::uint64_t> live_;  // offset to bytes
  std::uint64_t live_bytes_ = 0;
};

}  // namespace hearth
