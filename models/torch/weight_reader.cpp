#include "models/torch/weight_reader.h"

#include <cstdlib>
#include <new>
#include <span>

#include <ATen/ops/empty.h>
#include <ATen/ops/from_blob.h>
#include <c10/util/accumulate.h>
#include <fmt/format.h>
#include <sys/mman.h>

#include "models/host_cpu.h"
#include "models/torch/tensors.h"

namespace hearth::engine {
namespace {

constexpr std::size_t kHugePageBytes = std::size_t{2} << 20;

// Host memory for a weight. Large ones lie in huge pages: a step reads all of them, and small pages
// would cost it a lookup every 4 KiB.
at::Tensor host_memory(const std::vector<std::int64_t>& shape, at::ScalarType type) {
  const std::size_t bytes =
      static_cast<std::size_t>(c10::multiply_integers(shape)) * c10::elementSize(type);
  if (bytes < kHugePageBytes) return at::empty(shape, type);
  const std::size_t whole_pages = (bytes + kHugePageBytes - 1) / kHugePageBytes * kHugePageBytes;
  void* memory = std::aligned_alloc(kHugePageBytes, whole_pages);
  if (memory == nullptr) throw std::bad_alloc();
  // Without huge pages it is slower, and that is all.
  static_cast<void>(::madvise(memory, whole_pages, MADV_HUGEPAGE));
  return at::for_blob(memory, shape)
      .deleter([](void* data) { std::free(data); })
      .options(type)
      .make_tensor();
}

bool is_readable(DType dtype) {
  return dtype == DType::kF32 || dtype == DType::kBF16 || dtype == DType::kF16;
}

std::span<std::byte> bytes_of(at::Tensor& tensor) {
  return {static_cast<std::byte*>(tensor.mutable_data_ptr()), tensor.nbytes()};
}

std::vector<std::int64_t> stacked_shape(const std::vector<const files::WeightEntry*>& parts) {
  std::vector<std::int64_t> shape = parts.front()->shape;
  for (std::size_t i = 1; i < parts.size(); ++i) shape[0] += parts[i]->shape[0];
  return shape;
}

}  // namespace

WeightReader::WeightReader(const files::WeightIndex& index, const decoder::TensorShapes& shapes,
                           const models::LoadOptions& options, at::ScalarType type)
    : index_(index),
      shapes_(shapes),
      options_(options),
      type_(type),
      device_(device_of(options.device)) {
  models::avoid_broken_amx();  // the first product is soon to come
}

Result<at::Tensor> WeightReader::read(const std::string& name) {
  return read_as({name}, type_);
}

Result<at::Tensor> WeightReader::read_f32(const std::string& name) {
  return read_as({name}, at::kFloat);
}

Result<at::Tensor> WeightReader::read_stacked(const std::vector<std::string>& names) {
  return read_as(names, type_);
}

Result<at::Tensor> WeightReader::read_as(const std::vector<std::string>& names,
                                         at::ScalarType type) {
  std::vector<const files::WeightEntry*> entries;
  for (const std::string& name : names) {
    TRY(const files::WeightEntry* entry, index_.require(name, shapes_.at(name)));
    if (!is_readable(entry->dtype))
      return fail(Code::kUnsupported,
                  fmt::format("{} in {} is {}; weights are read as f32, bf16 or f16",
                              entry->stored_name, index_.label_of(*entry), name_of(entry->dtype)));
    entries.push_back(entry);
  }
  at::Tensor host = host_memory(stacked_shape(entries), type);
  std::int64_t row = 0;
  for (const files::WeightEntry* entry : entries) {
    CHECK_OK(fill(*entry, host.narrow(0, row, entry->shape[0])));
    CHECK_OK(report(*entry));
    row += entry->shape[0];
  }
  placed_bytes_ += host.nbytes();
  return device_.is_cpu() ? host : host.to(device_);
}

Result<void> WeightReader::fill(const files::WeightEntry& entry, at::Tensor rows) {
  if (scalar_type(entry.dtype) == rows.scalar_type())
    return index_.read_tensor(entry, bytes_of(rows));
  at::Tensor stored = at::empty(entry.shape, scalar_type(entry.dtype));
  CHECK_OK(index_.read_tensor(entry, bytes_of(stored)));
  rows.copy_(stored);
  return {};
}

Result<void> WeightReader::report(const files::WeightEntry& entry) {
  read_bytes_ += entry.nbytes;
  if (options_.on_progress) options_.on_progress(read_bytes_, index_.total_bytes());
  if (options_.cancelled != nullptr && options_.cancelled->load())
    return fail(Code::kCancelled, "loading was cancelled");
  return {};
}

}  // namespace hearth::engine
