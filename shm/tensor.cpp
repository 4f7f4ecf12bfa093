#include "shm/tensor.h"

#include <algorithm>
#include <array>
#include <limits>
#include <string>

namespace hearth {

namespace {

struct DTypeRow {
  std::string_view name;
  std::size_t item_bytes;
};

// In the order of DType.
constexpr std::array<DTypeRow, 12> kDTypes{{{"u8", 1},
                                            {"i8", 1},
                                            {"i16", 2},
                                            {"i32", 4},
                                            {"i64", 8},
                                            {"f16", 2},
                                            {"bf16", 2},
                                            {"f32", 4},
                                            {"f64", 8},
                                            {"bool", 1},
                                            {"f8e4m3", 1},
                                            {"f8e5m2", 1}}};

constexpr std::int64_t kMaxDim = std::numeric_limits<std::int32_t>::max();

Error bad(std::string what) {
  return fail(Code::kBadTensor, "tensor." + std::move(what));
}

std::string shape_text(const std::vector<std::int64_t>& shape) {
  std::string text = "[";
  for (std::size_t i = 0; i < shape.size(); ++i) text += (i ? ", " : "") + std::to_string(shape[i]);
  return text + "]";
}

// Bytes of a dense tensor. Every dim is tested before the product is made; a zero anywhere makes it
// zero even when the other dims would overflow.
Result<std::uint64_t> dense_bytes(const std::vector<std::int64_t>& shape, std::size_t item) {
  if (shape.size() > kMaxRank)
    return bad("shape: has " + std::to_string(shape.size()) + " dimensions; at most " +
               std::to_string(kMaxRank) + " are allowed");
  for (const std::int64_t dim : shape)
    if (dim < 0 || dim > kMaxDim)
      return bad("shape: " + shape_text(shape) + " has a dimension outside 0.." +
                 std::to_string(kMaxDim));
  if (std::find(shape.begin(), shape.end(), 0) != shape.end()) return std::uint64_t{0};
  std::uint64_t bytes = item;
  for (const std::int64_t dim : shape)
    if (__builtin_mul_overflow(bytes, static_cast<std::uint64_t>(dim), &bytes))
      return bad("shape: " + shape_text(shape) + " is larger than any memory");
  return bytes;
}

Result<void> check_place(const contract::Tensor& tensor, std::uint64_t arena_bytes) {
  const std::string offset = std::to_string(tensor.offset);
  if (tensor.offset % kSlotAlignment != 0)
    return bad("offset: " + offset + " is no multiple of " + std::to_string(kSlotAlignment));
  if (tensor.offset < kArenaHeaderBytes)
    return bad("offset: " + offset + " lies in the arena's first " +
               std::to_string(kArenaHeaderBytes) + " bytes, which are reserved");
  if (tensor.nbytes > arena_bytes || tensor.offset > arena_bytes - tensor.nbytes)
    return bad("nbytes: " + std::to_string(tensor.nbytes) + " bytes at " + offset +
               " reach beyond the arena's " + std::to_string(arena_bytes));
  return {};
}

}  // namespace

std::optional<DType> parse_dtype(std::string_view name) {
  for (std::size_t i = 0; i < kDTypes.size(); ++i)
    if (kDTypes[i].name == name) return static_cast<DType>(i);
  return std::nullopt;
}

std::string_view name_of(DType dtype) {
  return kDTypes[static_cast<std::size_t>(dtype)].name;
}

std::size_t item_bytes(DType dtype) {
  return kDTypes[static_cast<std::size_t>(dtype)].item_bytes;
}

Result<void> check_descriptor(const contract::Tensor& tensor, std::uint64_t arena_bytes) {
  const auto dtype = parse_dtype(tensor.dtype);
  if (!dtype) return bad("dtype: unknown type \"" + tensor.dtype.substr(0, 32) + "\"");
  TRY(const std::uint64_t expected, dense_bytes(tensor.shape, item_bytes(*dtype)));
  if (tensor.nbytes != expected)
    return bad("nbytes: is " + std::to_string(tensor.nbytes) + ", but " + tensor.dtype + " " +
               shape_text(tensor.shape) + " has " + std::to_string(expected));
  return check_place(tensor, arena_bytes);
}

Result<TensorView> checked_view(const contract::Tensor& tensor, std::span<const std::byte> arena) {
  CHECK_OK(check_descriptor(tensor, arena.size()));
  TensorView view{*parse_dtype(tensor.dtype), tensor.shape, {}};
  if (tensor.nbytes > 0) view.bytes = arena.subspan(tensor.offset, tensor.nbytes);
  return view;
}

}  // namespace hearth
