// Rounded weights in a file (models::WeightsFile): an arena's bytes as they are, so that a load
// reads them back instead of rounding again.
//
//   0       header of 4096 bytes: magic, size, fingerprint, checksums; written last
//   4096    the arena
//   behind  CRC-32C of each 4 MiB of it, the last one shorter
//
// What the fingerprint covers: the layout's version, every placement of the plan, and of every
// tensor that is read name, type, shape and place in its file. The numbers themselves it does not
// cover: that they are still the same is up to whoever hands the file out.
//
// The file is somebody else's memory: nothing in it is believed before its checksum was right, and
// sizes are the plan's.
#pragma once

#include <cstdint>
#include <vector>

#include "models/files/weight_index.h"
#include "models/model.h"
#include "models/weights/arena.h"
#include "models/weights/plan.h"
#include "shm/base/result.h"

namespace hearth::weights {

// Of what formats.h and this file say; a change of either makes all files unreadable.
inline constexpr std::uint64_t kLayoutVersion = 1;

// Whether a load of this plan does what is worth a file: rounds.
bool rounds(const Plan& plan);

std::uint64_t fingerprint_of(const files::WeightIndex& index, const Plan& plan);

// An arena that writes what has arrived in another one to a file. Where writing fails the load goes
// on, and finish() says so. Borrows arena and descriptor; loading threads, as Arena says.
class KeptArena : public Arena {
 public:
  KeptArena(Arena& arena, int fd, std::uint64_t bytes) : arena_(arena), fd_(fd), bytes_(bytes) {}

  std::byte* host() override { return arena_.host(); }
  const std::byte* address() const override { return arena_.address(); }
  int device() const override { return arena_.device(); }
  std::uint64_t bytes() const override { return arena_.bytes(); }
  const decoder::DeviceBlock* block() const override { return arena_.block(); }
  Result<void> arrived(std::uint64_t end) override;

  // All has arrived: the rest of the file. Its size, or 0 when it is not whole.
  std::uint64_t finish(std::uint64_t fingerprint);

 private:
  void keep(std::uint64_t end);

  Arena& arena_;
  const int fd_;
  const std::uint64_t bytes_;
  std::uint64_t kept_ = 0;
  std::uint32_t crc_ = 0;  // of the present block
  std::vector<std::uint32_t> table_;
  bool failed_ = false;
};

// Fills the arena, with all threads that the load may use. Errors: bad_model when the file is not
// what KeptArena wrote for this plan, cancelled, those of the arena; what it then holds is
// undefined. Throws what a device's memory throws, on the calling thread.
Result<void> read_weights_file(int fd, std::uint64_t fingerprint, const Plan& plan,
                               const models::LoadOptions& options, Arena& arena);

}  // namespace hearth::weights
