#include "models/weights/head_rows.h"

namespace hearth::weights {
namespace {

class Rows {
 public:
  Rows(std::int64_t head_dim, std::int64_t rotated) : half_(head_dim / 2), turned_(rotated / 2) {}

  void add(const Source& stored, std::int64_t from, std::int64_t rows) {
    if (rows == 0) return;
    const bool goes_on = !sources_.empty() && sources_.back().entry == stored.entry &&
                         sources_.back().from + sources_.back().rows == from;
    if (goes_on)
      sources_.back().rows += rows;
    else
      sources_.push_back({.entry = stored.entry,
                          .scale = stored.scale,
                          .rows = rows,
                          .first = next_,
                          .from = from});
    next_ += rows;
  }

  // One head, whose stored rows begin at `from`.
  void add_turned(const Source& stored, std::int64_t from) {
    if (turned_ == half_) return add(stored, from, 2 * half_);
    add(stored, from, turned_);
    add(stored, from + 2 * turned_, half_ - turned_);
    add(stored, from + turned_, turned_);
    add(stored, from + half_ + turned_, half_ - turned_);
  }

  std::vector<Source> take() { return std::move(sources_); }

 private:
  const std::int64_t half_, turned_;
  std::int64_t next_ = 0;
  std::vector<Source> sources_;
};

}  // namespace

std::vector<Source> stack_heads(const decoder::LayerDescription& layer, std::int32_t rotated,
                                const HeadTensors& tensors) {
  const std::int64_t width = layer.head_dim;
  const std::int64_t stride = layer.gated ? 2 * width : width;
  Rows rows(width, rotated);
  for (std::int64_t head = 0; head < layer.heads; ++head) rows.add_turned(tensors.q, head * stride);
  for (std::int64_t head = 0; head < layer.kv_heads; ++head)
    rows.add_turned(tensors.k, head * width);
  rows.add(tensors.v, 0, layer.kv_heads * width);
  for (std::int64_t head = 0; layer.gated && head < layer.heads; ++head)
    rows.add(tensors.q, head * stride + width, width);
  return rows.take();
}

std::vector<Source> turn_norm(const decoder::LayerDescription& layer, std::int32_t rotated,
                              const Source& norm) {
  Rows rows(layer.head_dim, rotated);
  rows.add_turned(norm, 0);
  return rows.take();
}

}  // namespace hearth::weights
