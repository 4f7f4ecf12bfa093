#include "models/torch/decoder_weights.h"

#include <ATen/ops/cat.h>

#include "models/torch/tensors.h"

namespace hearth::engine {
namespace {

using decoder::LayerDescription;
using decoder::LinearNames;

class Loader {
 public:
  Loader(WeightReader& reader, const decoder::Description& description)
      : reader_(reader), description_(description) {}

  Result<LoadedDecoder> load() {
    decoder::Weights& weights = loaded_.weights;
    TRY(weights.embedding, keep(reader_.read(description_.embedding)));
    for (const LayerDescription& layer : description_.layers) {
      TRY(decoder::LayerWeights placed, load_layer(layer));
      weights.layers.push_back(std::move(placed));
    }
    TRY(weights.final_norm, keep(reader_.read_f32(description_.final_norm)));
    if (description_.tied_head()) {
      weights.head.weight = weights.embedding;
    } else {
      TRY(weights.head, linear({description_.head}));
    }
    return std::move(loaded_);
  }

 private:
  Result<decoder::LayerWeights> load_layer(const LayerDescription& layer) {
    decoder::LayerWeights placed;
    TRY(placed.attention_norm, keep(reader_.read_f32(layer.attention_norm)));
    TRY(placed.qkv, linear({layer.q, layer.k, layer.v}));
    if (layer.qk_norm) {
      TRY(placed.qk_norm, qk_norm(layer));
    }
    TRY(placed.output, linear({layer.output}));
    TRY(placed.mlp_norm, keep(reader_.read_f32(layer.mlp_norm)));
    TRY(placed.gate_up, linear({layer.gate, layer.up}));
    TRY(placed.down, linear({layer.down}));
    return placed;
  }

  // Several linears of one input, under each other.
  Result<decoder::Linear> linear(const std::vector<LinearNames>& parts) {
    std::vector<std::string> weights;
    std::vector<std::string> biases;
    for (const LinearNames& part : parts) {
      weights.push_back(part.weight);
      if (!part.bias.empty()) biases.push_back(part.bias);
    }
    if (!biases.empty() && biases.size() != parts.size())
      return fail(Code::kBadModel, parts.front().weight + ": only some parts have a bias");
    decoder::Linear placed;
    TRY(placed.weight, keep(reader_.read_stacked(weights)));
    if (!biases.empty()) {
      TRY(placed.bias, keep(reader_.read_stacked(biases)));
    }
    return placed;
  }

  // One row for each head, so that all heads are normalised by one multiplication. f32
  Result<decoder::WeightView> qk_norm(const LayerDescription& layer) {
    TRY(const at::Tensor q, reader_.read_f32(layer.q_norm));
    TRY(const at::Tensor k, reader_.read_f32(layer.k_norm));
    return keep(at::cat(
        {q.expand({layer.heads, layer.head_dim}), k.expand({layer.kv_heads, layer.head_dim})}));
  }

  Result<decoder::WeightView> keep(Result<at::Tensor> tensor) {
    if (!tensor) return std::move(tensor).error();
    loaded_.owners.push_back(*tensor);
    return view_of(*tensor);
  }

  WeightReader& reader_;
  const decoder::Description& description_;
  LoadedDecoder loaded_;
};

}  // namespace

Result<LoadedDecoder> load_decoder(WeightReader& reader, const decoder::Description& description) {
  return Loader(reader, description).load();
}

}  // namespace hearth::engine
