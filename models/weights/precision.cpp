#include "models/weights/precision.h"

#include <array>

#include <fmt/format.h>

namespace hearth::weights {
namespace {

constexpr std::array kPrecisions = {
    Precision{"float32", HEARTH_F32, HEARTH_FORMAT_F32, HEARTH_FORMAT_F32},
    Precision{"bfloat16", HEARTH_BF16, HEARTH_FORMAT_BF16, HEARTH_FORMAT_BF16},
    Precision{"float8", HEARTH_BF16, HEARTH_FORMAT_FP8, HEARTH_FORMAT_INT8},
    Precision{"int8", HEARTH_BF16, HEARTH_FORMAT_INT8, HEARTH_FORMAT_INT8},
    Precision{"int4", HEARTH_BF16, HEARTH_FORMAT_INT4, HEARTH_FORMAT_INT8},
};

Result<Precision> named(std::string_view name) {
  for (const Precision& precision : kPrecisions)
    if (precision.name == name) return precision;
  return fail(Code::kUnsupported,
              fmt::format("dtype \"{}\" is not one that weights are loaded in", name),
              "Use auto, float32, bfloat16, float8, int8 or int4.");
}

}  // namespace

Result<Precision> choose_precision(const Wanted& wanted, DType stored) {
  const std::string_view as_stored = stored == DType::kBF16 ? "bfloat16" : "float32";
  TRY(Precision precision, named(wanted.dtype == "auto" ? as_stored : wanted.dtype));
  if (wanted.head == "bfloat16") {
    precision.head = format_of(precision.type);
  } else if (wanted.head != "auto") {
    return fail(Code::kUnsupported,
                fmt::format("head \"{}\" is not one that output layers are kept in", wanted.head),
                "Use auto or bfloat16.");
  }
  return precision;
}

Result<Precision> choose_kept_precision(const Wanted& wanted, std::optional<HearthFormat> kept) {
  const std::string_view name = !kept                         ? "bfloat16"
                                : *kept == HEARTH_FORMAT_INT8 ? "int8"
                                                              : "float8";
  TRY(Precision precision, choose_precision({name, wanted.head}, DType::kBF16));
  precision.keeps_stored = kept.has_value();
  return precision;
}

HearthFormat format_of(HearthType type) {
  return type == HEARTH_F32 ? HEARTH_FORMAT_F32 : HEARTH_FORMAT_BF16;
}

}  // namespace hearth::weights
