#include "models/weights/precision.h"

#include <array>

#include <fmt/format.h>

namespace hearth::weights {
namespace {

constexpr std::array kPrecisions = {
    Precision{"float32", HEARTH_F32, HEARTH_FORMAT_F32, HEARTH_FORMAT_F32},
    Precision{"bfloat16", HEARTH_BF16, HEARTH_FORMAT_BF16, HEARTH_FORMAT_BF16},
    Precision{"float8", HEARTH_BF16, HEARTH_FORMAT_FP8, HEARTH_FORMAT_FP8},
    Precision{"int8", HEARTH_BF16, HEARTH_FORMAT_INT8, HEARTH_FORMAT_INT8},
    Precision{"int4", HEARTH_BF16, HEARTH_FORMAT_INT4, HEARTH_FORMAT_INT8},
};

}  // namespace

Result<Precision> choose_precision(std::string_view wanted, DType stored) {
  if (wanted == "auto") wanted = stored == DType::kBF16 ? "bfloat16" : "float32";
  for (const Precision& precision : kPrecisions)
    if (precision.name == wanted) return precision;
  return fail(Code::kUnsupported,
              fmt::format("dtype \"{}\" is not one that weights are loaded in", wanted),
              "Use auto, float32, bfloat16, float8, int8 or int4.");
}

HearthFormat format_of(HearthType type) {
  return type == HEARTH_F32 ? HEARTH_FORMAT_F32 : HEARTH_FORMAT_BF16;
}

}  // namespace hearth::weights
