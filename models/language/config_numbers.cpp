#include "models/language/config_numbers.h"

#include <fmt/format.h>

namespace hearth::language {

using files::ConfigValue;

Result<std::int32_t> number(const ConfigValue& value, std::int32_t fallback, std::int64_t max) {
  TRY(const std::int64_t found, value.integer_or(fallback, 0, max));
  if (found < 1) return value.error("is missing, and no tensor tells it");
  return static_cast<std::int32_t>(found);
}

Result<void> expect(const ConfigValue& value, std::string_view wanted) {
  TRY(const std::string_view found, value.text_or(wanted));
  if (found == wanted) return {};
  return fail(Code::kUnsupported,
              fmt::format("{} is \"{}\"; hearth computes \"{}\"", value.path(), found, wanted));
}

std::int32_t dimension(const files::WeightIndex& index, std::string_view tensor, std::size_t axis) {
  const files::WeightEntry* entry = index.find(tensor);
  if (entry == nullptr || axis >= entry->shape.size()) return 0;
  return static_cast<std::int32_t>(entry->shape[axis]);
}

std::int32_t count_tensors(const files::WeightIndex& index, std::string_view prefix,
                           std::string_view suffix) {
  std::int32_t found = 0;
  while (index.find(fmt::format("{}{}{}", prefix, found, suffix)) != nullptr) ++found;
  return found;
}

}  // namespace hearth::language
