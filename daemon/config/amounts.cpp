#include "daemon/config/amounts.h"

#include <fmt/format.h>

namespace hearth::config {

std::string size_text(std::int64_t bytes) {
  if (bytes == 0) return "0";
  constexpr Unit kUnits[] = {
      {"TiB", 1ll << 40}, {"GiB", 1ll << 30}, {"MiB", 1ll << 20}, {"KiB", 1ll << 10}};
  for (const Unit& unit : kUnits)
    if (bytes % unit.factor == 0) return fmt::format("{}{}", bytes / unit.factor, unit.word);
  return fmt::format("{}B", bytes);
}

std::string duration_text(std::int64_t milliseconds) {
  if (milliseconds == 0) return "0s";
  constexpr Unit kUnits[] = {{"d", 86'400'000}, {"h", 3'600'000}, {"min", 60'000}, {"s", 1000}};
  for (const Unit& unit : kUnits)
    if (milliseconds % unit.factor == 0)
      return fmt::format("{}{}", milliseconds / unit.factor, unit.word);
  return fmt::format("{}ms", milliseconds);
}

}  // namespace hearth::config
