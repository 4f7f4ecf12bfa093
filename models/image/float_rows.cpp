#include "models/image/float_rows.h"

#include <new>

#include <sys/mman.h>

namespace hearth::image {
namespace {

constexpr std::size_t kHugePageBytes = std::size_t{2} << 20;
constexpr std::size_t kLineBytes = 64;

}  // namespace

FloatRows::FloatRows(std::size_t floats) : size_(floats) {
  const auto wanted = floats * sizeof(float);
  const auto unit = wanted >= 2 * kHugePageBytes ? kHugePageBytes : kLineBytes;
  const auto bytes = (wanted + unit - 1) / unit * unit;
  floats_.reset(static_cast<float*>(std::aligned_alloc(unit, bytes)));
  if (!floats_) throw std::bad_alloc();
  if (unit == kHugePageBytes) ::madvise(data(), bytes, MADV_HUGEPAGE);  // only advice
}

}  // namespace hearth::image
