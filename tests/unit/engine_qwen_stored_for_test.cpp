#include "tests/unit/engine_qwen_stored_for_test.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <fstream>
#include <sstream>

#include <nlohmann/json.hpp>

#include "models/files/weight_index.h"
#include "models/kernels/formats.h"
#include "tests/unit/engine_qwen_for_test.h"
#include "tests/unit/model_files_for_test.h"

namespace hearth::language {
namespace {

using nlohmann::json;

constexpr std::int64_t kBlockRows = 24, kBlockColumns = 20;  // neither divides most matrices

const char* safetensors_name(DType dtype) {
  return dtype == DType::kF32 ? "F32" : dtype == DType::kBF16 ? "BF16" : "F16";
}

std::vector<float> floats_of(const FileTensor& tensor) {
  const bool f32 = tensor.dtype == "F32";
  std::vector<float> values(tensor.bytes.size() / (f32 ? 4 : 2));
  for (std::size_t i = 0; i < values.size(); ++i) {
    std::uint32_t bits = 0;
    std::memcpy(reinterpret_cast<char*>(&bits) + (f32 ? 0 : 2),
                tensor.bytes.data() + i * (f32 ? 4 : 2), f32 ? 4 : 2);
    std::memcpy(&values[i], &bits, 4);
  }
  return values;
}

FileTensor of_floats(std::vector<std::int64_t> shape, const std::vector<float>& values) {
  FileTensor made{"F32", std::move(shape), std::string(values.size() * 4, '\0')};
  std::memcpy(made.bytes.data(), values.data(), made.bytes.size());
  return made;
}

bool is_int8(Way way) {
  return way == Way::kInt8 || way == Way::kInt8Rows;
}

std::uint8_t code_of(Way way, float value) {
  if (is_int8(way))  // -128 comes up, too
    return static_cast<std::uint8_t>(
        static_cast<std::int8_t>(std::clamp(std::nearbyint(value), -128.0F, 127.0F)));
  if (way == Way::kScaledE5) return static_cast<std::uint8_t>(kernels::to_f16(value) >> 8);
  return kernels::to_e4m3(value);
}

float number_of(Way way, std::uint8_t code) {
  if (is_int8(way)) return static_cast<float>(static_cast<std::int8_t>(code));
  if (way == Way::kScaledE5) return kernels::f16_to_float(static_cast<std::uint16_t>(code << 8));
  return kernels::e4m3_to_float(code);
}

// Which scale a weight has.
struct Grid {
  std::int64_t block_rows, block_columns;  // 0: all
  std::vector<std::int64_t> shape;         // of the scales

  std::size_t place(std::int64_t row, std::int64_t column, std::int64_t rows) const {
    if (shape.empty() || shape == std::vector<std::int64_t>{1}) return 0;
    const std::int64_t matrix = row / rows, within = row % rows;
    if (block_columns == 0) return static_cast<std::size_t>(row);
    const std::int64_t down = shape[shape.size() - 2], across = shape.back();
    return static_cast<std::size_t>((matrix * down + within / block_rows) * across +
                                    column / block_columns);
  }
};

Grid grid_of(Way way, const std::vector<std::int64_t>& shape) {
  if (way == Way::kInt8Rows) return {1, 0, {shape.front(), 1}};
  if (way != Way::kBlocks)
    return {0, 0, way == Way::kScaled ? std::vector<std::int64_t>{1} : std::vector<std::int64_t>{}};
  Grid grid{kBlockRows, kBlockColumns, shape};
  std::int64_t& rows = grid.shape[shape.size() - 2];
  std::int64_t& columns = grid.shape.back();
  rows = (rows + kBlockRows - 1) / kBlockRows;
  columns = (columns + kBlockColumns - 1) / kBlockColumns;
  return grid;
}

struct Rounded {
  FileTensor codes, scales, exact;
};

Rounded round(Way way, const FileTensor& tensor) {
  const std::vector<float> values = floats_of(tensor);
  const Grid grid = grid_of(way, tensor.shape);
  const std::int64_t columns = tensor.shape.back(), rows = tensor.shape[tensor.shape.size() - 2];
  const auto place = [&](std::size_t i) {
    const auto at = static_cast<std::int64_t>(i);
    return grid.place(at / columns, at % columns, rows);
  };
  std::size_t count = 1;
  for (const std::int64_t size : grid.shape) count *= static_cast<std::size_t>(size);
  std::vector<float> largest(count, 1e-3F);
  for (std::size_t i = 0; i < values.size(); ++i)
    largest[place(i)] = std::max(largest[place(i)], std::fabs(values[i]));
  std::vector<float> scales(count);
  const float most = is_int8(way) ? 128.0F : 448.0F;
  for (std::size_t i = 0; i < count; ++i) scales[i] = way == Way::kPlain ? 1.0F : largest[i] / most;
  Rounded made{{is_int8(way)            ? "I8"
                : way == Way::kScaledE5 ? "F8_E5M2"
                                        : "F8_E4M3",
                tensor.shape,
                {}},
               of_floats(grid.shape, scales),
               {}};
  std::vector<float> exact(values.size());
  for (std::size_t i = 0; i < values.size(); ++i) {
    const std::uint8_t code = code_of(way, values[i] / scales[place(i)]);
    made.codes.bytes += static_cast<char>(code);
    exact[i] = number_of(way, code) * scales[place(i)];
  }
  made.exact = of_floats(tensor.shape, exact);
  return made;
}

bool is_rounded(Way way, const std::string& name, const FileTensor& tensor) {
  if (name.find("layers.") == std::string::npos && name != "lm_head.weight") return false;
  if (name.find("layers.1.") != std::string::npos) return false;
  if (name.find("mlp.gate.weight") != std::string::npos) return false;  // a router
  if (way == Way::kBlocks && name.find(".experts.") != std::string::npos) return true;
  return tensor.shape.size() == 2 && name.ends_with(".weight");
}

std::string stem_of(const std::string& name) {
  return name.substr(0, name.size() - std::string(".weight").size());
}

// What stands beside a tensor of codes.
void add_marks(Way way, const std::string& name, const FileTensor& scales, FileTensors& tensors,
               json& layers) {
  const std::string format = is_int8(way) ? "int8_tensorwise" : "float8_e4m3fn";
  switch (way) {
    case Way::kPlain:
      return;
    case Way::kBlocks:
      tensors[name + "_scale_inv"] = scales;
      return;
    case Way::kScaled:
    case Way::kScaledE5:
      tensors[stem_of(name) + ".scale_weight"] = scales;
      tensors[stem_of(name) + ".scale_input"] = of_floats({1}, {0.25F});  // of no use
      return;
    case Way::kHeader:
      layers[stem_of(name)] = {{"format", format}};
      break;
    default: {
      const std::string text = json{{"format", format}}.dump();
      tensors[stem_of(name) + ".comfy_quant"] = {
          "U8", {static_cast<std::int64_t>(text.size())}, text};
    }
  }
  tensors[stem_of(name) + ".weight_scale"] = scales;
}

std::string marked_config(const std::string& name, Way way) {
  json config = json::parse(config_of(name));
  if (way == Way::kBlocks)
    config["quantization_config"] = {{"quant_method", "fp8"},
                                     {"activation_scheme", "dynamic"},
                                     {"weight_block_size", {kBlockRows, kBlockColumns}},
                                     {"modules_to_not_convert", {"lm_head", "visual"}}};
  return config.dump();
}

}  // namespace

std::string config_of(const std::string& name) {
  std::ifstream file(case_folder(name) / "config.json");
  std::ostringstream text;
  text << file.rdbuf();
  return text.str();
}

FileTensors read_case(const std::string& name) {
  const auto index = must(files::WeightIndex::read(case_files(name)));
  FileTensors tensors;
  for (const files::WeightEntry& entry : index.entries()) {
    FileTensor& tensor = tensors[entry.stored_name];
    tensor = {safetensors_name(entry.dtype), entry.shape,
              std::string(static_cast<std::size_t>(entry.nbytes), '\0')};
    must(index.read_tensor(entry, std::as_writable_bytes(std::span(tensor.bytes))));
  }
  return tensors;
}

std::string name_of(Way way) {
  constexpr const char* kNames[] = {"scaled", "scaled_e5m2", "layers", "header",
                                    "int8",   "int8_rows",   "blocks", "plain"};
  return kNames[static_cast<std::size_t>(way)];
}

StoredFiles store(const std::string& name, Way way) {
  StoredFiles made;
  made.config = marked_config(name, way);
  json layers = json::object();
  for (const auto& [tensor_name, tensor] : read_case(name)) {
    if (!is_rounded(way, tensor_name, tensor)) {
      made.rounded[tensor_name] = made.exact[tensor_name] = tensor;
      continue;
    }
    Rounded rounded = round(way, tensor);
    made.rounded[tensor_name] = std::move(rounded.codes);
    made.exact[tensor_name] = std::move(rounded.exact);
    add_marks(way, tensor_name, rounded.scales, made.rounded, layers);
    ++made.count;
  }
  if (way == Way::kScaled) made.rounded["scaled_fp8"] = {"F8_E4M3", {0}, {}};
  if (way == Way::kScaledE5) made.rounded["scaled_fp8"] = {"F8_E5M2", {2}, std::string(2, '\0')};
  if (way == Way::kHeader)
    made.metadata = json{{"format_version", "1.0"}, {"layers", layers}}.dump();
  return made;
}

std::string file_of(const FileTensors& tensors, const std::string& metadata) {
  json header = json::object();
  if (!metadata.empty()) header["__metadata__"] = {{"_quantization_metadata", metadata}};
  std::string bytes;
  for (const auto& [tensor_name, tensor] : tensors) {
    header[tensor_name] = {{"dtype", tensor.dtype},
                           {"shape", tensor.shape},
                           {"data_offsets", {bytes.size(), bytes.size() + tensor.bytes.size()}}};
    bytes += tensor.bytes;
  }
  const std::string text = header.dump();
  const std::uint64_t length = text.size();
  return std::string(reinterpret_cast<const char*>(&length), sizeof length) + text + bytes;
}

models::ModelFiles files_beside(const std::string& name) {
  models::ModelFiles files = without(case_files(name), "config.json");
  std::erase_if(files, [](const models::ModelFile& file) {
    return file.label.find("safetensors") != std::string::npos;
  });
  return files;
}

models::ModelFiles files_of(const std::string& name, const FileTensors& tensors,
                            const std::string& config, const std::string& metadata) {
  models::ModelFiles files = files_beside(name);
  files.push_back(models::file_with("config.json", config));
  files.push_back(models::file_with("model.safetensors", file_of(tensors, metadata)));
  return files;
}

}  // namespace hearth::language
