// Tensor descriptors, compared with the rules written down a second time in 128-bit arithmetic.
// Input: how to bend the descriptor, then its numbers.
#include "shm/tensor.h"

#include <array>
#include <limits>

#include "tests/fuzz/fuzz.h"

namespace hearth::fuzz {
namespace {

constexpr std::size_t kRealArenaBytes = 64 * 1024;
constexpr std::pair<const char*, std::uint64_t> kTypes[] = {
    {"u8", 1},   {"i8", 1},  {"i16", 2}, {"i32", 4},  {"i64", 8},    {"f16", 2},
    {"bf16", 2}, {"f32", 4}, {"f64", 8}, {"bool", 1}, {"f8e4m3", 1}, {"f8e5m2", 1}};

// Bytes of the dense tensor; anything over 2^64 counts as 2^64.
Wide product(const contract::Tensor& tensor, std::uint64_t item) {
  constexpr Wide kTooMany = Wide{1} << 64;
  Wide bytes = item;
  for (const std::int64_t dim : tensor.shape)
    if (dim == 0) return 0;
  for (const std::int64_t dim : tensor.shape) bytes = std::min(bytes * Wide(dim), kTooMany);
  return bytes;
}

bool allowed(const contract::Tensor& tensor, std::uint64_t arena_bytes) {
  const auto type = std::find_if(std::begin(kTypes), std::end(kTypes),
                                 [&](const auto& known) { return tensor.dtype == known.first; });
  if (type == std::end(kTypes) || tensor.shape.size() > 8) return false;
  for (const std::int64_t dim : tensor.shape)
    if (dim < 0 || dim > 0x7fffffff) return false;
  return product(tensor, type->second) == tensor.nbytes && tensor.offset % 64 == 0 &&
         tensor.offset >= 4096 && Wide(tensor.offset) + tensor.nbytes <= arena_bytes;
}

contract::Tensor read_descriptor(Input& input) {
  contract::Tensor tensor;
  const std::uint8_t bend = input.byte();
  const std::uint8_t type = input.byte();
  tensor.dtype = type < std::size(kTypes) ? kTypes[type].first : std::string(input.text(8));
  const std::uint8_t rank = input.below(10);
  for (int i = 0; i < rank; ++i)
    tensor.shape.push_back(bend & 1 ? input.byte() : input.number<std::int64_t>());
  tensor.offset =
      bend & 2 ? std::uint64_t{input.number<std::uint16_t>()} * 64 : input.number<std::uint64_t>();
  // Right most of the time, or random bytes would never get past this field.
  if (bend & 4)
    tensor.nbytes = static_cast<std::uint64_t>(
        product(tensor, type < std::size(kTypes) ? kTypes[type].second : 1));
  else
    tensor.nbytes = input.number<std::uint64_t>();
  return tensor;
}

void check_view(const contract::Tensor& tensor, std::size_t arena_bytes) {
  static const std::array<std::byte, kRealArenaBytes> memory{};
  const auto arena = std::span(memory).first(arena_bytes);
  const auto view = checked_view(tensor, arena);
  expect(bool(view) == allowed(tensor, arena_bytes), "checked_view follows the rules");
  if (!view) return;
  expect(view->bytes.size() == tensor.nbytes && view->shape == tensor.shape,
         "a view is as claimed");
  if (view->bytes.empty()) return;
  const std::byte* begin = memory.data();
  expect(view->bytes.data() >= begin + kArenaHeaderBytes &&
             view->bytes.data() + view->bytes.size() <= begin + arena_bytes,
         "a view lies inside its arena");
}

}  // namespace
}  // namespace hearth::fuzz

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace hearth;
  fuzz::Input input(data, size);
  const auto arena_bytes = input.number<std::uint64_t>();
  const contract::Tensor tensor = fuzz::read_descriptor(input);
  const auto checked = check_descriptor(tensor, arena_bytes);
  fuzz::expect(bool(checked) == fuzz::allowed(tensor, arena_bytes),
               "check_descriptor follows the rules");
  fuzz::expect(checked || checked.error().code == Code::kBadTensor, "errors are bad_tensor");
  fuzz::check_view(tensor, arena_bytes % (fuzz::kRealArenaBytes + 1));
  return 0;
}
