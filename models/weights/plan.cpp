#include "models/weights/plan.h"

#include <algorithm>
#include <optional>

#include <fmt/format.h>

#include "models/weights/head_rows.h"
#include "models/weights/stored_codes.h"

namespace hearth::weights {
namespace {

using decoder::ExpertsDescription;
using decoder::LayerDescription;
using decoder::LinearNames;

bool is_readable(DType dtype) {
  return dtype == DType::kF32 || dtype == DType::kBF16 || dtype == DType::kF16;
}

std::uint64_t aligned(std::uint64_t bytes) {
  return (bytes + kAlignmentBytes - 1) / kAlignmentBytes * kAlignmentBytes;
}

// How the parts of one placement lie in it.
enum class Joined { kStacked, kInterleaved };

class Planner {
 public:
  Planner(const files::WeightIndex& index, const Request& request, Precision precision)
      : index_(index),
        description_(request.description),
        scales_(request.scales),
        shapes_(decoder::tensors_of(request.description)) {
    plan_.precision = precision;
  }

  Result<Plan> make(const std::vector<Tensor>& before) {
    for (const Tensor& tensor : before) CHECK_OK(further(tensor));
    TRY(plan_.embedding, place({description_.embedding}, arithmetic()));
    for (const LayerDescription& layer : description_.layers) CHECK_OK(add_layer(layer));
    TRY(plan_.final_norm, norm(description_.final_norm));
    CHECK_OK(add_head());
    return std::move(plan_);
  }

 private:
  HearthFormat arithmetic() const { return format_of(plan_.precision.type); }

  Result<void> add_layer(const LayerDescription& layer) {
    LayerPlaces places;
    TRY(places.attention_norm, norm(layer.attention_norm));
    CHECK_OK(layer.is_recurrent() ? add_delta_rule(layer.delta, places.delta)
                                  : add_attention(layer, places));
    TRY(places.output, linear({layer.output}, Joined::kStacked));
    TRY(places.mlp_norm, norm(layer.mlp_norm));
    CHECK_OK(add_mlp(layer, places));
    plan_.layers.push_back(places);
    return {};
  }

  Result<void> add_delta_rule(const decoder::DeltaRule& delta, DeltaRulePlaces& places) {
    const std::vector<std::string> input = {delta.input_qkv, delta.input_z};
    TRY(places.input, place(input, linear_format(input)));
    TRY(places.gates, place({delta.input_b, delta.input_a}, arithmetic()));
    TRY(places.convolution, place({delta.convolution}, arithmetic()));
    TRY(places.a_log, place({delta.a_log}, HEARTH_FORMAT_F32));
    TRY(places.dt_bias, place({delta.dt_bias}, HEARTH_FORMAT_F32));
    TRY(places.norm, place({delta.norm}, HEARTH_FORMAT_F32));
    return {};
  }

  Result<void> add_attention(const LayerDescription& layer, LayerPlaces& places) {
    const std::vector<std::string> names = {layer.q.weight, layer.k.weight, layer.v.weight};
    TRY(places.qkv.weight, heads(layer, names, linear_format(names)));
    TRY(const bool biased, all_have_biases({layer.q, layer.k, layer.v}));
    if (biased) {
      TRY(places.qkv.bias, heads(layer, {layer.q.bias, layer.k.bias, layer.v.bias}, arithmetic()));
    }
    if (!layer.qk_norm) return {};
    TRY(places.q_norm, head_norm(layer, layer.q_norm));
    TRY(places.k_norm, head_norm(layer, layer.k_norm));
    return {};
  }

  // Weights or biases of queries, keys, values and gates.
  Result<Place> heads(const LayerDescription& layer, const std::vector<std::string>& names,
                      HearthFormat format) {
    HeadTensors tensors;
    TRY(tensors.q, stored(names[0]));
    TRY(tensors.k, stored(names[1]));
    TRY(tensors.v, stored(names[2]));
    return put(
        {.format = format,
         .rows = std::int64_t{layer.qkv_heads() + (layer.gated ? layer.heads : 0)} * layer.head_dim,
         .columns = columns_of(*tensors.q.entry),
         .sources = stack_heads(layer, description_.rotated(), tensors)});
  }

  Result<Place> head_norm(const LayerDescription& layer, const std::string& name) {
    TRY(const Source norm, stored(name));
    return put({.format = HEARTH_FORMAT_F32,
                .rows = layer.head_dim,
                .columns = 1,
                .added = norm_offset(),
                .sources = turn_norm(layer, description_.rotated(), norm)});
  }

  Result<void> add_mlp(const LayerDescription& layer, LayerPlaces& places) {
    if (layer.mlp == decoder::MlpKind::kExperts) return add_experts(layer.experts, places.experts);
    TRY(places.gate_up, linear({layer.gate, layer.up}, Joined::kInterleaved));
    TRY(places.down, linear({layer.down}, Joined::kStacked));
    return {};
  }

  Result<void> add_experts(const ExpertsDescription& experts, ExpertPlaces& places) {
    std::vector<std::string> routers = {experts.router};
    if (experts.has_shared()) {
      routers.push_back(experts.shared_gate);
      const std::vector<std::string> both = {experts.shared.gate, experts.shared.up};
      const std::vector<std::string> down = {experts.shared.down};
      TRY(places.shared_gate_up.weight, place(both, linear_format(both), Joined::kInterleaved));
      TRY(places.shared_down.weight, place(down, linear_format(down)));
    }
    TRY(places.router, place(routers, arithmetic()));
    places.gate_up = plan_.placements.size();
    places.count = experts.count;
    places.chosen = experts.chosen;
    places.normalised = experts.normalised;
    if (experts.files == decoder::ExpertFiles::kSeparate) return place_separate(experts);
    for (std::int64_t e = 0; e < experts.count; ++e) CHECK_OK(place_fused(experts, e));
    return {};
  }

  // All experts of a layer are in one format.
  Result<void> place_separate(const ExpertsDescription& experts) {
    std::vector<std::string> inner, outer;
    for (const auto& names : experts.separate) {
      inner.insert(inner.end(), {names.gate, names.up});
      outer.push_back(names.down);
    }
    const HearthFormat gate_up = linear_format(inner), down = linear_format(outer);
    for (const auto& names : experts.separate) {
      CHECK_OK(place({names.gate, names.up}, gate_up, Joined::kInterleaved));
      CHECK_OK(place({names.down}, down));
    }
    return {};
  }

  // Both linears of one expert out of the tensors of all.
  Result<void> place_fused(const ExpertsDescription& experts, std::int64_t number) {
    TRY(const files::WeightEntry* gate_up, readable(experts.gate_up));
    TRY(const files::WeightEntry* down, readable(experts.down));
    const std::int64_t inter = experts.intermediate_size;
    const std::int64_t hidden = description_.hidden_size;
    Placement both{
        .format = linear_format({experts.gate_up}), .rows = 2 * inter, .columns = hidden};
    Placement last{.format = linear_format({experts.down}), .rows = hidden, .columns = inter};
    if (experts.files == decoder::ExpertFiles::kFused) {
      const std::int64_t from = number * 2 * inter;
      both.sources = {
          {.entry = gate_up, .rows = inter, .step = 2, .from = from},
          {.entry = gate_up, .rows = inter, .first = 1, .step = 2, .from = from + inter}};
      last.sources = {{.entry = down, .rows = hidden, .from = number * hidden}};
    } else {
      Source gate{.entry = gate_up,
                  .rows = inter,
                  .step = 2,
                  .from = number * hidden,
                  .stored_columns = 2 * inter};
      Source up = gate;
      up.first = 1;
      up.column = inter;
      both.sources = {gate, up};
      last.sources = {
          {.entry = down, .rows = hidden, .from = number * inter, .stored_columns = hidden}};
    }
    for (Source& source : both.sources) source.scale = scale_of(experts.gate_up);
    for (Source& source : last.sources) source.scale = scale_of(experts.down);
    put(std::move(both));
    put(std::move(last));
    return {};
  }

  Result<void> add_head() {
    const HearthFormat format = head_format();
    if (!description_.tied_head()) {
      TRY(plan_.head.weight, place({description_.head.weight}, format));
      if (description_.head.bias.empty()) return {};
      TRY(plan_.head.bias, place({description_.head.bias}, arithmetic()));
      return {};
    }
    plan_.head.weight = plan_.embedding;
    if (format == arithmetic() || description_.encoder_only) return {};
    TRY(plan_.head.weight, place({description_.embedding}, format));
    return {};
  }

  float norm_offset() const { return description_.norms_less_one ? 1.0F : 0.0F; }

  // Norms multiply in f32.
  Result<Place> norm(const std::string& name) {
    TRY(const Place placed, place({name}, HEARTH_FORMAT_F32));
    plan_.placements[placed].added = norm_offset();
    return placed;
  }

  Result<LinearPlace> linear(const std::vector<LinearNames>& parts, Joined joined) {
    std::vector<std::string> weights;
    std::vector<std::string> biases;
    for (const LinearNames& part : parts) {
      weights.push_back(part.weight);
      biases.push_back(part.bias);
    }
    LinearPlace placed;
    TRY(placed.weight, place(weights, linear_format(weights), joined));
    TRY(const bool biased, all_have_biases(parts));
    if (!biased) return placed;
    TRY(placed.bias, place(biases, arithmetic(), joined));
    return placed;
  }

  static Result<bool> all_have_biases(const std::vector<LinearNames>& parts) {
    const auto biased = std::count_if(parts.begin(), parts.end(),
                                      [](const LinearNames& part) { return !part.bias.empty(); });
    if (biased != 0 && static_cast<std::size_t>(biased) != parts.size())
      return fail(Code::kBadModel, parts.front().weight + ": only some parts have a bias");
    return biased != 0;
  }

  Result<void> further(const Tensor& tensor) {
    shapes_[tensor.name] = tensor.shape;
    const HearthFormat format = tensor.keep_f32 ? HEARTH_FORMAT_F32 : arithmetic();
    if (tensor.interleaved_with.empty()) {
      TRY(plan_.further[tensor.name], place({tensor.name}, format));
      return {};
    }
    shapes_[tensor.interleaved_with] = tensor.shape;
    TRY(plan_.further[tensor.name],
        place({tensor.name, tensor.interleaved_with}, format, Joined::kInterleaved));
    return {};
  }

  Result<Place> place(const std::vector<std::string>& names, HearthFormat format,
                      Joined joined = Joined::kStacked) {
    Placement placement;
    placement.format = format;
    const auto parts = static_cast<std::int64_t>(names.size());
    for (const std::string& name : names) {
      TRY(const files::WeightEntry* entry, readable(name));
      const std::int64_t rows = entry->shape.empty() ? 1 : entry->shape.front();
      const auto number = static_cast<std::int64_t>(placement.sources.size());
      placement.columns = columns_of(*entry);
      Source source{.entry = entry, .scale = scale_of(name), .rows = rows};
      source.first = joined == Joined::kStacked ? placement.rows : number;
      source.step = joined == Joined::kStacked ? 1 : parts;
      placement.sources.push_back(source);
      placement.rows += rows;
    }
    return put(std::move(placement));
  }

  Result<const files::WeightEntry*> readable(const std::string& name) const {
    TRY(const files::WeightEntry* entry, index_.require(name, shapes_.at(name)));
    if (is_readable(entry->dtype) || scale_of(name) != nullptr) return entry;
    return fail(Code::kUnsupported,
                fmt::format("{} in {} is {}; weights are read as f32, bf16 or f16, or as FP8 or "
                            "INT8 with scales",
                            entry->stored_name, index_.label_of(*entry), name_of(entry->dtype)));
  }

  // A tensor of which any rows can be taken.
  Result<Source> stored(const std::string& name) const {
    TRY(const files::WeightEntry* entry, readable(name));
    return Source{.entry = entry, .scale = scale_of(name)};
  }

  const files::StoredScale* scale_of(const std::string& name) const {
    return scales_ == nullptr ? nullptr : scales_->find(name);
  }

  // The format in which all of these are stored and can stay.
  std::optional<HearthFormat> stored_format(const std::vector<std::string>& names) const {
    std::optional<HearthFormat> common;
    for (const std::string& name : names) {
      const files::WeightEntry* entry = index_.find(name);
      const auto format = entry == nullptr ? std::nullopt : kept_format(*entry, scale_of(name));
      if (!format || (common && *common != *format)) return std::nullopt;
      common = format;
    }
    return common;
  }

  // Of linears that lie together.
  HearthFormat linear_format(const std::vector<std::string>& names) const {
    if (!plan_.precision.keeps_stored) return plan_.precision.linear;
    return stored_format(names).value_or(arithmetic());
  }

  HearthFormat head_format() const {
    const HearthFormat wanted = plan_.precision.head;
    if (!plan_.precision.keeps_stored || wanted == arithmetic()) return wanted;
    if (description_.tied_head()) return arithmetic();
    return linear_format({description_.head.weight});
  }

  static bool keeps_codes(const Placement& placement) {
    return std::all_of(placement.sources.begin(), placement.sources.end(),
                       [&](const Source& source) {
                         return kept_format(*source.entry, source.scale) == placement.format;
                       });
  }

  static std::int64_t columns_of(const files::WeightEntry& entry) {
    std::int64_t columns = 1;
    for (std::size_t i = 1; i < entry.shape.size(); ++i) columns *= entry.shape[i];
    return columns;
  }

  Place put(Placement placement) {
    placement.keeps_codes = keeps_codes(placement);
    placement.bytes = hearth_matrix_bytes(placement.format, placement.rows, placement.columns);
    placement.scale_bytes = hearth_scale_bytes(placement.format, placement.rows, placement.columns);
    placement.offset = plan_.bytes;
    placement.scale_offset = placement.offset + aligned(placement.bytes);
    plan_.bytes = placement.scale_offset + aligned(placement.scale_bytes);
    for (const Source& source : placement.sources)
      plan_.source_bytes += static_cast<std::uint64_t>(source.rows * placement.columns) *
                            hearth::item_bytes(source.entry->dtype);
    plan_.placements.push_back(std::move(placement));
    return plan_.placements.size() - 1;
  }

  const files::WeightIndex& index_;
  const decoder::Description& description_;
  const files::StoredScales* scales_;
  decoder::TensorShapes shapes_;
  Plan plan_;
};

class Binder {
 public:
  Binder(const Plan& plan, const std::byte* base) : plan_(plan), base_(base) {}

  const void* data(Place place) const {
    return place == kNowhere ? nullptr : base_ + plan_.placements[place].offset;
  }
  const float* floats(Place place) const { return static_cast<const float*>(data(place)); }
  decoder::Linear linear(LinearPlace place) const {
    if (place.weight == kNowhere) return {};
    return {matrix_in(plan_.placements[place.weight], base_), data(place.bias)};
  }
  // Every second placement from `first` on.
  HearthMatrices matrices(Place first, std::int64_t count) const {
    const Placement& placement = plan_.placements[first];
    const std::uint64_t next = count > 1 ? plan_.placements[first + 2].offset : placement.offset;
    return {matrix_in(placement, base_), count, static_cast<std::int64_t>(next - placement.offset)};
  }
  decoder::Experts experts(const ExpertPlaces& places) const {
    return {.router = linear({places.router, kNowhere}),
            .gate_up = matrices(places.gate_up, places.count),
            .down = matrices(places.gate_up + 1, places.count),
            .chosen = places.chosen,
            .normalised = places.normalised,
            .shared_gate_up = linear(places.shared_gate_up),
            .shared_down = linear(places.shared_down)};
  }
  decoder::DeltaRuleWeights delta_rule(const DeltaRulePlaces& places) const {
    return {.input = linear({places.input, kNowhere}),
            .gates = linear({places.gates, kNowhere}),
            .convolution = data(places.convolution),
            .a_log = floats(places.a_log),
            .dt_bias = floats(places.dt_bias),
            .norm = floats(places.norm)};
  }
  decoder::LayerWeights layer(const LayerPlaces& places) const {
    decoder::LayerWeights made = {.attention_norm = floats(places.attention_norm),
                                  .qkv = linear(places.qkv),
                                  .q_norm = floats(places.q_norm),
                                  .k_norm = floats(places.k_norm),
                                  .delta = delta_rule(places.delta),
                                  .output = linear(places.output),
                                  .mlp_norm = floats(places.mlp_norm)};
    if (places.experts.count > 0) {
      made.experts = experts(places.experts);
    } else {
      made.gate_up = linear(places.gate_up);
      made.down = linear(places.down);
    }
    return made;
  }

 private:
  const Plan& plan_;
  const std::byte* base_;
};

// The first linear that can stay in its codes names the precision.
Result<Precision> precision_for(const files::WeightIndex& index, const Request& request) {
  const decoder::Description& text = request.description;
  TRY(const files::WeightEntry* embedding, index.require(text.embedding));
  if (request.wanted.dtype != "auto" || request.scales == nullptr || request.scales->empty())
    return choose_precision(request.wanted, embedding->dtype);
  for (const auto& [name, shape] : decoder::tensors_of(text)) {
    const files::WeightEntry* entry = name == text.embedding ? nullptr : index.find(name);
    if (entry == nullptr || shape.size() < 2) continue;
    if (const auto kept = kept_format(*entry, request.scales->find(name)))
      return choose_kept_precision(request.wanted, kept);
  }
  return choose_kept_precision(request.wanted, std::nullopt);
}

}  // namespace

Result<Plan> make_plan(const files::WeightIndex& index, const Request& request) {
  TRY(const Precision precision, precision_for(index, request));
  return Planner(index, request, precision).make(request.before);
}

HearthMatrix matrix_in(const Placement& placement, const std::byte* base) {
  return {placement.format, placement.rows, placement.columns, base + placement.offset,
          placement.scale_bytes > 0 ? base + placement.scale_offset : nullptr};
}

decoder::Weights bind(const Plan& plan, const std::byte* base, int device) {
  const Binder binder(plan, base);
  decoder::Weights weights;
  weights.type = plan.precision.type;
  weights.embedding = binder.data(plan.embedding);
  for (const LayerPlaces& places : plan.layers) weights.layers.push_back(binder.layer(places));
  weights.final_norm = binder.floats(plan.final_norm);
  weights.head = binder.linear(plan.head);
  weights.device = device;
  return weights;
}

}  // namespace hearth::weights
