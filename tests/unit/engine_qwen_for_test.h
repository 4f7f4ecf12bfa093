// The tiny Qwen3-VL checkpoints of tests/data/qwen3_vl, what transformers made of them, and the
// parts of the engine under test, one by one.
#pragma once

#include <cstring>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include <ATen/Parallel.h>
#include <ATen/core/Tensor.h>
#include <c10/core/InferenceMode.h>
#include <gtest/gtest.h>

#include "models/files/weight_index.h"
#include "models/generate/sampling.h"
#include "models/image/patchify.h"
#include "models/qwen3_vl/config.h"
#include "models/qwen3_vl/positions.h"
#include "models/qwen3_vl/vision.h"
#include "models/torch/decoder_weights.h"
#include "models/torch/executor.h"
#include "models/torch/features.h"
#include "models/torch/tensors.h"
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

// A case's network without anything around it.
struct Network {
  Network(const std::string& name, at::ScalarType type,
          engine::ExecutorLimits limits = {.slots = 3,
                                           .context_tokens = 192,
                                           .max_rows = 96,
                                           .max_chosen = 96})
      : files(case_files(name)),
        index(must(files::WeightIndex::read(files))),
        config(must(read_config(must(read_config_json(files)), index))) {
    at::set_num_threads(1);  // so little work is not worth a second one
    engine::WeightReader reader(index, config.tensors, options, type);
    tower = must(load_vision(reader, config.vision));
    loaded = must(engine::load_decoder(reader, config.text));
    executor = std::make_unique<engine::Executor>(config.text, loaded.weights, limits,
                                                  at::TensorOptions(type));
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
  std::unique_ptr<engine::Tower> tower;
  engine::LoadedDecoder loaded;
  std::unique_ptr<engine::Executor> executor;
};

using Rows = std::vector<std::vector<float>>;

// Runs tokens [first, first + count) of `input`, with the oracle's features, in `slot`.
inline Rows prefill(Network& network, const Input& input, std::int32_t slot, std::int32_t first,
                    std::int32_t count, const std::vector<std::int32_t>& chosen) {
  std::vector<std::int32_t> positions;
  for (std::int32_t axis = 0; axis < 3; ++axis)
    for (std::int32_t i = 0; i < count; ++i)
      positions.push_back(
          input.positions[static_cast<std::size_t>(axis * input.tokens() + first + i)]);
  std::vector<engine::MediaRows> media;
  for (std::size_t i = 0; i < input.pictures.size(); ++i) {
    const decoder::MediaSpan& span = input.pictures[i].span;
    const std::int32_t begin = std::max(span.first, first);
    const std::int32_t end = std::min(span.first + span.count, first + count);
    if (begin < end)
      media.push_back({begin - first, end - begin, &input.features[i], begin - span.first});
  }
  const engine::Segment segment{slot, 0, count, first};
  network.executor->run({.ids = std::span(input.ids).subspan(static_cast<std::size_t>(first),
                                                             static_cast<std::size_t>(count)),
                         .positions = positions,
                         .segments = {&segment, 1},
                         .media = media,
                         .chosen = chosen});
  Rows rows;
  for (std::size_t i = 0; i < chosen.size(); ++i) {
    const auto logits = network.executor->logits(static_cast<std::int32_t>(i));
    rows.emplace_back(logits.begin(), logits.end());
  }
  return rows;
}

inline Rows prefill_all(Network& network, const Input& input, std::int32_t slot,
                        const std::vector<std::int32_t>& chosen) {
  return prefill(network, input, slot, 0, input.tokens(), chosen);
}

// A token that one running sequence adds.
struct Next {
  std::int32_t slot = 0;
  std::int32_t token = 0;
  std::int32_t index = 0;  // in the sequence
  std::int32_t delta = 0;
};

inline Rows step(Network& network, const std::vector<Next>& tokens) {
  std::vector<std::int32_t> ids, chosen;
  std::vector<std::int32_t> positions(3 * tokens.size());
  std::vector<engine::Segment> segments;
  for (std::size_t i = 0; i < tokens.size(); ++i) {
    const auto row = static_cast<std::int32_t>(i);
    ids.push_back(tokens[i].token);
    chosen.push_back(row);
    segments.push_back({tokens[i].slot, row, 1, tokens[i].index});
    for (std::size_t axis = 0; axis < 3; ++axis)
      positions[axis * tokens.size() + i] = tokens[i].index + tokens[i].delta;
  }
  network.executor->run(
      {.ids = ids, .positions = positions, .segments = segments, .media = {}, .chosen = chosen});
  Rows rows;
  for (const std::int32_t row : chosen) {
    const auto logits = network.executor->logits(row);
    rows.emplace_back(logits.begin(), logits.end());
  }
  return rows;
}

// `count` likeliest tokens after the prompt, each fed back.
inline std::vector<std::int32_t> answer(Network& network, const Input& input, std::int32_t slot,
                                        std::size_t count) {
  std::vector<std::int32_t> ids = {
      generate::argmax(prefill_all(network, input, slot, {input.tokens() - 1})[0])};
  while (ids.size() < count) {
    const auto index = input.tokens() + static_cast<std::int32_t>(ids.size()) - 1;
    ids.push_back(generate::argmax(step(network, {{slot, ids.back(), index, input.delta}})[0]));
  }
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
