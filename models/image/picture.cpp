#include "models/image/picture.h"

#include <cstring>

#include <fmt/format.h>

#include "models/kernels/rounding.h"

namespace hearth::image {
namespace {

constexpr std::size_t kRgb = 3;

struct Shape {
  Size size;
  std::size_t channels = 0;
  std::size_t values() const {
    return static_cast<std::size_t>(size.height) * static_cast<std::size_t>(size.width) * channels;
  }
};

Error bad_shape(std::span<const std::int64_t> shape) {
  std::string dims;
  for (const auto dim : shape) dims += (dims.empty() ? "" : ", ") + std::to_string(dim);
  return fail(
      Code::kBadPicture,
      fmt::format("A picture has shape [{}]; it must be [height, width, channels] with 1, 3 "
                  "or 4 channels.",
                  dims));
}

Result<Shape> shape_of(std::span<const std::int64_t> shape) {
  constexpr std::int64_t kLongestSide = 1 << 20;
  if (shape.size() != 3) return bad_shape(shape);
  const auto height = shape[0], width = shape[1], channels = shape[2];
  if (channels != 1 && channels != 3 && channels != 4) return bad_shape(shape);
  if (height < 0 || width < 0 || height > kLongestSide || width > kLongestSide)
    return bad_shape(shape);
  if (height == 0 || width == 0)
    return fail(Code::kBadPicture,
                fmt::format("A picture of {} x {} pixels is empty.", width, height));
  return Shape{{static_cast<int>(height), static_cast<int>(width)},
               static_cast<std::size_t>(channels)};
}

// Without a branch or a call for each value, so that it becomes vector code.
Result<std::vector<std::uint8_t>> bytes_of_floats(std::span<const std::byte> bytes) {
  std::vector<std::uint8_t> values(bytes.size() / sizeof(float));
  bool finite = true;
  for (std::size_t i = 0; i < values.size(); ++i) {
    float value = 0;  // copied once: the memory may change between a test and a use
    std::memcpy(&value, bytes.data() + i * sizeof value, sizeof value);
    finite &= (kernels::bits_of(value) & kernels::kInfinityBits) != kernels::kInfinityBits;
    const float unit = value > 0.0F ? (value < 1.0F ? value : 1.0F) : 0.0F;  // of NaN: 0
    values[i] = static_cast<std::uint8_t>(kernels::round_to_int(unit * 255.0F));
  }
  if (!finite)
    return fail(Code::kBadPicture, "A picture holds NaN or infinite values.",
                "Check the node that made it.");
  return values;
}

// The pixels as u8, [height, width, channels].
Result<std::vector<std::uint8_t>> copy_values(const TensorView& tensor, const Shape& shape) {
  const std::size_t item = tensor.dtype == DType::kF32 ? sizeof(float) : 1;
  if (tensor.dtype != DType::kU8 && tensor.dtype != DType::kF32)
    return fail(Code::kBadPicture,
                fmt::format("A picture has type {}; it must be u8 or f32.", name_of(tensor.dtype)));
  if (tensor.bytes.size() != shape.values() * item)
    return fail(Code::kBadPicture, fmt::format("A picture has {} bytes instead of {}.",
                                               tensor.bytes.size(), shape.values() * item));
  if (tensor.dtype == DType::kF32) return bytes_of_floats(tensor.bytes);
  std::vector<std::uint8_t> values(shape.values());
  std::memcpy(values.data(), tensor.bytes.data(), values.size());
  return values;
}

std::vector<std::uint8_t> rgb_of_gray(const std::vector<std::uint8_t>& gray) {
  std::vector<std::uint8_t> rgb(gray.size() * kRgb);
  for (std::size_t i = 0; i < gray.size(); ++i)
    rgb[kRgb * i] = rgb[kRgb * i + 1] = rgb[kRgb * i + 2] = gray[i];
  return rgb;
}

// Over white, in fp32 and in this order, as TorchvisionBackend.convert_to_rgb does it
// (transformers 5.23): c/255 * a/255 + (1 - a/255), then trunc(255.999 x).
std::uint8_t over_white(std::uint8_t color, std::uint8_t alpha) {
  constexpr float kUnit = 1.0 / 255.0;
  const float opaque = static_cast<float>(alpha) * kUnit;
  const float mixed = static_cast<float>(color) * kUnit * opaque + (1.0F - opaque);
  return static_cast<std::uint8_t>(mixed * 255.999F);
}

std::vector<std::uint8_t> rgb_of_rgba(const std::vector<std::uint8_t>& rgba) {
  std::vector<std::uint8_t> rgb(rgba.size() / 4 * kRgb);
  for (std::size_t i = 0; i < rgba.size() / 4; ++i)
    for (std::size_t c = 0; c < kRgb; ++c)
      rgb[kRgb * i + c] = over_white(rgba[4 * i + c], rgba[4 * i + 3]);
  return rgb;
}

}  // namespace

Result<Size> picture_size(std::span<const std::int64_t> shape) {
  TRY(const Shape read, shape_of(shape));
  return read.size;
}

Result<Picture> copy_picture(const TensorView& tensor) {
  TRY(const auto shape, shape_of(tensor.shape));
  TRY(auto values, copy_values(tensor, shape));
  if (shape.channels == 1) return Picture{shape.size, rgb_of_gray(values)};
  if (shape.channels == 4) return Picture{shape.size, rgb_of_rgba(values)};
  return Picture{shape.size, std::move(values)};
}

}  // namespace hearth::image
