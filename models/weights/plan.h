// Where every weight of a model will lie, to the byte, before one of them is read.
//
// One arena holds all of a model, in the order in which it computes: what comes before the decoder
// (a vision tower), the embedding, layer by layer, the final norm, the head. So a step walks
// through memory once from front to back, and a copy to a device can be used from its front while
// its back is still on the way. Linears that read the same input are one matrix (queries, keys and
// values under each other, gate and up row by row).
//
// Pure: shapes and types from the files' headers, no tensor is read. Any thread.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "models/decoder/description.h"
#include "models/decoder/weights.h"
#include "models/files/stored_scales.h"
#include "models/files/weight_index.h"
#include "models/weights/precision.h"
#include "shm/base/result.h"

namespace hearth::weights {

inline constexpr std::uint64_t kAlignmentBytes = 256;

// A tensor that a family needs beside its decoder. Never rounded below the arithmetic type.
struct Tensor {
  std::string name;
  std::vector<std::int64_t> shape;
  bool keep_f32 = false;  // f32 whatever the arithmetic type
  // Another tensor of the same shape: its row i follows row i of this one (gate and up). Empty:
  // none.
  std::string interleaved_with = {};
};

// Some rows of a stored tensor, or some columns of one that is stored transposed: row i of them is
// row first + i * step of what is placed.
struct Source {
  const files::WeightEntry* entry = nullptr;  // the WeightIndex's
  const files::StoredScale* scale = nullptr;  // of codes; null: the file holds numbers
  std::int64_t rows = 0;
  std::int64_t first = 0;
  std::int64_t step = 1;
  // Row 0 is the tensor's row `from`, counted over all dimensions but the last. Transposed: row i
  // is column `column` + i of the matrix [columns, stored_columns] that begins with row `from`.
  std::int64_t from = 0;
  std::int64_t column = 0;
  std::int64_t stored_columns = 0;  // 0: not transposed

  bool is_transposed() const { return stored_columns > 0; }
};

// A matrix, or a vector as `rows` of one column.
struct Placement {
  HearthFormat format = HEARTH_FORMAT_F32;
  std::int64_t rows = 0;
  std::int64_t columns = 0;
  std::uint64_t offset = 0;  // of the data, in the arena; the scales follow
  std::uint64_t bytes = 0;
  std::uint64_t scale_offset = 0;
  std::uint64_t scale_bytes = 0;  // 0: none
  float added = 0.0F;             // to every number, in f32: norms that are stored less one
  std::vector<Source> sources{};
  bool keeps_codes = false;  // the files' codes and scales, not rounded anew

  bool is_packed() const { return format != HEARTH_FORMAT_F32 && format != HEARTH_FORMAT_BF16; }
  // All sources are transposed or none is.
  bool is_transposed() const { return sources.front().is_transposed(); }
};

// Numbers of placements.
using Place = std::size_t;
inline constexpr Place kNowhere = static_cast<Place>(-1);

struct LinearPlace {
  Place weight = kNowhere;
  Place bias = kNowhere;
};
// Of expert e gate_up is placed at gate_up + 2 e and down behind it, so that equal distances lie
// between the experts.
struct ExpertPlaces {
  Place router = kNowhere;
  LinearPlace shared_gate_up, shared_down;  // nowhere without a shared expert
  Place gate_up = kNowhere;
  std::int64_t count = 0;  // 0: the layer has no experts
  std::int64_t chosen = 0;
  bool normalised = true;
};
struct DeltaRulePlaces {
  Place input = kNowhere, gates = kNowhere, convolution = kNowhere;
  Place a_log = kNowhere, dt_bias = kNowhere, norm = kNowhere;
};
struct LayerPlaces {
  Place attention_norm = kNowhere, q_norm = kNowhere, k_norm = kNowhere, mlp_norm = kNowhere;
  LinearPlace qkv, output, gate_up, down;
  DeltaRulePlaces delta;  // instead of qkv
  ExpertPlaces experts;   // instead of gate_up and down
};

struct Plan {
  Precision precision;
  std::vector<Placement> placements;  // by offset
  std::uint64_t bytes = 0;            // of the arena
  std::uint64_t source_bytes = 0;     // that loading reads

  Place embedding = kNowhere;
  std::vector<LayerPlaces> layers;
  Place final_norm = kNowhere;
  LinearPlace head;  // the embedding's place when tied and equal in format
  std::map<std::string, Place> further;
};

// `before`: what is computed before the decoder, in its order. The plan borrows entries of `index`.
// Errors: bad_model naming tensor and shapes; unsupported for a type that is not f32, bf16, f16 or
// codes with scales, or a dtype that is none.
struct Request {
  const decoder::Description& description;
  const std::vector<Tensor>& before;
  Wanted wanted{};
  const files::StoredScales* scales = nullptr;  // the plan borrows them; null: all are numbers
};
Result<Plan> make_plan(const files::WeightIndex& index, const Request& request);

// The kernels' view of a placement in an arena that begins at `base`.
HearthMatrix matrix_in(const Placement& placement, const std::byte* base);
// The decoder's weights in an arena that begins at `base`. device: as in decoder::Weights.
decoder::Weights bind(const Plan& plan, const std::byte* base, int device);

}  // namespace hearth::weights
