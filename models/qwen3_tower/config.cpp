#include "models/qwen3_tower/config.h"

#include <cmath>

#include <fmt/format.h>

#include "models/language/config_numbers.h"
#include "models/qwen3_tower/layout.h"

namespace hearth::qwen3_tower {
namespace {

using files::ConfigValue;

// Published towers of 24 blocks tap after 5, 11, 17; those of 27 after 8, 16, 24.
Result<std::vector<std::int64_t>> read_deepstack(const ConfigValue& vision, const Shapes& shapes,
                                                 std::int32_t depth) {
  const ConfigValue value = vision["deepstack_visual_indexes"];
  if (value) return value.integers(0, depth - 1);
  if (depth == 24 && shapes.deepstack_levels == 3) return std::vector<std::int64_t>{5, 11, 17};
  if (depth == 27 && shapes.deepstack_levels == 3) return std::vector<std::int64_t>{8, 16, 24};
  return value.error("is missing, and no tensor tells it");
}

Result<void> check_vision(const VisionConfig& vision, const ConfigValue& json) {
  const auto side = static_cast<std::int32_t>(std::lround(std::sqrt(vision.position_rows)));
  if (side * side != vision.position_rows)
    return json.error(fmt::format("describes a table of {} positions, which is no square grid",
                                  vision.position_rows));
  if (vision.hidden_size % vision.heads != 0 || vision.head_dim() % 4 != 0)
    return json.error(
        fmt::format("describes a hidden size of {} for {} heads, whose channels "
                    "cannot be rotated along two axes",
                    vision.hidden_size, vision.heads));
  const std::int64_t most = 64;
  if (vision.patch_size > most || vision.temporal_patch_size > most || vision.merge_size > most)
    return json.error("describes patches larger than any picture");
  return {};
}

Result<VisionConfig> read_numbers(const ConfigValue& vision, const Shapes& shapes) {
  CHECK_OK(language::expect(vision["hidden_act"], "gelu_pytorch_tanh"));
  VisionConfig read = shapes.vision;
  TRY(read.depth, language::number(vision["depth"], read.depth, language::kMostLayers));
  TRY(read.hidden_size,
      language::number(vision["hidden_size"], read.hidden_size, language::kMostWidth));
  TRY(read.heads, language::number(vision["num_heads"], read.heads, language::kMostWidth));
  TRY(read.intermediate_size,
      language::number(vision["intermediate_size"], read.intermediate_size, language::kMostWidth));
  TRY(read.patch_size,
      language::number(vision["patch_size"], read.patch_size, language::kMostWidth));
  TRY(read.temporal_patch_size, language::number(vision["temporal_patch_size"],
                                                 read.temporal_patch_size, language::kMostWidth));
  TRY(read.merge_size,
      language::number(vision["spatial_merge_size"], read.merge_size, language::kMostWidth));
  TRY(read.position_rows, language::number(vision["num_position_embeddings"], read.position_rows,
                                           language::kMostWidth));
  TRY(read.out_hidden_size,
      language::number(vision["out_hidden_size"], read.out_hidden_size, language::kMostWidth));
  TRY(read.rope_theta, vision["rope_parameters"]["rope_theta"].number_or(10'000.0));
  return read;
}

}  // namespace

Result<VisionConfig> read_vision(const ConfigValue& json, const files::WeightIndex& index,
                                 Deepstack deepstack, std::int32_t text_hidden_size) {
  const ConfigValue vision = json["vision_config"];
  const Shapes shapes = read_shapes(index);
  TRY(VisionConfig read, read_numbers(vision, shapes));
  if (deepstack == Deepstack::kRead) {
    TRY(read.deepstack_layers, read_deepstack(vision, shapes, read.depth));
  }
  CHECK_OK(check_vision(read, vision));
  if (read.out_hidden_size != text_hidden_size)
    return json.error(fmt::format("has a vision tower for hidden size {}, the text model has {}",
                                  read.out_hidden_size, text_hidden_size));
  return read;
}

}  // namespace hearth::qwen3_tower
