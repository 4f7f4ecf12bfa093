#include "models/files/safetensors.h"

#include <algorithm>
#include <array>
#include <optional>
#include <unordered_set>

#include <fmt/format.h>

#include "models/files/config.h"
#include "models/files/model_file.h"

namespace hearth::files {
namespace {

constexpr std::size_t kLengthBytes = 8;
constexpr JsonLimits kHeaderLimits{
    .max_bytes = kMaxSafetensorsHeaderBytes, .max_depth = 4, .max_values = 1'000'000};

struct DTypeName {
  std::string_view name;
  DType dtype;
};
constexpr std::array kDTypes = {
    DTypeName{"BOOL", DType::kBool},      DTypeName{"U8", DType::kU8},
    DTypeName{"I8", DType::kI8},          DTypeName{"I16", DType::kI16},
    DTypeName{"I32", DType::kI32},        DTypeName{"I64", DType::kI64},
    DTypeName{"F16", DType::kF16},        DTypeName{"BF16", DType::kBF16},
    DTypeName{"F32", DType::kF32},        DTypeName{"F64", DType::kF64},
    DTypeName{"F8_E4M3", DType::kF8E4M3}, DTypeName{"F8_E5M2", DType::kF8E5M2},
};

Result<DType> parse_stored_dtype(const ConfigValue& value) {
  TRY(const auto name, value.text());
  for (const auto& entry : kDTypes)
    if (entry.name == name) return entry.dtype;
  return fail(Code::kUnsupported,
              fmt::format("{} is {}, an element type that hearth does not read.", value.path(),
                          shortened(name)),
              "Use the checkpoint in bfloat16, float16 or float32.");
}

std::optional<std::uint64_t> product(std::uint64_t a, std::uint64_t b) {
  std::uint64_t result = 0;
  if (__builtin_mul_overflow(a, b, &result)) return std::nullopt;
  return result;
}

std::optional<std::uint64_t> dense_bytes(const StoredTensor& tensor) {
  std::optional<std::uint64_t> bytes = item_bytes(tensor.dtype);
  for (const auto dim : tensor.shape)
    if (bytes) bytes = product(*bytes, static_cast<std::uint64_t>(dim));
  return bytes;
}

// One member of the header. `data_begin` is where the tensors' bytes start, `data_bytes` how many
// there are.
Result<StoredTensor> parse_tensor(const ConfigValue& value, std::uint64_t data_begin,
                                  std::uint64_t data_bytes) {
  StoredTensor tensor;
  tensor.name = value.key();
  TRY(tensor.dtype, parse_stored_dtype(value["dtype"]));
  TRY(tensor.shape, value["shape"].integers(0));
  if (tensor.shape.size() > kMaxRank)
    return value.error(
        fmt::format("has {} dimensions; at most {} are read", tensor.shape.size(), kMaxRank));
  TRY(const auto range, value["data_offsets"].integers(0));
  if (range.size() != 2 || range[0] > range[1])
    return value["data_offsets"].error("must be a begin and an end");
  const auto begin = static_cast<std::uint64_t>(range[0]);
  const auto end = static_cast<std::uint64_t>(range[1]);
  if (end > data_bytes)
    return value.error(
        fmt::format("ends at byte {} of the {} bytes of tensors in the file", end, data_bytes));
  tensor.nbytes = end - begin;
  tensor.offset = data_begin + begin;
  if (dense_bytes(tensor) != tensor.nbytes)
    return value.error(
        fmt::format("has {} bytes, which is not what its shape and type need", tensor.nbytes));
  return tensor;
}

Result<void> parse_metadata(const ConfigValue& value, SafetensorsHeader& header) {
  for (auto item = value.first(); item.exists(); item = item.next()) {
    TRY(const auto text, item.text());
    header.metadata[std::string(item.key())] = text;
  }
  return {};
}

// Tensors must follow each other without overlap or hole, from the first byte to the last.
Result<void> check_layout(const models::ModelFile& file, std::vector<StoredTensor>& tensors,
                          std::uint64_t data_begin, std::uint64_t data_end) {
  std::sort(tensors.begin(), tensors.end(), [](const auto& a, const auto& b) {
    return std::pair(a.offset, a.nbytes) < std::pair(b.offset, b.nbytes);
  });
  auto expected = data_begin;
  for (const auto& tensor : tensors) {
    if (tensor.offset != expected)
      return fail(Code::kBadModel,
                  fmt::format("{}: tensor {} begins at byte {} instead of {}.", file.label,
                              shortened(tensor.name), tensor.offset, expected));
    expected += tensor.nbytes;
  }
  if (expected != data_end)
    return fail(Code::kBadModel, fmt::format("{} has {} bytes, but its tensors end at {}.",
                                             file.label, data_end, expected));
  return {};
}

Result<std::uint64_t> read_header_length(const models::ModelFile& file, std::uint64_t file_bytes) {
  std::array<std::byte, kLengthBytes> raw{};
  CHECK_OK(read_at(file, 0, raw));
  std::uint64_t length = 0;
  for (std::size_t i = 0; i < kLengthBytes; ++i)
    length |= std::to_integer<std::uint64_t>(raw[i]) << (8 * i);
  if (length > kMaxSafetensorsHeaderBytes)
    return fail(Code::kBadModel,
                fmt::format("{} is not a safetensors file: its header would have {} bytes.",
                            file.label, length));
  if (length > file_bytes - kLengthBytes)
    return fail(Code::kBadModel, fmt::format("{} has {} bytes, fewer than its header of {}.",
                                             file.label, file_bytes, length));
  return length;
}

Result<ConfigValue> read_header_json(const models::ModelFile& file, std::uint64_t length) {
  std::string text(static_cast<std::size_t>(length), '\0');
  CHECK_OK(read_at(file, kLengthBytes, std::as_writable_bytes(std::span(text))));
  TRY(auto root, parse_json(file.label, text, kHeaderLimits));
  if (!root.is_object()) return root.error("must be an object");
  return root;
}

}  // namespace

Result<SafetensorsHeader> read_safetensors_header(const models::ModelFile& file) {
  TRY(const auto identity, identity_of(file));
  if (identity.size_bytes < kLengthBytes)
    return fail(Code::kBadModel,
                fmt::format("{} has only {} bytes.", file.label, identity.size_bytes));
  TRY(const auto length, read_header_length(file, identity.size_bytes));
  TRY(const auto root, read_header_json(file, length));

  SafetensorsHeader header;
  std::unordered_set<std::string_view> names;
  const auto data_begin = kLengthBytes + length;
  for (auto item = root.first(); item.exists(); item = item.next()) {
    if (!names.insert(item.key()).second) return item.error("stands in the header twice");
    if (item.key() == "__metadata__") {
      CHECK_OK(parse_metadata(item, header));
      continue;
    }
    TRY(auto tensor, parse_tensor(item, data_begin, identity.size_bytes - data_begin));
    header.tensors.push_back(std::move(tensor));
  }
  CHECK_OK(check_layout(file, header.tensors, data_begin, identity.size_bytes));
  return header;
}

}  // namespace hearth::files
