#include "models/image/clip.h"

#include <algorithm>
#include <cmath>

#include <fmt/format.h>

namespace hearth::image {
namespace {

constexpr double kFloor = 1.05;  // a cap leaves a frame at least so much of the smallest size
constexpr double kShareOfContext = 0.9;  // of a capped clip

std::int64_t truncated(double value) {
  return static_cast<std::int64_t>(value);
}

// The largest size with the cap, if there is one.
std::int64_t capped(const ClipRules& rules, std::int64_t frames, const PictureRules& pictures) {
  if (!rules.cap_tokens) return rules.max_pixels;
  const std::int64_t token = std::int64_t{pictures.limits().factor} * pictures.limits().factor;
  const std::int64_t least = truncated(static_cast<double>(rules.min_pixels) * kFloor);
  if (rules.count == ClipRules::Count::kAllFrames)
    return std::max(std::min(*rules.cap_tokens * token, rules.max_pixels / frames), least) * frames;
  const auto all = truncated(static_cast<double>(*rules.cap_tokens * token) * kShareOfContext);
  return std::max(std::min(rules.max_pixels, all * pictures.temporal_patch_size / frames), least);
}

// Sides below the factor are scaled up first, both together.
Size grown(Size size, int factor) {
  if (size.height >= factor && size.width >= factor) return size;
  const double scale =
      std::max(static_cast<double>(factor) / size.height, static_cast<double>(factor) / size.width);
  return {static_cast<int>(size.height * scale), static_cast<int>(size.width * scale)};
}

}  // namespace

Result<ClipRules> with_limits(ClipRules rules, std::int64_t min_pixels, std::int64_t max_pixels,
                              std::int64_t frames) {
  if (min_pixels > 0 && max_pixels > 0 && min_pixels > max_pixels)
    return fail(Code::kBadRequest,
                fmt::format("min_pixels {} is larger than max_pixels {}", min_pixels, max_pixels));
  const std::int64_t shares = rules.count == ClipRules::Count::kEachFrame ? frames : 1;
  const auto share = [&](std::int64_t pixels) {
    return std::max(pixels / shares, std::int64_t{1});
  };
  if (min_pixels > 0) rules.min_pixels = share(min_pixels);
  if (max_pixels > 0) rules.max_pixels = share(max_pixels);
  // One of them alone moves the other along when it has to.
  if (max_pixels > 0) rules.min_pixels = std::min(rules.min_pixels, rules.max_pixels);
  rules.max_pixels = std::max(rules.max_pixels, rules.min_pixels);
  return rules;
}

Result<Size> clip_size(Size size, std::int64_t frames, const ClipRules& rules,
                       const PictureRules& pictures) {
  const std::int64_t most = capped(rules, frames, pictures);
  const PixelLimits limits{pictures.limits().factor, rules.min_pixels, most};
  if (rules.count == ClipRules::Count::kEachFrame) return smart_resize(size, limits);
  // A single frame fills a step, too.
  const std::int64_t step = pictures.temporal_patch_size;
  const auto whole = static_cast<std::int64_t>(
      std::nearbyint(static_cast<double>(frames) / static_cast<double>(step)));
  return smart_resize(grown(size, limits.factor), limits,
                      {std::max(frames, step), std::max(whole, std::int64_t{1}) * step});
}

}  // namespace hearth::image
