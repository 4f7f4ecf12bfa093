#include "models/image/resize.h"

#include <algorithm>
#include <cassert>
#include <cmath>

namespace hearth::image {
namespace {

constexpr std::int64_t kChannels = 3;

// Keys' cubic with a = -0.5 (ATen's HelperInterpCubic, Pillow's BICUBIC).
double cubic(double x) {
  constexpr double a = -0.5;
  x = std::abs(x);
  if (x < 1.0) return ((a + 2.0) * x - (a + 3.0)) * x * x + 1;
  if (x < 2.0) return (((x - 5) * x + 8) * x - 4) * a;
  return 0.0;
}

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

ResizeStep step(std::int64_t outer, int inputs, int outputs, std::int64_t inner) {
  return {outer, inputs, outputs, inner, make_taps(inputs, outputs)};
}

}  // namespace

HearthResample ResizeStep::call(const std::uint8_t* source, std::uint8_t* target) const {
  return {.outer = outer,
          .inputs = inputs,
          .outputs = outputs,
          .inner = inner,
          .source = source,
          .most = taps.most,
          .precision = taps.precision,
          .first = taps.first.data(),
          .count = taps.count.data(),
          .weights = taps.weights.data(),
          .target = target};
}

std::vector<ResizeStep> resize_steps(Size from, Size to, std::int64_t pictures) {
  std::vector<ResizeStep> steps;
  if (from.width != to.width)
    steps.push_back(step(pictures * from.height, from.width, to.width, kChannels));
  if (from.height != to.height)
    steps.push_back(step(pictures, from.height, to.height, to.width * kChannels));
  return steps;
}

Picture resize_bicubic(Picture picture, Size size, std::int64_t pictures) {
  for (const ResizeStep& step : resize_steps(picture.size, size, pictures)) {
    std::vector<std::uint8_t> pixels(
        static_cast<std::size_t>(step.outer * step.outputs * step.inner));
    const HearthResample call = step.call(picture.pixels.data(), pixels.data());
    [[maybe_unused]] const HearthStatus status = hearth_kernels_cpu()->resample(&call, nullptr);
    assert(status == HEARTH_OK);
    picture.pixels = std::move(pixels);
  }
  picture.size = size;
  return picture;
}

}  // namespace hearth::image
