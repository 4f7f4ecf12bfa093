// Source: transformers 5.23, Qwen3VLVisionModel (modeling_qwen3_vl.py) and vision_utils.py.

#include "models/qwen3_vl/vision.h"

#include <algorithm>
#include <cmath>

#include <ATen/TensorOperators.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/gelu.h>
#include <ATen/ops/layer_norm.h>
#include <ATen/ops/linear.h>
#include <ATen/ops/scaled_dot_product_attention.h>

#include "models/qwen3_vl/layout.h"
#include "models/torch/features.h"
#include "models/torch/tensors.h"
#include "models/torch/weight_reader.h"

namespace hearth::qwen3_vl {
namespace {

constexpr double kNormEpsilon = 1e-6;

struct Dense {
  at::Tensor weight;  // [out, in]
  at::Tensor bias;    // [out]

  at::Tensor operator()(const at::Tensor& x) const { return at::linear(x, weight, bias); }
};

struct LayerNorm {
  at::Tensor weight;
  at::Tensor bias;

  at::Tensor operator()(const at::Tensor& x) const {
    return at::layer_norm(x, weight.sizes(), weight, bias, kNormEpsilon);
  }
};

struct Block {
  LayerNorm norm1, norm2;
  Dense qkv, proj, fc1, fc2;
};

// Four neighbouring patches become one token.
struct Merger {
  LayerNorm norm;
  Dense fc1, fc2;

  // [patches, hidden] -> [tokens, text hidden]. The norm's width says whether it comes before the
  // patches are joined (the last merger) or after (DeepStack's).
  at::Tensor operator()(const at::Tensor& patches) const {
    const std::int64_t merged = fc1.weight.size(1);
    const at::Tensor joined = norm(patches.view({-1, norm.weight.size(0)})).view({-1, merged});
    return fc2(at::gelu(fc1(joined)));
  }
};

struct Weights {
  Dense patch_embed;     // weight [hidden, 3 * temporal * patch * patch]
  at::Tensor positions;  // [rows, hidden], f32
  std::vector<Block> blocks;
  Merger merger;
  std::vector<Merger> deepstack;
};

// Cosines and sines of a picture's patches. [patches, 1, head_dim / 2], f32
struct Angles {
  at::Tensor cosines, sines;
};

// The patches of a picture in merge-block order, as row and column.
template <class Visit>
void for_each_patch(const image::Patches& picture, int merge, Visit visit) {
  for (int block_row = 0; block_row < picture.grid_height; block_row += merge)
    for (int block_column = 0; block_column < picture.grid_width; block_column += merge)
      for (int row = 0; row < merge; ++row)
        for (int column = 0; column < merge; ++column)
          visit(block_row + row, block_column + column);
}

// Where a patch falls between two rows (or columns) of the learned grid.
struct Taps {
  std::int64_t low = 0, high = 0;
  float low_weight = 1.0F, high_weight = 0.0F;
};

// Endpoints of `size` patches map to the endpoints of `side` learned positions; fp32 as in the
// source.
Taps find_taps(int index, int size, std::int64_t side) {
  const float at = static_cast<float>(index) * static_cast<float>(side - 1) /
                   static_cast<float>(std::max(size - 1, 1));
  const float floor = std::floor(at);
  const auto low = static_cast<std::int64_t>(floor);
  const float distance = at - floor;
  return {std::clamp<std::int64_t>(low, 0, side - 1),
          std::clamp<std::int64_t>(low + 1, 0, side - 1), 1.0F - distance,
          1.0F - std::abs(distance - 1.0F)};
}

class VisionTower : public engine::Tower {
 public:
  VisionTower(const VisionConfig& config, Weights weights)
      : config_(config), weights_(std::move(weights)) {}

  engine::Features encode(models::OnEngine, const image::Patches& picture) override {
    at::Tensor x = embed(picture);
    const Angles angles = find_angles(picture);
    engine::Features features;
    features.deepstack.resize(config_.deepstack_layers.size());
    for (std::size_t i = 0; i < weights_.blocks.size(); ++i) {
      const Block& block = weights_.blocks[i];
      x = x + attend(block, block.norm1(x), angles);
      x = x + block.fc2(at::gelu(block.fc1(block.norm2(x)), "tanh"));
      tap(static_cast<std::int64_t>(i), x, features);
    }
    features.rows = weights_.merger(x);
    return features;
  }

 private:
  at::TensorOptions options() const { return weights_.merger.fc1.weight.options(); }

  // [patches, hidden]
  at::Tensor embed(const image::Patches& picture) const {
    const at::Tensor rows =
        engine::from_floats(picture.rows, {picture.count(), config_.patch_floats()});
    const at::Tensor x = weights_.patch_embed(rows.to(options()));
    return x + interpolated_positions(picture).to(options());
  }

  // Bilinear between the four nearest learned positions. [patches, hidden], f32
  at::Tensor interpolated_positions(const image::Patches& picture) const {
    const auto side = std::lround(std::sqrt(static_cast<double>(config_.position_rows)));
    constexpr std::size_t kCorners = 4;
    std::array<std::vector<float>, kCorners> weights;
    std::array<std::vector<std::int64_t>, kCorners> rows;
    for_each_patch(picture, config_.merge_size, [&](int row, int column) {
      const Taps y = find_taps(row, picture.grid_height, side);
      const Taps x = find_taps(column, picture.grid_width, side);
      const std::array<std::int64_t, kCorners> corner = {
          y.low * side + x.low, y.low * side + x.high, y.high * side + x.low,
          y.high * side + x.high};
      const std::array<float, kCorners> weight = {
          y.low_weight * x.low_weight, y.low_weight * x.high_weight, y.high_weight * x.low_weight,
          y.high_weight * x.high_weight};
      for (std::size_t i = 0; i < kCorners; ++i) {
        rows[i].push_back(corner[i]);
        weights[i].push_back(weight[i]);
      }
    });
    at::Tensor sum;
    for (std::size_t i = 0; i < kCorners; ++i) {
      const at::Tensor part = corner_part(rows[i], weights[i]);
      sum = sum.defined() ? sum.add_(part) : part;
    }
    return sum;
  }

  at::Tensor corner_part(const std::vector<std::int64_t>& rows,
                         const std::vector<float>& weights) const {
    const auto count = static_cast<std::int64_t>(rows.size());
    const at::Device device = weights_.positions.device();
    const at::Tensor index = engine::from_integers(rows).to(device);
    const at::Tensor weight = engine::from_floats(weights, {count, 1}).to(device);
    return weights_.positions.index_select(0, index).mul_(weight);
  }

  // Half of a half-head turns with the row, half with the column.
  Angles find_angles(const image::Patches& picture) const {
    const std::int64_t half = config_.head_dim() / 2;
    std::vector<float> frequencies;
    for (std::int64_t i = 0; i < half; i += 2) {
      const float exponent = static_cast<float>(i) / static_cast<float>(half);
      frequencies.push_back(1.0F / static_cast<float>(std::pow(config_.rope_theta, exponent)));
    }
    std::vector<float> cosines, sines;
    const auto turn = [&](int place) {
      for (const float frequency : frequencies) {
        const float angle = static_cast<float>(place) * frequency;
        cosines.push_back(std::cos(angle));
        sines.push_back(std::sin(angle));
      }
    };
    for_each_patch(picture, config_.merge_size, [&](int row, int column) {
      turn(row);
      turn(column);
    });
    const auto placed = [&](const std::vector<float>& values) {
      return engine::from_floats(values, {picture.count(), 1, half}).to(options().device());
    };
    return {placed(cosines), placed(sines)};
  }

  // Every patch of the picture sees every other. [patches, hidden]
  at::Tensor attend(const Block& block, const at::Tensor& x, const Angles& angles) const {
    const std::int64_t patches = x.size(0);
    const at::Tensor qkv = block.qkv(x).view({patches, 3, config_.heads, config_.head_dim()});
    const auto heads_first = [](const at::Tensor& rows) {  // [1, heads, patches, head_dim]
      return rows.transpose(0, 1).unsqueeze(0);
    };
    const at::Tensor attended = at::scaled_dot_product_attention(
        heads_first(rotate(qkv.select(1, 0), angles)),
        heads_first(rotate(qkv.select(1, 1), angles)), heads_first(qkv.select(1, 2)));
    return block.proj(attended.squeeze(0).transpose(0, 1).reshape({patches, -1}));
  }

  // [patches, heads, head_dim], in f32
  static at::Tensor rotate(const at::Tensor& x, const Angles& angles) {
    const std::int64_t half = x.size(2) / 2;
    const at::Tensor left = x.narrow(2, 0, half).to(at::kFloat);
    const at::Tensor right = x.narrow(2, half, half).to(at::kFloat);
    return at::cat({left * angles.cosines - right * angles.sines,
                    right * angles.cosines + left * angles.sines},
                   2)
        .to(x.scalar_type());
  }

  void tap(std::int64_t block, const at::Tensor& x, engine::Features& features) const {
    const auto& layers = config_.deepstack_layers;
    const auto found = std::find(layers.begin(), layers.end(), block);
    if (found == layers.end()) return;
    const auto level = static_cast<std::size_t>(found - layers.begin());
    features.deepstack[level] = weights_.deepstack[level](x);
  }

  const VisionConfig config_;
  const Weights weights_;
};

class Loader {
 public:
  explicit Loader(engine::WeightReader& reader) : reader_(reader) {}

  Result<Dense> dense(const std::string& name) {
    Dense read;
    TRY(read.weight, reader_.read(name + ".weight"));
    TRY(read.bias, reader_.read(name + ".bias"));
    return read;
  }

  Result<LayerNorm> norm(const std::string& name) {
    LayerNorm read;
    TRY(read.weight, reader_.read(name + ".weight"));
    TRY(read.bias, reader_.read(name + ".bias"));
    return read;
  }

  Result<Block> block(std::int32_t index) {
    Block read;
    TRY(read.norm1, norm(block_name(index, "norm1")));
    TRY(read.norm2, norm(block_name(index, "norm2")));
    TRY(read.qkv, dense(block_name(index, "attn.qkv")));
    TRY(read.proj, dense(block_name(index, "attn.proj")));
    TRY(read.fc1, dense(block_name(index, "mlp.linear_fc1")));
    TRY(read.fc2, dense(block_name(index, "mlp.linear_fc2")));
    return read;
  }

  Result<Merger> merger(const std::string& prefix) {
    Merger read;
    TRY(read.norm, norm(prefix + "norm"));
    TRY(read.fc1, dense(prefix + "linear_fc1"));
    TRY(read.fc2, dense(prefix + "linear_fc2"));
    return read;
  }

 private:
  engine::WeightReader& reader_;
};

}  // namespace

Result<std::unique_ptr<engine::Tower>> load_vision(engine::WeightReader& reader,
                                                   const VisionConfig& config) {
  Loader loader(reader);
  Weights weights;
  TRY(weights.patch_embed, loader.dense("visual.patch_embed.proj"));
  // A convolution whose steps are its own size is a product with each patch's row.
  weights.patch_embed.weight = weights.patch_embed.weight.view({config.hidden_size, -1});
  TRY(weights.positions, reader.read_f32("visual.pos_embed.weight"));
  for (std::int32_t block = 0; block < config.depth; ++block) {
    TRY(Block read, loader.block(block));
    weights.blocks.push_back(std::move(read));
  }
  TRY(weights.merger, loader.merger("visual.merger."));
  for (std::size_t level = 0; level < config.deepstack_layers.size(); ++level) {
    TRY(Merger read, loader.merger(deepstack_name(static_cast<std::int32_t>(level), "")));
    weights.deepstack.push_back(std::move(read));
  }
  return std::unique_ptr<engine::Tower>(std::make_unique<VisionTower>(config, std::move(weights)));
}

}  // namespace hearth::qwen3_vl
