#include "tests/unit/weights_for_test.h"

#include <cmath>
#include <cstring>
#include <random>

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <gtest/gtest.h>

#include "models/kernels/bfloat16.h"
#include "models/kernels/formats.h"
#include "tests/unit/model_files_for_test.h"

namespace hearth::weights {

namespace {

decoder::ExpertsDescription describe_experts(const Shape& shape, const std::string& layer) {
  decoder::ExpertsDescription experts;
  experts.count = shape.experts;
  experts.chosen = 2;
  experts.intermediate_size = shape.expert_intermediate;
  experts.router = layer + ".router";
  experts.files = shape.expert_files;
  experts.gate_up = layer + ".experts.gate_up";
  experts.down = layer + ".experts.down";
  for (int e = 0; e < shape.experts && shape.expert_files == decoder::ExpertFiles::kSeparate; ++e) {
    const auto name = [&](const char* part) { return fmt::format("{}.{}.{}", layer, e, part); };
    experts.separate.push_back({name("gate"), name("up"), name("down")});
  }
  return experts;
}

}  // namespace

decoder::Description describe(const Shape& shape) {
  decoder::Description text;
  text.hidden_size = shape.hidden;
  text.vocabulary_size = shape.vocabulary;
  text.embedding = "embed";
  text.final_norm = "norm";
  if (!shape.tied) text.head.weight = "head";
  for (std::int32_t i = 0; i < shape.layers; ++i) {
    decoder::LayerDescription layer;
    layer.heads = shape.heads;
    layer.kv_heads = 1;
    layer.head_dim = shape.head_dim;
    layer.qk_norm = true;
    layer.intermediate_size = shape.intermediate;
    const auto name = [&](const char* part) { return fmt::format("{}.{}", i, part); };
    layer.attention_norm = name("attention_norm");
    layer.q_norm = name("q_norm");
    layer.k_norm = name("k_norm");
    layer.mlp_norm = name("mlp_norm");
    const auto linear = [&](const char* part, bool biased) {
      return decoder::LinearNames{name(part), biased ? name(part) + ".bias" : std::string()};
    };
    layer.q = linear("q", shape.biases);
    layer.k = linear("k", shape.biases);
    layer.v = linear("v", shape.biases);
    layer.output = linear("output", false);
    layer.gate = linear("gate", false);
    layer.up = linear("up", false);
    layer.down = linear("down", false);
    if (shape.experts > 0 && i + 1 == shape.layers) {
      layer.mlp = decoder::MlpKind::kExperts;
      layer.experts = describe_experts(shape, std::to_string(i));
    }
    text.layers.push_back(layer);
  }
  return text;
}

std::string stored(float value, std::string_view dtype) {
  std::uint16_t bits = dtype == "BF16" ? kernels::to_bfloat16(value).bits : kernels::to_f16(value);
  std::string bytes(dtype == "F32" ? sizeof value : sizeof bits, '\0');
  std::memcpy(bytes.data(), dtype == "F32" ? static_cast<void*>(&value) : &bits, bytes.size());
  return bytes;
}

float deviation_of(const std::string& name, const std::vector<std::int64_t>& shape,
                   std::int32_t layers) {
  if (shape.size() < 2) return 0.1F;
  if (name == "embed") return 1.0F;
  const float plain = 1.0F / std::sqrt(static_cast<float>(shape[1]));
  const bool adds = name.ends_with("output") || name.ends_with("down");
  return adds ? plain / std::sqrt(2.0F * static_cast<float>(layers)) : plain;
}

Checkpoint make_checkpoint(const Shape& shape) {
  Checkpoint made;
  made.description = describe(shape);
  made.before = {{"tower.norm", {6}, true}, {"tower.weight", {5, 3, 2}, false}};
  decoder::TensorShapes shapes = decoder::tensors_of(made.description);
  for (const Tensor& tensor : made.before) shapes[tensor.name] = tensor.shape;
  std::mt19937 random(shape.seed);
  std::normal_distribution<float> normal;
  std::string header, data;
  for (const auto& [name, dims] : shapes) {
    std::int64_t count = 1;
    for (const std::int64_t dim : dims) count *= dim;
    const std::size_t begin = data.size();
    const float deviation = deviation_of(name, dims, shape.layers);
    const float mean = name.ends_with("norm") ? 1.0F : 0.0F;
    for (std::int64_t i = 0; i < count; ++i)
      data += stored(mean + deviation * normal(random), shape.dtype);
    header += fmt::format(R"({}"{}":{{"dtype":"{}","shape":[{}],"data_offsets":[{},{}]}})",
                          header.empty() ? "" : ",", name, shape.dtype, fmt::join(dims, ","), begin,
                          data.size());
  }
  header = "{" + header + "}";
  std::string file(8, '\0');
  const std::uint64_t length = header.size();
  std::memcpy(file.data(), &length, sizeof length);
  made.files = {models::file_with("model.safetensors", file + header + data)};
  made.fd = made.files.front().fd->get();
  return made;
}

Plan plan_of(const files::WeightIndex& index, const Checkpoint& checkpoint,
             std::string_view dtype) {
  return must(make_plan(index, {checkpoint.description, checkpoint.before, {dtype}}));
}

std::vector<float> numbers(const files::WeightIndex& index, const std::string& name) {
  const files::WeightEntry& entry = *must(index.require(name));
  std::vector<std::byte> bytes(entry.nbytes);
  if (!index.read_tensor(entry, bytes)) throw std::runtime_error(name + " cannot be read");
  const std::size_t item = hearth::item_bytes(entry.dtype);
  std::vector<float> values(bytes.size() / item);
  for (std::size_t i = 0; i < values.size(); ++i) {
    std::uint16_t bits = 0;
    if (entry.dtype == DType::kF32) {
      std::memcpy(&values[i], &bytes[i * item], item);
    } else {
      std::memcpy(&bits, &bytes[i * item], item);
      values[i] = entry.dtype == DType::kBF16 ? kernels::to_float(kernels::BFloat16{bits})
                                              : kernels::f16_to_float(bits);
    }
  }
  return values;
}

void expect_packed(const HearthMatrix& found, const std::vector<float>& rows, const char* what) {
  const std::size_t bytes =
      hearth_matrix_bytes(found.format, found.out_features, found.in_features);
  const std::size_t scale_bytes =
      hearth_scale_bytes(found.format, found.out_features, found.in_features);
  std::vector<std::byte> data(bytes), scales(scale_bytes + 1);
  HearthMatrix wanted = found;
  wanted.data = data.data();
  wanted.scales = scale_bytes > 0 ? scales.data() : nullptr;
  ASSERT_EQ(rows.size(), static_cast<std::size_t>(found.out_features * found.in_features)) << what;
  ASSERT_EQ(hearth_pack_begin(&wanted), HEARTH_OK) << what;
  const HearthPack pack = {wanted, HEARTH_F32, rows.data(), found.out_features, 0, 1};
  ASSERT_EQ(hearth_pack(&pack), HEARTH_OK) << what;
  EXPECT_EQ(std::memcmp(found.data, data.data(), bytes), 0) << what;
  if (scale_bytes > 0) {
    EXPECT_EQ(std::memcmp(found.scales, scales.data(), scale_bytes), 0) << what;
  }
}

}  // namespace hearth::weights
