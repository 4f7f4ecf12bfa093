// The parts of the engine under test, one by one: the network of a tiny checkpoint, and what goes
// into each stage.
#pragma once

#include <memory>
#include <span>
#include <string>
#include <vector>

#include <ATen/core/Tensor.h>
#include <c10/core/InferenceMode.h>

#include "models/decoder/device_memory.h"
#include "models/decoder/step.h"
#include "models/language/blueprint.h"
#include "models/language/positions.h"
#include "models/torch/compute.h"
#include "models/torch/features.h"
#include "models/torch/prefill.h"
#include "models/weights/weights.h"
#include "tests/unit/engine_qwen_for_test.h"

namespace hearth::language {

// Whose a case is.
const FamilyRules& family_of(const std::string& name);

// One input of a case: what goes into each stage and what comes out of it.
struct Input {
  std::vector<std::int32_t> ids, positions, rows, greedy;
  std::int32_t delta = 0;
  std::vector<float> logits;  // [rows, vocabulary]
  std::vector<PlacedPicture> pictures;
  std::vector<std::shared_ptr<const image::Still>> patches;
  std::vector<engine::Features> features;

  std::int32_t tokens() const { return static_cast<std::int32_t>(ids.size()); }
};

engine::Features read_features(const Oracle& oracle, const std::string& input, std::size_t picture);

Input read_input(const Oracle& oracle, const std::string& name);

// Finds the pictures' tokens by their id.
void find_pictures(Input& input, std::int32_t image_token);

// How a network computes: as this machine does it best, by the library in one of its types, or best
// but for an attention of single steps.
enum class By { kBest, kLibrary, kLibraryF32, kEagerAttention };

inline constexpr std::int32_t kSlots = 3;
inline constexpr std::int32_t kContextTokens = 384;
inline constexpr std::int32_t kMostRows = 256;

// A case's network without anything around it.
struct Network {
  explicit Network(const std::string& name, const std::string& dtype = "float32",
                   By by = By::kBest);
  // Of other files of the case's family.
  Network(const std::string& name, models::ModelFiles files, const std::string& dtype, By by);

  Input input(const Oracle& oracle, const std::string& name) const;

  const c10::InferenceMode guard;
  models::ModelFiles files;
  models::LoadOptions options;
  files::WeightIndex index;
  Blueprint blueprint;
  std::unique_ptr<decoder::DeviceMemory> memory;
  std::shared_ptr<const weights::Weights> weights;
  engine::Compute compute;
  image::PictureRules rules;
  std::unique_ptr<engine::Tower> tower;
  std::unique_ptr<decoder::Step> step;
  std::unique_ptr<engine::Prefill> prefill;
};

std::vector<engine::Features> encode(
    Network& network, const std::vector<std::shared_ptr<const image::Still>>& pictures);
engine::Features encode(Network& network, const image::Still& picture);

using Rows = std::vector<std::vector<float>>;

// Readies a slot, which may have been in use, for a prompt.
void begin(Network& network, const Input& input, std::int32_t slot);

// [3, count]
std::vector<std::int32_t> positions_of(const Input& input, std::int32_t first, std::int32_t count);

std::span<const std::int32_t> ids_of(const Input& input, std::int32_t first, std::int32_t count);

// The logits of a token whose hidden state is given (null: the last token of the last feed), and
// what is drawn of them.
struct Drawn {
  std::vector<float> logits;
  std::int32_t token = 0;
};
Drawn draw(Network& network, std::int32_t slot, const void* hidden);

// Runs tokens [first, first + count) of `input`, with the oracle's features, in `slot`.
void run_chunk(Network& network, const Input& input, std::int32_t slot, std::int32_t first,
               std::int32_t count, std::int32_t wanted_from = 0);

// The logits of chosen rows of a chunk. A chunk that is not the first follows others.
Rows prefill(Network& network, const Input& input, std::int32_t slot, std::int32_t first,
             std::int32_t count, const std::vector<std::int32_t>& chosen);

Rows prefill_all(Network& network, const Input& input, std::int32_t slot,
                 const std::vector<std::int32_t>& chosen);

// One token more of each of these slots, in their order.
struct Stepped {
  Rows logits;
  std::vector<std::int32_t> tokens;
};
Stepped step(Network& network, const std::vector<std::int32_t>& slots);

// Runs a prompt in one piece and draws the first token of its answer.
std::int32_t start(Network& network, const Input& input, std::int32_t slot);

// `count` likeliest tokens after the prompt, each fed back.
std::vector<std::int32_t> answer(Network& network, const Input& input, std::int32_t slot,
                                 std::size_t count);

}  // namespace hearth::language
