#include "models/image/smart_resize.h"

#include <algorithm>
#include <cmath>

#include <fmt/format.h>

namespace hearth::image {
namespace {

constexpr double kMaxAspect = 200.0;

Result<void> check_shape(Size size) {
  if (size.height < 1 || size.width < 1)
    return fail(Code::kBadPicture,
                fmt::format("A picture of {} x {} pixels is empty.", size.width, size.height));
  const double longest = std::max(size.height, size.width);
  const double shortest = std::min(size.height, size.width);
  if (longest / shortest > kMaxAspect)
    return fail(Code::kBadPicture,
                fmt::format("A picture of {} x {} pixels is more than {} times as long as wide.",
                            size.width, size.height, kMaxAspect),
                "Crop the picture, or cut it into several.");
  return {};
}

}  // namespace

Result<Size> smart_resize(Size size, const PixelLimits& limits, FrameCount frames) {
  CHECK_OK(check_shape(size));
  const double factor = limits.factor;
  const auto multiple = [&](double parts) { return static_cast<std::int64_t>(parts * factor); };
  const double area = static_cast<double>(frames.sent) * size.height * size.width;

  std::int64_t height = multiple(std::nearbyint(size.height / factor));
  std::int64_t width = multiple(std::nearbyint(size.width / factor));
  const std::int64_t pixels = frames.counted * height * width;
  if (pixels > limits.max_pixels) {
    const double beta = std::sqrt(area / static_cast<double>(limits.max_pixels));
    height =
        std::max<std::int64_t>(limits.factor, multiple(std::floor(size.height / beta / factor)));
    width = std::max<std::int64_t>(limits.factor, multiple(std::floor(size.width / beta / factor)));
  } else if (pixels < limits.min_pixels) {
    const double beta = std::sqrt(static_cast<double>(limits.min_pixels) / area);
    height = multiple(std::ceil(size.height * beta / factor));
    width = multiple(std::ceil(size.width * beta / factor));
  }
  return Size{static_cast<int>(height), static_cast<int>(width)};
}

}  // namespace hearth::image
