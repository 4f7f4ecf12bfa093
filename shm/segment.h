// One sealed memfd: created by whoever must be trusted, mapped by whoever needs the bytes.
//
// A segment has no name and never changes size, so nothing is left behind by a killed process and
// nobody can truncate it under a reader. Seals of an `in` segment, which its client writes: SHRINK,
// GROW, SEAL. An `out` segment is also sealed FUTURE_WRITE: the mapping that its creator made
// before is the only one that can ever write it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>

#include "shm/base/fd.h"
#include "shm/base/result.h"

namespace hearth {

struct OutSegment;

enum class Access { kReadOnly, kReadWrite };
enum class Direction { kIn, kOut };  // as the daemon sees it: pictures in, results out

// Physical memory; 0 when the system does not say.
std::uint64_t total_memory_bytes();

// What the system can still give without swapping or killing, in bytes; 0 when it does not say.
std::uint64_t available_memory_bytes();

// Whether a segment of `nbytes` leaves at least an eighth of `available_bytes` to everybody else.
// tmpfs has no limit of its own: fallocate of too much ends in the kernel killing processes.
bool may_allocate(std::uint64_t nbytes, std::uint64_t available_bytes);

// Creates `nbytes` of zeroed shared memory, allocated (never a SIGBUS for lack of memory) and
// sealed, without mapping it. May block: call it off the event loop. Errors: out_of_memory.
Result<Fd> create_segment(std::uint64_t nbytes);

// Checks that `fd` is a memfd with the seals of `direction` and of exactly `nbytes`.
Result<void> check_segment(const Fd& fd, std::uint64_t nbytes,
                           Direction direction = Direction::kIn);

// A mapping of a checked segment; unmapped on destruction. Keeps no descriptor.
class Mapping {
 public:
  static Result<Mapping> map(const Fd& fd, std::uint64_t nbytes, Access access);
  Mapping(Mapping&&) noexcept;
  Mapping& operator=(Mapping&&) noexcept;
  ~Mapping();

  std::span<const std::byte> bytes() const;
  std::span<std::byte> writable_bytes();  // empty for kReadOnly

 private:
  friend Result<OutSegment> create_out_segment(std::uint32_t arena, std::uint64_t nbytes);
  static Result<Mapping> map_unchecked(const Fd& fd, std::uint64_t nbytes, Access access);

  struct Region;  // Boost.Interprocess stays in segment.cpp
  explicit Mapping(std::unique_ptr<Region> region);
  std::unique_ptr<Region> region_;
};

// What an `out` segment begins with, inside the reserved first page. Written once; for whoever
// looks at a mapping and wants to know what it is.
struct OutHeader {
  static constexpr std::uint64_t kMagic = 0x54554F5452414548;  // "HEARTOUT"
  std::uint64_t magic = kMagic;
  std::uint32_t arena = 0;  // the creator's own id, which a broker may translate
  std::uint32_t reserved = 0;
  std::uint64_t nbytes = 0;  // of the whole segment
};

// An `out` segment in its creator's hands. `fd` is for those who read.
struct OutSegment {
  Fd fd;
  Mapping mapping;  // writable
};

// Creates, maps and then seals `nbytes` (more than a page) of zeroed shared memory. May block for
// as long as it takes to touch every page. Errors: out_of_memory.
Result<OutSegment> create_out_segment(std::uint32_t arena, std::uint64_t nbytes);

}  // namespace hearth
