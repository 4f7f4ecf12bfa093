#include "models/files/stored_scales.h"

#include <span>
#include <utility>

#include <fmt/format.h>

#include "models/files/config.h"
#include "models/files/formats.h"

namespace hearth::files {
namespace {

constexpr std::string_view kWeight = ".weight";
constexpr std::string_view kComfyQuant = ".comfy_quant";
constexpr std::string_view kScaledMark = "scaled_fp8";
constexpr std::string_view kHeaderKey = "_quantization_metadata";
constexpr std::string_view kInverse = "_scale_inv";
constexpr std::int64_t kMostBlock = 1 << 20;
constexpr std::uint64_t kMostLayerJson = 65'536;

bool is_fp8(DType dtype) {
  return dtype == DType::kF8E4M3 || dtype == DType::kF8E5M2;
}

bool is_rounded(DType dtype) {
  return is_fp8(dtype) || dtype == DType::kI8;
}

Error bad_tensor(const WeightIndex& index, const WeightEntry& entry, std::string_view problem) {
  return fail(Code::kBadModel, fmt::format("{}: tensor {} {}.", index.label_of(entry),
                                           shortened(entry.stored_name), problem));
}

// A mark, not a weight.
bool is_beside(std::string_view name) {
  return name.ends_with(kScaledMark);
}

std::int64_t blocks_of(std::int64_t size, std::int64_t block) {
  return (size + block - 1) / block;
}

// The rest of a layer's name before its last part: "X.weight" of "X.comfy_quant".
std::string weight_of(std::string_view name, std::string_view suffix) {
  return std::string(name.substr(0, name.size() - suffix.size())) + std::string(kWeight);
}

std::string beside(std::string_view weight, std::string_view suffix) {
  return std::string(weight.substr(0, weight.size() - kWeight.size())) + std::string(suffix);
}

class Reader {
 public:
  Reader(const models::ModelFiles& files, const WeightIndex& index)
      : files_(files), index_(index) {}

  Result<StoredScales> read() {
    TRY(const ConfigValue blocks, read_config());
    CHECK_OK(refuse_quantised(index_));
    if (blocks) {
      CHECK_OK(add_blocks(blocks));
    } else if (has_mark()) {
      CHECK_OK(add_scaled());
    } else {
      CHECK_OK(add_described());
      CHECK_OK(add_from_header());
    }
    marked_ = marked_ || !found_.empty();
    CHECK_OK(refuse_unexplained());
    CHECK_OK(add_rest());
    return std::move(found_);
  }

 private:
  // quantization_config of block FP8, or an absent value. Other methods are refused.
  Result<ConfigValue> read_config() {
    if (find_file(files_, "config.json") == nullptr) return ConfigValue();
    TRY(const ConfigValue config, read_json(files_, "config.json"));
    for (const ConfigValue& owner : {config, config["text_config"]}) {
      const ConfigValue method = owner["quantization_config"];
      if (!method) continue;
      TRY(const std::string_view name, method["quant_method"].text_or("an unnamed method"));
      if (name != "fp8") return refused(shortened(name), "config.json: quantization_config");
      TRY(const std::string_view format, method["fmt"].text_or("e4m3"));
      if (format != "e4m3")
        return refused("FP8 of " + shortened(format), "config.json: quantization_config.fmt");
      return method;
    }
    return ConfigValue();
  }

  // --- block FP8 ---

  Result<void> add_blocks(const ConfigValue& method) {
    std::vector<std::int64_t> block = {128, 128};
    if (const ConfigValue size = method["weight_block_size"]; size) {
      TRY(block, size.integers(1, kMostBlock));
      if (block.size() != 2) return size.error("has not two entries");
    }
    marked_ = true;
    for (const WeightEntry& entry : index_.entries()) {
      if (entry.dtype != DType::kF8E4M3) continue;
      TRY(const WeightEntry* scales, require_beside(entry, entry.name + std::string(kInverse)));
      CHECK_OK(check_blocks(entry, *scales, block));
      found_.add(entry.name, {scales, block[0], block[1]});
    }
    return {};
  }

  Result<void> check_blocks(const WeightEntry& weight, const WeightEntry& scales,
                            const std::vector<std::int64_t>& block) const {
    std::vector<std::int64_t> wanted = weight.shape;
    if (wanted.size() < 2 || wanted.size() > 3)
      return bad_tensor(index_, weight,
                        "is FP8 in blocks, but neither a matrix nor a stack of them");
    for (std::size_t i = 0; i < block.size(); ++i) {
      std::int64_t& size = wanted[wanted.size() - 2 + i];
      size = blocks_of(size, block[i]);
    }
    if (scales.shape != wanted)
      return bad_tensor(
          index_, scales,
          fmt::format("has shape {}, but {} of {} in blocks of {} needs {}",
                      shape_text(scales.shape), shortened(weight.stored_name),
                      shape_text(weight.shape), shape_text(block), shape_text(wanted)));
    return check_type(scales);
  }

  // --- ComfyUI's fp8_scaled ---

  bool has_mark() const {
    for (const WeightEntry& entry : index_.entries())
      if (entry.name == kScaledMark || entry.name.ends_with(fmt::format(".{}", kScaledMark)))
        return true;
    return false;
  }

  Result<void> add_scaled() {
    marked_ = true;
    for (const WeightEntry& entry : index_.entries()) {
      if (!is_fp8(entry.dtype) || !entry.name.ends_with(kWeight)) continue;
      TRY(const WeightEntry* scale, require_beside(entry, beside(entry.name, ".scale_weight")));
      CHECK_OK(add_single(entry, *scale));
    }
    return {};
  }

  // --- ComfyUI's quantised layers ---

  Result<void> add_described() {
    for (const WeightEntry& entry : index_.entries()) {
      if (!entry.name.ends_with(kComfyQuant)) continue;
      if (entry.nbytes > kMostLayerJson)
        return bad_tensor(index_, entry, fmt::format("has {} bytes of JSON", entry.nbytes));
      std::string text(static_cast<std::size_t>(entry.nbytes), '\0');
      CHECK_OK(index_.read_tensor(entry, std::as_writable_bytes(std::span(text))));
      TRY(const ConfigValue layer, parse_json(shortened(entry.stored_name), text));
      CHECK_OK(add_layer(weight_of(entry.name, kComfyQuant), layer));
    }
    return {};
  }

  Result<void> add_from_header() {
    const auto header = index_.metadata().find(std::string(kHeaderKey));
    if (header == index_.metadata().end()) return {};
    constexpr JsonLimits kLimits{.max_bytes = std::size_t{16} << 20, .max_values = 400'000};
    TRY(const ConfigValue json, parse_json(std::string(kHeaderKey), header->second, kLimits));
    const ConfigValue layers = json["layers"];
    for (auto layer = layers.first(); layer.exists(); layer = layer.next())
      CHECK_OK(add_layer(unified_name(std::string(layer.key()) + std::string(kWeight)), layer));
    return {};
  }

  Result<void> add_layer(const std::string& name, const ConfigValue& layer) {
    TRY(const WeightEntry* weight, index_.require(name));
    TRY(const std::string_view format, layer["format"].text_or("int8_tensorwise"));
    const std::pair<std::string_view, DType> known[] = {{"float8_e4m3fn", DType::kF8E4M3},
                                                        {"float8_e5m2", DType::kF8E5M2},
                                                        {"int8_tensorwise", DType::kI8}};
    for (const auto& [read, dtype] : known) {
      if (read != format) continue;
      CHECK_OK(refuse_rotated(layer));
      if (weight->dtype != dtype)
        return bad_tensor(index_, *weight,
                          fmt::format("is {}, but said to be {}", name_of(weight->dtype), format));
      TRY(const WeightEntry* scale, require_beside(*weight, beside(name, ".weight_scale")));
      return add_single(*weight, *scale);
    }
    return refused(shortened(format), layer.path());
  }

  Result<void> refuse_rotated(const ConfigValue& layer) const {
    for (const ConfigValue& owner : {layer, layer["params"]}) {
      TRY(const bool rotated, owner["convrot"].boolean_or(false));
      if (rotated) return refused("convrot (rotated weights)", layer.path());
    }
    return {};
  }

  // One scale for all of it or, of I8, one for each row.
  Result<void> add_single(const WeightEntry& weight, const WeightEntry& scale) {
    CHECK_OK(check_type(scale));
    std::int64_t count = 1;
    for (const std::int64_t size : scale.shape) count *= size;
    const bool is_row_of_rows = weight.dtype == DType::kI8 && weight.shape.size() == 2 &&
                                !scale.shape.empty() && scale.shape.front() == count &&
                                count == weight.shape.front();
    if (count != 1 && !is_row_of_rows)
      return bad_tensor(
          index_, scale,
          fmt::format("has shape {}, but {} of {} needs one scale{}", shape_text(scale.shape),
                      shortened(weight.stored_name), shape_text(weight.shape),
                      weight.dtype == DType::kI8 ? " or one for each row" : ""));
    found_.add(weight.name, {&scale, count == 1 ? 0 : 1, 0});
    return {};
  }

  // --- what is left ---

  // Scales in files that do not say what they are.
  Result<void> refuse_unexplained() const {
    constexpr std::pair<std::string_view, std::string_view> kMarks[] = {
        {".weight_scale_inv", "FP8 in blocks that config.json does not describe"},
        {".scale_weight", "FP8 without ComfyUI's tensor scaled_fp8"},
        {".weight_scale", "scaled FP8 or INT8 that neither ComfyUI's marks nor config.json name"}};
    if (marked_) return {};
    for (const WeightEntry& entry : index_.entries())
      for (const auto& [suffix, method] : kMarks)
        if (entry.name.ends_with(suffix))
          return refused(method, "tensor " + shortened(entry.stored_name));
    return {};
  }

  // Of files without any mark FP8 is a number format; in all others it would be a guess.
  Result<void> add_rest() {
    for (const WeightEntry& entry : index_.entries()) {
      if (!is_rounded(entry.dtype) || found_.find(entry.name) != nullptr || is_beside(entry.name))
        continue;
      if (marked_ || !is_fp8(entry.dtype))
        return bad_tensor(
            index_, entry,
            fmt::format("is {}, and nothing says what its codes stand for", name_of(entry.dtype)));
      found_.add(entry.name, {});
    }
    return {};
  }

  Result<const WeightEntry*> require_beside(const WeightEntry& weight,
                                            const std::string& name) const {
    if (const WeightEntry* found = index_.find(name)) return found;
    return bad_tensor(index_, weight,
                      fmt::format("is {} without its scale: {} is missing", name_of(weight.dtype),
                                  shortened(name)));
  }

  Result<void> check_type(const WeightEntry& scales) const {
    if (scales.dtype == DType::kF32 || scales.dtype == DType::kBF16 || scales.dtype == DType::kF16)
      return {};
    return bad_tensor(
        index_, scales,
        fmt::format("is {}: a scale must be f32, bf16 or f16", name_of(scales.dtype)));
  }

  const models::ModelFiles& files_;
  const WeightIndex& index_;
  StoredScales found_;
  bool marked_ = false;  // the files say that their weights are rounded
};

}  // namespace

const StoredScale* StoredScales::find(std::string_view weight) const {
  const auto found = scales_.find(weight);
  return found == scales_.end() ? nullptr : &found->second;
}

Result<StoredScales> read_stored_scales(const models::ModelFiles& files, const WeightIndex& index) {
  return Reader(files, index).read();
}

}  // namespace hearth::files
