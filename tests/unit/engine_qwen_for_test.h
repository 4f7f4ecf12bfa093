// The tiny Qwen3-VL checkpoints of tests/data/qwen3_vl, what transformers made of them, and the
// parts of the engine under test, one by one.
#pragma once

#include <cstring>
#include <filesystem>
#include <memory>
#include <numeric>
#include <string>
#include <vector>

#include <ATen/Parallel.h>
#include <ATen/core/Tensor.h>
#include <c10/core/InferenceMode.h>
#include <gtest/gtest.h>

#include "models/decoder/device_memory.h"
#include "models/decoder/step.h"
#include "models/files/weight_index.h"
#include "models/host_cpu.h"
#include "models/image/patchify.h"
#include "models/qwen3_vl/config.h"
#include "models/qwen3_vl/positions.h"
#include "models/qwen3_vl/vision.h"
#include "models/qwen3_vl/vision_weights.h"
#include "models/torch/compute.h"
#include "models/torch/features.h"
#include "models/torch/prefill.h"
#include "models/torch/tensors.h"
#include "models/weights/arena.h"
#include "models/weights/weights.h"
#include "tests/unit/engine_for_test.h"
#include "tests/unit/folder_for_test.h"

namespace hearth::qwen3_vl {

inline constexpr const char* kCases[] = {"tied_bf16", "untied_shards_f32", "biased_bf16",
                                         "shallow_bf16"};
inline constexpr const char* kInputs[] = {"text", "one", "many"};

inline std::filesystem::path case_folder(const std::string& name) {
  return std::filesystem::path(HEARTH_SOURCE_DIR) / "tests" / "data" / "qwen3_vl" / name;
}

inline models::ModelFiles without(models::ModelFiles files, std::string_view label) {
  std::erase_if(files, [&](const models::ModelFile& file) { return file.label == label; });
  return files;
}

inline models::ModelFiles case_files(const std::string& name) {
  return without(models::open_folder(case_folder(name)), "oracle.safetensors");
}

template <class T>
T must(Result<T> result) {
  if (!result) throw std::runtime_error(result.error().what);
  return *std::move(result);
}
inline void must(Result<void> result) {
  if (!result) throw std::runtime_error(result.error().what);
}

// oracle.safetensors of one case.
class Oracle {
 public:
  explicit Oracle(const std::string& name) : Oracle(case_folder(name), "oracle.safetensors") {}
  // One file of a folder.
  Oracle(const std::filesystem::path& folder, const std::string& label)
      : index_(must(files::WeightIndex::read(only(folder, label)))) {}

  bool has(const std::string& name) const { return index_.find(name) != nullptr; }
  std::vector<std::int64_t> shape(const std::string& name) const { return entry(name).shape; }
  std::vector<float> floats(const std::string& name) const { return read<float>(name); }
  std::vector<std::int32_t> integers(const std::string& name) const {
    return read<std::int32_t>(name);
  }
  std::vector<std::uint8_t> bytes(const std::string& name) const {
    return read<std::uint8_t>(name);
  }

 private:
  static models::ModelFiles only(const std::filesystem::path& folder, const std::string& label) {
    models::ModelFiles files = models::open_folder(folder);
    std::erase_if(files, [&](const models::ModelFile& file) { return file.label != label; });
    return files;
  }
  const files::WeightEntry& entry(const std::string& name) const {
    return *must(index_.require(name));
  }
  template <class T>
  std::vector<T> read(const std::string& name) const {
    std::vector<T> values(entry(name).nbytes / sizeof(T));
    must(index_.read_tensor(entry(name), std::as_writable_bytes(std::span(values))));
    return values;
  }

  files::WeightIndex index_;
};

// One input of a case: what goes into each stage and what comes out of it.
struct Input {
  std::vector<std::int32_t> ids, positions, rows, greedy;
  std::int32_t delta = 0;
  std::vector<float> logits;  // [rows, vocabulary]
  std::vector<PlacedPicture> pictures;
  std::vector<std::shared_ptr<const image::Patches>> patches;
  std::vector<engine::Features> features;

  std::int32_t tokens() const { return static_cast<std::int32_t>(ids.size()); }
};

inline image::Patches read_patches(const Oracle& oracle, const std::string& name,
                                   const std::vector<std::int32_t>& grids, std::size_t picture) {
  image::Patches patches;
  patches.grid_height = grids[2 * picture];
  patches.grid_width = grids[2 * picture + 1];
  const std::vector<std::uint8_t> bytes = oracle.bytes(name);
  patches.rows = image::FloatRows(bytes.size());
  for (std::size_t i = 0; i < bytes.size(); ++i)
    patches.rows.data()[i] = (static_cast<float>(bytes[i]) - 127.5F) / 127.5F;
  return patches;
}

inline engine::Features read_features(const Oracle& oracle, const std::string& input,
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

inline Input read_input(const Oracle& oracle, const std::string& name) {
  Input input;
  input.ids = oracle.integers(name + ".ids");
  input.positions = oracle.integers(name + ".positions");
  input.delta = oracle.integers(name + ".delta")[0];
  input.rows = oracle.integers(name + ".rows");
  input.logits = oracle.floats(name + ".logits");
  input.greedy = oracle.integers(name + ".greedy");
  if (!oracle.has(name + ".grids")) return input;
  const std::vector<std::int32_t> grids = oracle.integers(name + ".grids");
  for (std::size_t i = 0; i < grids.size() / 2; ++i) {
    input.patches.push_back(std::make_shared<const image::Patches>(
        read_patches(oracle, name + ".patches." + std::to_string(i), grids, i)));
    input.features.push_back(read_features(oracle, name, i));
  }
  return input;
}

// Finds the pictures' tokens by their id.
inline void find_pictures(Input& input, std::int32_t image_token) {
  std::int32_t at = 0;
  for (const auto& patches : input.patches) {
    while (input.ids[static_cast<std::size_t>(at)] != image_token) ++at;
    const auto count = static_cast<std::int32_t>(patches->tokens(2));
    input.pictures.push_back({{at, count}, patches->grid_height / 2, patches->grid_width / 2});
    at += count;
  }
}

// How a network computes: as this machine does it best, or by the library in one of its types.
enum class By { kBest, kLibrary, kLibraryF32 };

inline constexpr std::int32_t kSlots = 3;
inline constexpr std::int32_t kContextTokens = 192;
inline constexpr std::int32_t kMostRows = 96;

// A case's network without anything around it.
struct Network {
  explicit Network(const std::string& name, const std::string& dtype = "float32", By by = By::kBest)
      : files(case_files(name)),
        index(must(files::WeightIndex::read(files))),
        config(must(read_config(must(read_config_json(files)), index))),
        memory(decoder::host_memory(*hearth_kernels_cpu())) {
    at::set_num_threads(1);  // so little work is not worth a second one
    models::avoid_broken_amx();
    const auto tensors = vision_tensors(config.vision);
    const auto plan = must(weights::make_plan(index, {config.text, tensors, dtype}));
    weights = must(weights::load(index, plan, options, must(weights::host_arena(plan.bytes))));
    compute = engine::choose_compute(*memory, weights->decoder().type, -1);
    if (by != By::kBest) compute.amx = false;
    if (by == By::kLibraryF32) compute.library = at::kFloat;
    tower = make_tower(config.vision, vision_weights(*weights, config.vision), compute);
    step = must(decoder::Step::create(
        config.text, weights->decoder(), *memory,
        {kSlots, kContextTokens, kSlots * kContextTokens / HEARTH_PAGE_TOKENS}));
    prefill =
        must(engine::Prefill::create(config.text, weights->decoder(), *step, compute, kMostRows));
  }

  Input input(const Oracle& oracle, const std::string& name) const {
    Input read = read_input(oracle, name);
    find_pictures(read, static_cast<std::int32_t>(config.image_token.value()));
    return read;
  }

  const c10::InferenceMode guard;
  models::ModelFiles files;
  models::LoadOptions options;
  files::WeightIndex index;
  Config config;
  std::unique_ptr<decoder::DeviceMemory> memory;
  std::shared_ptr<const weights::Weights> weights;
  engine::Compute compute;
  std::unique_ptr<engine::Tower> tower;
  std::unique_ptr<decoder::Step> step;
  std::unique_ptr<engine::Prefill> prefill;
};

inline std::vector<engine::Features> encode(
    Network& network, const std::vector<std::shared_ptr<const image::Patches>>& pictures) {
  std::vector<const image::Patches*> all;
  for (const auto& picture : pictures) all.push_back(picture.get());
  return must(network.tower->encode(models::EngineThreadForTest::on_engine(), all));
}
inline engine::Features encode(Network& network, const image::Patches& picture) {
  const image::Patches* const all[] = {&picture};
  return must(network.tower->encode(models::EngineThreadForTest::on_engine(), all))[0];
}

using Rows = std::vector<std::vector<float>>;

// Readies a slot, which may have been in use, for a prompt.
inline void begin(Network& network, const Input& input, std::int32_t slot) {
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

// [3, count]
inline std::vector<std::int32_t> positions_of(const Input& input, std::int32_t first,
                                              std::int32_t count) {
  std::vector<std::int32_t> positions;
  for (std::int32_t axis = 0; axis < 3; ++axis)
    for (std::int32_t i = 0; i < count; ++i)
      positions.push_back(
          input.positions[static_cast<std::size_t>(axis * input.tokens() + first + i)]);
  return positions;
}

inline std::span<const std::int32_t> ids_of(const Input& input, std::int32_t first,
                                            std::int32_t count) {
  return std::span(input.ids).subspan(static_cast<std::size_t>(first),
                                      static_cast<std::size_t>(count));
}

// The logits of a token whose hidden state is given (null: the last token of the last feed), and
// what is drawn of them.
struct Drawn {
  std::vector<float> logits;
  std::int32_t token = 0;
};
inline Drawn draw(Network& network, std::int32_t slot, const void* hidden) {
  must(network.step->draw_first(slot, hidden));
  const auto drawn = must(network.step->collect(0));
  return {must(network.step->logits(0)), drawn.back().token};
}

// Runs tokens [first, first + count) of `input`, with the oracle's features, in `slot`.
inline void run_chunk(Network& network, const Input& input, std::int32_t slot, std::int32_t first,
                      std::int32_t count, std::int32_t wanted_from = 0) {
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

// The logits of chosen rows of a chunk. A chunk that is not the first follows others.
inline Rows prefill(Network& network, const Input& input, std::int32_t slot, std::int32_t first,
                    std::int32_t count, const std::vector<std::int32_t>& chosen) {
  if (first == 0) begin(network, input, slot);
  run_chunk(network, input, slot, first, count);
  Rows rows;
  for (const std::int32_t row : chosen)
    rows.push_back(draw(network, slot, network.prefill->hidden(row)).logits);
  return rows;
}

inline Rows prefill_all(Network& network, const Input& input, std::int32_t slot,
                        const std::vector<std::int32_t>& chosen) {
  return prefill(network, input, slot, 0, input.tokens(), chosen);
}

// One token more of each of these slots, in their order.
struct Stepped {
  Rows logits;
  std::vector<std::int32_t> tokens;
};
inline Stepped step(Network& network, const std::vector<std::int32_t>& slots) {
  must(network.step->run(slots));
  Stepped stepped;
  for (const generate::Sampled& sampled : must(network.step->collect(0)))
    stepped.tokens.push_back(sampled.token);
  for (std::size_t row = 0; row < slots.size(); ++row)
    stepped.logits.push_back(must(network.step->logits(static_cast<std::int32_t>(row))));
  return stepped;
}

// Runs a prompt in one piece and draws the first token of its answer.
inline std::int32_t start(Network& network, const Input& input, std::int32_t slot) {
  begin(network, input, slot);
  run_chunk(network, input, slot, 0, input.tokens());
  return draw(network, slot, network.prefill->hidden(input.tokens() - 1)).token;
}

// `count` likeliest tokens after the prompt, each fed back.
inline std::vector<std::int32_t> answer(Network& network, const Input& input, std::int32_t slot,
                                        std::size_t count) {
  std::vector<std::int32_t> ids = {start(network, input, slot)};
  while (ids.size() < count) ids.push_back(step(network, {slot}).tokens[0]);
  return ids;
}

inline double max_difference(std::span<const float> a, std::span<const float> b) {
  EXPECT_EQ(a.size(), b.size());
  double most = 0.0;
  for (std::size_t i = 0; i < a.size() && i < b.size(); ++i)
    most = std::max(most, std::abs(static_cast<double>(a[i]) - static_cast<double>(b[i])));
  return most;
}

// |a - b| / |b|
inline double relative_difference(std::span<const float> a, std::span<const float> b) {
  EXPECT_EQ(a.size(), b.size());
  double difference = 0.0, size = 0.0;
  for (std::size_t i = 0; i < a.size() && i < b.size(); ++i) {
    difference += std::pow(static_cast<double>(a[i]) - static_cast<double>(b[i]), 2);
    size += std::pow(static_cast<double>(b[i]), 2);
  }
  return std::sqrt(difference / size);
}

}  // namespace hearth::qwen3_vl
