#include <cmath>
#include <utility>

#include <fmt/format.h>

#include "models/files/config.h"
#include "models/files/model_file.h"
#include "models/image/clip.h"
#include "models/image/patchify.h"

namespace hearth::image {
namespace {

using files::ConfigValue;

constexpr std::int64_t kBicubic = 3;  // PIL.Image.Resampling.BICUBIC
constexpr std::int64_t kMostPixels = std::int64_t{1} << 28;

Error not_done(const ConfigValue& value, std::string_view what) {
  return fail(Code::kUnsupported, fmt::format("{} {}.", value.path(), what),
              "hearth prepares pictures as Qwen2-VL's fast image processor does by default.");
}

Result<void> check_steps(const ConfigValue& config) {
  for (const auto* step : {"do_resize", "do_rescale", "do_normalize", "do_convert_rgb"}) {
    TRY(const bool done, config[step].boolean_or(true));
    if (!done) return not_done(config[step], "is false, which hearth does not do");
  }
  TRY(const auto resample, config["resample"].integer_or(kBicubic));
  if (resample != kBicubic) return not_done(config["resample"], "is not 3, bicubic");
  TRY(const auto scale, config["rescale_factor"].number_or(1.0 / 255.0));
  if (std::abs(scale * 255.0 - 1.0) > 1e-9)
    return not_done(config["rescale_factor"], "is not 1/255");
  return {};
}

Result<int> small_integer(const ConfigValue& value, int fallback, int max) {
  TRY(const auto number, value.integer_or(fallback, 1, max));
  return static_cast<int>(number);
}

Result<std::array<double, 3>> triple(const ConfigValue& value,
                                     const std::array<double, 3>& fallback) {
  if (!value) return fallback;
  TRY(const auto numbers, value.numbers());
  if (numbers.size() != 3) return value.error("must be three numbers");
  return std::array<double, 3>{numbers[0], numbers[1], numbers[2]};
}

// Older files say min_pixels and max_pixels, newer ones size.*_edge, which are pixel counts all the
// same; where both stand, transformers lets the older win.
Result<std::int64_t> pixel_count(const ConfigValue& older, const ConfigValue& newer,
                                 std::int64_t fallback) {
  TRY(const auto count, newer.integer_or(fallback, 1, kMostPixels));
  return older.integer_or(count, 1, kMostPixels);
}

Result<ConfigValue> find_config(const models::ModelFiles& files) {
  if (files::find_file(files, "preprocessor_config.json"))
    return files::read_json(files, "preprocessor_config.json");
  if (!files::find_file(files, "processor_config.json")) return ConfigValue();
  TRY(const auto root, files::read_json(files, "processor_config.json"));
  return root["image_processor"];
}

Result<ConfigValue> find_clip_config(const models::ModelFiles& files) {
  constexpr const char* kOwn = "video_preprocessor_config.json";
  if (files::find_file(files, kOwn)) return files::read_json(files, kOwn);
  if (files::find_file(files, "processor_config.json")) {
    TRY(const auto root, files::read_json(files, "processor_config.json"));
    if (const auto own = root["video_processor"]) return own;
  }
  return find_config(files);
}

// A tower has one set of weights for both, and one table of what a byte becomes.
Result<void> check_same(const ConfigValue& config, const PictureRules& pictures) {
  const std::pair<const char*, int> sizes[] = {
      {"patch_size", pictures.patch_size},
      {"merge_size", pictures.merge_size},
      {"temporal_patch_size", pictures.temporal_patch_size}};
  for (const auto& [key, expected] : sizes) {
    TRY(const int size, small_integer(config[key], expected, 64));
    if (size != expected)
      return config[key].error(fmt::format("is {}, but pictures are cut with {}", size, expected));
  }
  TRY(const auto mean, triple(config["image_mean"], pictures.mean));
  TRY(const auto std, triple(config["image_std"], pictures.std));
  if (mean != pictures.mean || std != pictures.std)
    return not_done(config["image_mean"], "or image_std is another than for pictures");
  return {};
}

}  // namespace

Result<PictureRules> read_picture_rules(const models::ModelFiles& files, PictureRules rules) {
  TRY(const auto config, find_config(files));
  CHECK_OK(check_steps(config));
  TRY(rules.patch_size, small_integer(config["patch_size"], rules.patch_size, 64));
  TRY(rules.merge_size, small_integer(config["merge_size"], rules.merge_size, 8));
  TRY(rules.temporal_patch_size,
      small_integer(config["temporal_patch_size"], rules.temporal_patch_size, 8));
  const auto size = config["size"];
  TRY(rules.min_pixels, pixel_count(config["min_pixels"], size["shortest_edge"], rules.min_pixels));
  TRY(rules.max_pixels, pixel_count(config["max_pixels"], size["longest_edge"], rules.max_pixels));
  if (rules.min_pixels > rules.max_pixels)
    return size.error(
        fmt::format("wants at least {} and at most {} pixels", rules.min_pixels, rules.max_pixels));
  TRY(rules.mean, triple(config["image_mean"], rules.mean));
  TRY(rules.std, triple(config["image_std"], rules.std));
  for (const double std : rules.std)
    if (!(std > 0.0)) return config["image_std"].error("must be greater than 0");
  return rules;
}

Result<ClipRules> read_clip_rules(const models::ModelFiles& files, ClipRules rules,
                                  const PictureRules& pictures) {
  TRY(const auto config, find_clip_config(files));
  CHECK_OK(check_steps(config));
  CHECK_OK(check_same(config, pictures));
  const auto size = config["size"];
  TRY(rules.min_pixels, pixel_count(config["min_pixels"], size["shortest_edge"], rules.min_pixels));
  TRY(rules.max_pixels, pixel_count(config["max_pixels"], size["longest_edge"], rules.max_pixels));
  if (rules.min_pixels > rules.max_pixels)
    return size.error(
        fmt::format("wants at least {} and at most {} pixels", rules.min_pixels, rules.max_pixels));
  TRY(const bool caps, config["cap_pixels_per_frame"].boolean_or(false));
  if (!caps) return rules;
  const bool each = rules.count == ClipRules::Count::kEachFrame;
  TRY(rules.cap_tokens,
      config["max_video_tokens"].integer_or(each ? 128'000 : 768, 1, kMostPixels));
  return rules;
}

}  // namespace hearth::image
