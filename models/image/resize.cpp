#include "models/image/resize.h"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <vector>

namespace hearth::image {
namespace {

constexpr int kChannels = 3;
constexpr int kLanes = 32;      // values that one inner loop computes, in vector registers
constexpr int kPixelLanes = 8;  // rows of 3 channels that fill 24 of them

// Keys' cubic with a = -0.5 (ATen's HelperInterpCubic, Pillow's BICUBIC).
double cubic(double x) {
  constexpr double a = -0.5;
  x = std::abs(x);
  if (x < 1.0) return ((a + 2.0) * x - (a + 3.0)) * x * x + 1;
  if (x < 2.0) return (((x - 5) * x + 8) * x - 4) * a;
  return 0.0;
}

// For every output place, which input places count and how much.
struct Taps {
  int most = 0;                       // weights kept for each output place
  int precision = 0;                  // bits behind the point
  std::vector<int> first;             // [outputs]
  std::vector<int> count;             // [outputs]
  std::vector<std::int16_t> weights;  // [outputs, most]

  const std::int16_t* of(int output) const {
    return weights.data() + static_cast<std::size_t>(output) * most;
  }
};

// Appends the weights of one output place, which sum to 1, to `weights`.
void weigh(int output, int inputs, double scale, Taps& taps, std::vector<double>& weights) {
  const double support = scale >= 1.0 ? 2.0 * scale : 2.0;
  const double inverse = scale >= 1.0 ? 1.0 / scale : 1.0;
  const double center = scale * (output + 0.5);
  const auto first = std::max(static_cast<int>(center - support + 0.5), 0);
  const auto past = std::min(static_cast<int>(center + support + 0.5), inputs);
  const auto count = std::clamp(past - first, 0, taps.most);
  const auto begin = weights.size();
  double total = 0.0;
  for (int j = 0; j < count; ++j) {
    weights.push_back(cubic((j + first - center + 0.5) * inverse));
    total += weights.back();
  }
  if (total != 0.0)
    for (auto i = begin; i < weights.size(); ++i) weights[i] /= total;
  weights.resize(begin + taps.most, 0.0);
  taps.first.push_back(first);
  taps.count.push_back(count);
}

// As many bits as let the largest weight fit into 16.
int precision_for(const std::vector<double>& weights) {
  const double largest = *std::max_element(weights.begin(), weights.end());
  int precision = 0;
  while (precision < 22 && static_cast<int>(0.5 + largest * (1 << (precision + 1))) < (1 << 15))
    ++precision;
  return precision;
}

Taps make_taps(int inputs, int outputs) {
  Taps taps;
  const double scale = static_cast<double>(inputs) / outputs;
  taps.most = static_cast<int>(std::ceil(scale >= 1.0 ? 2.0 * scale : 2.0)) * 2 + 1;
  std::vector<double> weights;
  weights.reserve(static_cast<std::size_t>(outputs) * taps.most);
  for (int i = 0; i < outputs; ++i) weigh(i, inputs, scale, taps, weights);
  taps.precision = precision_for(weights);
  taps.weights.reserve(weights.size());
  for (const double weight : weights) {
    const double fixed = weight * (1 << taps.precision);
    taps.weights.push_back(static_cast<std::int16_t>(fixed < 0 ? fixed - 0.5 : fixed + 0.5));
  }
  return taps;
}

// `count` lanes of the weighted sum over rows `stride` bytes apart, rounded to u8.
struct WeightedRows {
  const std::int16_t* weights;
  int rows;
  int precision;
  std::ptrdiff_t stride;

  template <int kCount>
  void sum(const std::uint8_t* __restrict source, std::uint8_t* __restrict out) const {
    std::int32_t sums[kCount];
    for (int i = 0; i < kCount; ++i) sums[i] = 1 << (precision - 1);
    for (int row = 0; row < rows; ++row) {
      const std::int16_t weight = weights[row];
      const std::uint8_t* __restrict values = source + row * stride;
      for (int i = 0; i < kCount; ++i)
        sums[i] += static_cast<std::int32_t>(static_cast<std::int16_t>(values[i])) * weight;
    }
    for (int i = 0; i < kCount; ++i)
      out[i] = static_cast<std::uint8_t>(std::clamp(sums[i] >> precision, 0, 255));
  }
};

std::size_t row_bytes(int width) {
  return static_cast<std::size_t>(width) * kChannels;
}

Picture resize_rows(const Picture& picture, int height) {
  const auto taps = make_taps(picture.size.height, height);
  const auto bytes = row_bytes(picture.size.width);
  Picture result{{height, picture.size.width}, std::vector<std::uint8_t>(height * bytes)};
  for (int y = 0; y < height; ++y) {
    const WeightedRows rows{taps.of(y), taps.count[y], taps.precision,
                            static_cast<std::ptrdiff_t>(bytes)};
    const auto* source = picture.pixels.data() + taps.first[y] * bytes;
    auto* out = result.pixels.data() + y * bytes;
    std::size_t x = 0;
    for (; x + kLanes <= bytes; x += kLanes) rows.sum<kLanes>(source + x, out + x);
    for (; x < bytes; ++x) rows.sum<1>(source + x, out + x);
  }
  return result;
}

// Eight rows of pixels, turned so that their columns are rows: [width, 8, 3].
constexpr int kTurnedBytes = kPixelLanes * kChannels;

// Moves one pixel as four bytes; the fourth belongs to the next pixel, which is moved afterwards.
void copy_pixel_and_one(const std::uint8_t* source, std::uint8_t* out) {
  std::memcpy(out, source, kChannels + 1);
}

// `turned` has one byte more than it needs.
void turn(const std::uint8_t* source, std::size_t stride, int rows, int width,
          std::uint8_t* turned) {
  for (int x = 0; x + 1 < width; ++x)
    for (int row = 0; row < rows; ++row)
      copy_pixel_and_one(source + row * stride + x * kChannels,
                         turned + x * kTurnedBytes + row * kChannels);
  for (int row = 0; row < rows; ++row)
    std::copy_n(source + row * stride + (width - 1) * kChannels, kChannels,
                turned + (width - 1) * kTurnedBytes + row * kChannels);
}

void turn_back(const std::uint8_t* turned, int rows, int width, std::size_t stride,
               std::uint8_t* out) {
  for (int x = 0; x + 1 < width; ++x)
    for (int row = 0; row < rows; ++row)
      copy_pixel_and_one(turned + x * kTurnedBytes + row * kChannels,
                         out + row * stride + x * kChannels);
  for (int row = 0; row < rows; ++row)
    std::copy_n(turned + (width - 1) * kTurnedBytes + row * kChannels, kChannels,
                out + row * stride + (width - 1) * kChannels);
}

Picture resize_columns(const Picture& picture, int width) {
  const auto taps = make_taps(picture.size.width, width);
  const auto height = picture.size.height;
  const auto in_bytes = row_bytes(picture.size.width), out_bytes = row_bytes(width);
  Picture result{{height, width}, std::vector<std::uint8_t>(height * out_bytes)};
  std::vector<std::uint8_t> turned(static_cast<std::size_t>(picture.size.width) * kTurnedBytes + 1);
  std::vector<std::uint8_t> turned_out(static_cast<std::size_t>(width) * kTurnedBytes + 1);
  for (int y = 0; y < height; y += kPixelLanes) {
    const int rows = std::min(kPixelLanes, height - y);
    turn(picture.pixels.data() + y * in_bytes, in_bytes, rows, picture.size.width, turned.data());
    for (int x = 0; x < width; ++x) {
      const WeightedRows columns{taps.of(x), taps.count[x], taps.precision, kTurnedBytes};
      columns.sum<kTurnedBytes>(turned.data() + taps.first[x] * kTurnedBytes,
                                turned_out.data() + x * kTurnedBytes);
    }
    turn_back(turned_out.data(), rows, width, out_bytes, result.pixels.data() + y * out_bytes);
  }
  return result;
}

}  // namespace

Picture resize_bicubic(const Picture& picture, Size size) {
  const bool wider = picture.size.width != size.width;
  const bool higher = picture.size.height != size.height;
  if (!wider) return higher ? resize_rows(picture, size.height) : picture;
  auto columns_done = resize_columns(picture, size.width);
  return higher ? resize_rows(columns_done, size.height) : columns_done;
}

}  // namespace hearth::image
