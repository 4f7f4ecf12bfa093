#include "tests/unit/engine_qwen_network_for_test.h"

#include <algorithm>
#include <numeric>

#include <ATen/Parallel.h>

#include "models/host_cpu.h"
#include "models/language/recognise.h"
#include "models/qwen2_5_vl/family.h"
#include "models/qwen3_5/family.h"
#include "models/qwen3_vl/family.h"
#include "models/qwen_text/family.h"
#include "models/torch/tensors.h"
#include "models/weights/arena.h"
#include "tests/unit/engine_for_test.h"

namespace hearth::language {

const FamilyRules& family_of(const std::string& name) {
  if (name.starts_with("qwen2_5_vl/")) return qwen2_5_vl::rules();
  if (name.starts_with("qwen3_5")) return qwen3_5::rules();
  if (name.starts_with("qwen3_vl_moe/")) return qwen3_vl::rules();
  return name.find('/') == std::string::npos ? qwen3_vl::rules() : qwen_text::rules();
}

engine::Features read_features(const Oracle& oracle, const std::string& input,
                               std::size_t picture) {
  const std::string number = std::to_string(picture);
  const auto read = [&](const std::string& name) {
    return engine::from_floats(oracle.floats(name), oracle.shape(name));
  };
  engine::Features features;
  features.rows = read(input + ".vision." + number);
  for (int level = 0;; ++level) {
    const std::string name = input + ".deepstack." + std::to_string(level) + "." + number;
    if (!oracle.has(name)) return features;
    features.deepstack.push_back(read(name));
  }
}

Input read_input(const Oracle& oracle, const std::string& name) {
  Input input;
  input.ids = oracle.integers(name + ".ids");
  input.positions = oracle.integers(name + ".positions");
  input.delta = oracle.integers(name + ".delta")[0];
  input.rows = oracle.integers(name + ".rows");
  input.logits = oracle.floats(name + ".logits");
  input.greedy = oracle.integers(name + ".greedy");
  if (!oracle.has(name + ".grids")) return input;
  for (std::size_t i = 0; i < oracle.integers(name + ".grids").size() / 2; ++i) {
    input.patches.push_back(std::make_shared<const image::Still>(read_still(oracle, name, i)));
    input.features.push_back(read_features(oracle, name, i));
  }
  return input;
}

void find_pictures(Input& input, std::int32_t image_token) {
  std::int32_t at = 0;
  for (const auto& patches : input.patches) {
    while (input.ids[static_cast<std::size_t>(at)] != image_token) ++at;
    const auto count = static_cast<std::int32_t>(patches->tokens(2));
    input.pictures.push_back({{at, count}, patches->grid_height / 2, patches->grid_width / 2});
    at += count;
  }
}

Network::Network(const std::string& name, const std::string& dtype, By by)
    : Network(name, case_files(name), dtype, by) {}

Network::Network(const std::string& name, models::ModelFiles its_files, const std::string& dtype,
                 By by)
    : files(std::move(its_files)),
      index(must(files::WeightIndex::read(files))),
      blueprint(must(read_blueprint(family_of(name), files, index))),
      memory(decoder::host_memory(*hearth_kernels_cpu())) {
  at::set_num_threads(1);  // so little work is not worth a second one
  models::avoid_broken_amx();
  const decoder::Description& text = blueprint.text;
  const std::vector<weights::Tensor> none;
  const auto& tensors = blueprint.tower ? blueprint.tower->tensors : none;
  const auto plan = must(weights::make_plan(index, {text, tensors, {dtype}, &blueprint.scales}));
  weights = must(weights::load(index, plan, options, must(weights::host_arena(plan.bytes))));
  compute = engine::choose_compute(*memory, weights->decoder().type, -1);
  if (by == By::kEagerAttention) {
    compute.attention = engine::AttentionBy::kEager;
  } else if (by != By::kBest) {
    compute.amx = false;
    compute.attention = engine::AttentionBy::kLibrary;
  }
  if (by == By::kLibraryF32) compute.library = at::kFloat;
  if (blueprint.tower) {
    rules = must(image::read_picture_rules(files, blueprint.tower->pictures));
    tower = blueprint.tower->make(*weights, compute, rules);
  }
  step = must(decoder::Step::create(
      text, weights->decoder(), *memory,
      {kSlots, kContextTokens, kSlots * kContextTokens / HEARTH_PAGE_TOKENS}));
  prefill = must(engine::Prefill::create(text, weights->decoder(), *step, compute, kMostRows));
}

Input Network::input(const Oracle& oracle, const std::string& name) const {
  Input read = read_input(oracle, name);
  if (blueprint.tower)
    find_pictures(read, static_cast<std::int32_t>(blueprint.tower->image_token.value()));
  return read;
}

std::vector<engine::Features> encode(
    Network& network, const std::vector<std::shared_ptr<const image::Still>>& pictures) {
  std::vector<const image::Still*> all;
  for (const auto& picture : pictures) all.push_back(picture.get());
  return must(network.tower->encode(models::EngineThreadForTest::on_engine(), all));
}

engine::Features encode(Network& network, const image::Still& picture) {
  const image::Still* const all[] = {&picture};
  return must(network.tower->encode(models::EngineThreadForTest::on_engine(), all))[0];
}

void begin(Network& network, const Input& input, std::int32_t slot) {
  generate::TokenPrompt prompt;
  prompt.ids = input.ids;
  prompt.sampling.max_tokens = kContextTokens;
  constexpr std::int32_t kPages = kContextTokens / HEARTH_PAGE_TOKENS;
  std::vector<std::int32_t> pages(kPages);
  std::iota(pages.begin(), pages.end(), slot * kPages);
  network.step->end(slot);
  must(network.step->begin({.slot = slot,
                            .sequence = static_cast<std::uint32_t>(slot),
                            .pages = pages,
                            .cached_tokens = 0},
                           {}, prompt, input.delta));
}

std::vector<std::int32_t> positions_of(const Input& input, std::int32_t first, std::int32_t count) {
  std::vector<std::int32_t> positions;
  for (std::int32_t axis = 0; axis < 3; ++axis)
    for (std::int32_t i = 0; i < count; ++i)
      positions.push_back(
          input.positions[static_cast<std::size_t>(axis * input.tokens() + first + i)]);
  return positions;
}

std::span<const std::int32_t> ids_of(const Input& input, std::int32_t first, std::int32_t count) {
  return std::span(input.ids).subspan(static_cast<std::size_t>(first),
                                      static_cast<std::size_t>(count));
}

Drawn draw(Network& network, std::int32_t slot, const void* hidden) {
  must(network.step->draw_first(slot, hidden));
  const auto drawn = must(network.step->collect(0));
  return {must(network.step->logits(0)), drawn.back().token};
}

void run_chunk(Network& network, const Input& input, std::int32_t slot, std::int32_t first,
               std::int32_t count, std::int32_t wanted_from) {
  const std::vector<std::int32_t> positions = positions_of(input, first, count);
  std::vector<engine::MediaRows> media;
  for (std::size_t i = 0; i < input.pictures.size(); ++i) {
    const decoder::MediaSpan& span = input.pictures[i].span;
    const std::int32_t begin = std::max(span.first, first);
    const std::int32_t end = std::min(span.first + span.count, first + count);
    if (begin < end)
      media.push_back({begin - first, end - begin, &input.features[i], begin - span.first});
  }
  must(network.prefill->run({.slot = slot,
                             .first = first,
                             .ids = ids_of(input, first, count),
                             .positions = positions,
                             .media = media,
                             .wanted_from = wanted_from}));
}

Rows prefill(Network& network, const Input& input, std::int32_t slot, std::int32_t first,
             std::int32_t count, const std::vector<std::int32_t>& chosen) {
  if (first == 0) begin(network, input, slot);
  run_chunk(network, input, slot, first, count);
  Rows rows;
  for (const std::int32_t row : chosen)
    rows.push_back(draw(network, slot, network.prefill->hidden(row)).logits);
  return rows;
}

Rows prefill_all(Network& network, const Input& input, std::int32_t slot,
                 const std::vector<std::int32_t>& chosen) {
  return prefill(network, input, slot, 0, input.tokens(), chosen);
}

Stepped step(Network& network, const std::vector<std::int32_t>& slots) {
  must(network.step->run(slots));
  Stepped stepped;
  for (const generate::Sampled& sampled : must(network.step->collect(0)))
    stepped.tokens.push_back(sampled.token);
  for (std::size_t row = 0; row < slots.size(); ++row)
    stepped.logits.push_back(must(network.step->logits(static_cast<std::int32_t>(row))));
  return stepped;
}

std::int32_t start(Network& network, const Input& input, std::int32_t slot) {
  begin(network, input, slot);
  run_chunk(network, input, slot, 0, input.tokens());
  return draw(network, slot, network.prefill->hidden(input.tokens() - 1)).token;
}

std::vector<std::int32_t> answer(Network& network, const Input& input, std::int32_t slot,
                                 std::size_t count) {
  std::vector<std::int32_t> ids = {start(network, input, slot)};
  while (ids.size() < count) ids.push_back(step(network, {slot}).tokens[0]);
  return ids;
}

}  // namespace hearth::language
