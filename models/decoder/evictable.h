// Memory of a device that leaves while its addresses stay, and comes back filled in the background.
//
// A model that nobody asks gives its memory to others; what points into it (captured graphs, page
// tables, bound weights) stays valid, for nothing moves. When the model is wanted again, its
// weights are copied from an image in pinned memory, in the order in which computing reads them.
// Who computes meanwhile says what it is about to read (DeviceMemory::await), and the device, not
// the host, waits until that much has arrived.
//
// Threads: allocate_pinned(), save() and finish_fill() on any one thread, beside the engine thread;
// the others on the engine thread.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "models/decoder/device_memory.h"
#include "shm/base/result.h"

namespace hearth::decoder {

class Evictable {
 public:
  virtual ~Evictable() = default;

  // Pinned host memory of undefined content. Errors: out_of_memory with the numbers.
  virtual Result<DeviceBlock> allocate_pinned(std::size_t bytes) = 0;
  // Of how many bytes an image's pieces are best: while a driver pins memory, it lets nobody else
  // begin anything.
  virtual std::size_t image_piece_bytes() const = 0;
  // Copies memory of the device that nobody writes to the host, and waits for that.
  virtual Result<void> save(void* image, const void* source, std::size_t bytes) = 0;

  // Waits for everything on the device, then gives the memory of all blocks of allocate() back.
  // Their addresses stay theirs, their content is lost; shared memory stays as it is.
  virtual Result<void> evict() = 0;
  // Memory behind all those addresses again: zeros, but undefined in `filled`. All or nothing.
  // Errors: out_of_memory with the numbers.
  virtual Result<void> readmit(const DeviceBlock& filled) = 0;
  // Begins to copy `image`, the block's bytes in pieces, to `block`, front to back, and returns.
  // `ends`: ascending offsets in the block, one behind each thing in it that somebody may await.
  virtual Result<void> fill(const DeviceBlock& block, std::span<const DeviceBlock> image,
                            std::span<const std::uint64_t> ends) = 0;
  // Waits until fill() reads its image no more.
  virtual Result<void> finish_fill() = 0;
};

// Calls copy(offset, source, bytes) for bytes [begin, end) of an image, piece by piece.
template <class Copy>
Result<void> copy_pieces(std::span<const DeviceBlock> image, std::uint64_t begin, std::uint64_t end,
                         Copy copy) {
  std::uint64_t first = 0;  // of the piece
  for (const DeviceBlock& piece : image) {
    const std::uint64_t from = std::max(begin, first);
    const std::uint64_t to = std::min<std::uint64_t>(end, first + piece.bytes());
    if (from < to) CHECK_OK(copy(from, piece.as<const std::byte>() + (from - first), to - from));
    first += piece.bytes();
  }
  return {};
}

// The parts in which a block is filled: whole things, several of them up to a size.
class FillParts {
 public:
  FillParts() = default;
  // Parts of at least `part_bytes`, but for the last one. `ends` as in Evictable::fill.
  FillParts(const DeviceBlock& block, std::span<const std::uint64_t> ends,
            std::uint64_t part_bytes);

  // Offsets behind each part; the last is the block's size.
  const std::vector<std::uint64_t>& ends() const { return ends_; }
  // How many parts, from the first, must have arrived before `address` may be read. 0: it does not
  // lie in the block.
  std::size_t until(const void* address) const;

 private:
  const std::byte* first_ = nullptr;
  std::vector<std::uint64_t> ends_;
};

}  // namespace hearth::decoder
