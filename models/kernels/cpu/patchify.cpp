#include <array>
#include <cstring>

#include "models/kernels/bfloat16.h"
#include "models/kernels/check_operations.h"
#include "models/kernels/cpu/functions.h"
#include "models/kernels/cpu/share.h"

namespace hearth::kernels::cpu {
namespace {

constexpr int kChannels = 3;
constexpr int kLevels = 256;

template <class T>
using Levels = std::array<T, kChannels * kLevels>;

template <class T>
Levels<T> levels_of(const HearthPatchify& c) {
  Levels<T> levels;
  for (int i = 0; i < kChannels * kLevels; ++i) store(&levels[i], c.level[i]);
  return levels;
}

// One frame of one channel of a patch. `to`: [patch, patch]
template <class T>
void write_frame(const HearthPatchify& c, const T* level, const std::uint8_t* source,
                 T* __restrict to) {
  const std::int64_t side = c.patch, stride = c.grid_width * side * kChannels;
  for (std::int64_t y = 0; y < side; ++y)
    for (std::int64_t x = 0; x < side; ++x)
      to[y * side + x] = level[source[y * stride + x * kChannels]];
}

// One patch whose upper left pixel is `source`. `to`: [channels, frames, patch, patch]
template <class T>
void write_patch(const HearthPatchify& c, const Levels<T>& levels, const std::uint8_t* source,
                 T* __restrict to) {
  const std::int64_t pixels = c.patch * c.patch;
  const std::int64_t picture_bytes = c.grid_height * c.grid_width * pixels * kChannels;
  for (int channel = 0; channel < kChannels; ++channel) {
    const T* level = levels.data() + channel * kLevels;
    T* first = to + channel * c.frames * pixels;
    for (std::int64_t t = 0; t < c.pictures; ++t)
      write_frame(c, level, source + t * picture_bytes + channel, first + t * pixels);
    for (std::int64_t t = c.pictures; t < c.frames; ++t)
      std::memcpy(first + t * pixels, first, static_cast<std::size_t>(pixels) * sizeof(T));
  }
}

// A token at a time, in order of the rows.
template <class T>
void patchify_to(const HearthPatchify& c) {
  const auto levels = levels_of<T>(c);
  const std::int64_t each = c.merge * c.merge, across = c.grid_width / c.merge;
  const std::int64_t numbers = kChannels * c.frames * c.patch * c.patch;
  const auto token_bytes = each * numbers * static_cast<std::int64_t>(sizeof(T));
  share(c.grid_height * c.grid_width / each, token_bytes, [&](std::int64_t token) {
    T* to = static_cast<T*>(c.rows) + token * each * numbers;
    for (std::int64_t within = 0; within < each; ++within, to += numbers) {
      const std::int64_t y = token / across * c.merge + within / c.merge;
      const std::int64_t x = token % across * c.merge + within % c.merge;
      write_patch(c, levels, c.picture + (y * c.patch * c.grid_width + x) * c.patch * kChannels,
                  to);
    }
  });
}

}  // namespace

HearthStatus patchify(const HearthPatchify* call, void*) {
  if (const HearthStatus status = check(call); status != HEARTH_OK) return status;
  call->type == HEARTH_F32 ? patchify_to<float>(*call) : patchify_to<BFloat16>(*call);
  return HEARTH_OK;
}

}  // namespace hearth::kernels::cpu
