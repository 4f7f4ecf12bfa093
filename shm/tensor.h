// Tensors inside arenas: element types and the one function that turns a descriptor into bytes.
//
// A descriptor (contract::Tensor) is a claim of a client that may lie. checked_view() is the only
// way from a claim to memory; it tests every field with overflow-safe arithmetic. The bytes behind
// a view belong to a client that may change them at any time: pixels may be read in place, anything
// used as an index or a length is copied first.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

#include "shm/base/result.h"
#include "shm/contract/messages.h"

namespace hearth {

enum class DType : std::uint8_t {
  kU8,
  kI8,
  kI16,
  kI32,
  kI64,
  kF16,
  kBF16,
  kF32,
  kF64,
  kBool,
  kF8E4M3,
  kF8E5M2
};

std::optional<DType> parse_dtype(std::string_view name);  // the names of messages.toml
std::string_view name_of(DType dtype);
std::size_t item_bytes(DType dtype);

// Borrowed, dense, row-major. Never stored beyond the call that receives it.
struct TensorView {
  DType dtype = DType::kU8;
  std::vector<std::int64_t> shape;
  std::span<const std::byte> bytes;
};

inline constexpr std::size_t kArenaHeaderBytes = 4096;  // reserved at the start of every arena
inline constexpr std::size_t kSlotAlignment = 64;
inline constexpr std::size_t kMaxRank = 8;

// Checks everything that can be checked without mapping: rank, dims, product, offset, alignment,
// and that it lies inside an arena of `arena_bytes`. Errors: bad_tensor, naming the field.
Result<void> check_descriptor(const contract::Tensor& tensor, std::uint64_t arena_bytes);

// As above, then the bytes. `arena` is the whole mapping. An empty tensor has an empty span.
Result<TensorView> checked_view(const contract::Tensor& tensor, std::span<const std::byte> arena);

}  // namespace hearth
