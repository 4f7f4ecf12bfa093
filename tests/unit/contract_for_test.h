// Walks over any message of the contract: as JSON, or filled with random values its rules allow.
#pragma once

#include <algorithm>
#include <cmath>
#include <fstream>
#include <iterator>
#include <random>
#include <span>
#include <string>

#include <nlohmann/json.hpp>

#include "shm/contract/fields.h"

namespace hearth::contract {

inline std::string read_golden(std::string_view name, std::string_view suffix) {
  const std::string path =
      std::string(HEARTH_SOURCE_DIR "/shm/contract/golden/").append(name).append(suffix);
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

inline std::span<const std::byte> as_bytes(const std::string& text) {
  return std::as_bytes(std::span(text.data(), text.size()));
}

inline std::string hex(const std::string& raw) {
  std::string text;
  for (const unsigned char c : raw) {
    text += "0123456789abcdef"[c >> 4];
    text += "0123456789abcdef"[c & 15];
  }
  return text;
}

template <class T>
nlohmann::json to_json(const Rule& rule, const T& value) {
  if constexpr (std::same_as<T, std::string>) {
    return rule.is_bin ? hex(value) : value;
  } else if constexpr (std::is_arithmetic_v<T>) {
    return value;
  } else if constexpr (requires { value.has_value(); }) {
    return value ? to_json(rule, *value) : nlohmann::json();
  } else if constexpr (requires { value.size(); }) {
    auto list = nlohmann::json::array();
    for (const auto& item : value) list.push_back(to_json(rule, item));
    return list;
  } else {
    auto map = nlohmann::json::object();
    Fields<T>::each(value, [&](const Rule& inner, const auto& field) {
      map[std::string(inner.name)] = to_json(inner, field);
    });
    return map;
  }
}

// Random values that the rules allow, their limits included.
class RandomFiller {
 public:
  explicit RandomFiller(std::uint64_t seed) : random_(seed) {}

  template <class T>
  void fill(const Rule& rule, T& value) {
    if constexpr (std::same_as<T, bool>) {
      value = below(2) == 1;
    } else if constexpr (std::integral<T>) {
      value = integer<T>(rule);
    } else if constexpr (std::floating_point<T>) {
      value = real(rule);
    } else if constexpr (std::same_as<T, std::string>) {
      value = text(rule);
    } else if constexpr (requires { value.has_value(); }) {
      value.reset();
      if (below(2) == 1) fill(rule, value.emplace());
    } else if constexpr (requires { value.size(); }) {
      value.clear();
      for (auto left = below(std::min(rule.max_items, 4u) + 1); left > 0; --left)
        fill(rule, value.emplace_back());
    } else {
      Fields<T>::each(value, [&](const Rule& inner, auto& field) { fill(inner, field); });
    }
  }

 private:
  std::uint64_t below(std::uint64_t limit) { return random_() % limit; }

  template <class T>
  T integer(const Rule& rule) {
    using Limits = std::numeric_limits<T>;
    const T low = rule.min_integer < static_cast<std::int64_t>(Limits::min())
                      ? Limits::min()
                      : static_cast<T>(rule.min_integer);
    const T high =
        static_cast<T>(std::min(rule.max_integer, static_cast<std::uint64_t>(Limits::max())));
    if (below(4) == 0) return below(2) ? low : high;
    // Any width, so that every msgpack integer form occurs.
    const auto any = static_cast<T>(random_() >> below(64));
    return std::clamp(any, low, high);
  }

  double real(const Rule& rule) {
    if (below(4) == 0) return below(2) ? rule.min_real : rule.max_real;
    const double any = std::ldexp(static_cast<double>(random_()), -60) - 2.0;
    return std::clamp(any, rule.min_real, rule.max_real);
  }

  std::string text(const Rule& rule) {
    if (!rule.choices.empty()) return std::string(rule.choices[below(rule.choices.size())]);
    static constexpr std::string_view kPieces[] = {"a", "é", "中", "😀", "\x01", "\""};
    std::string value;
    const std::uint64_t size = below(std::min(rule.max_bytes, below(20) ? 40u : 70000u) + 1);
    while (value.size() + 4 <= size) value += kPieces[below(std::size(kPieces))];
    if (rule.is_bin) value += std::string("\xFF\x00\xFE\x80", std::min<std::size_t>(size % 5, 4));
    return value;
  }

  std::mt19937_64 random_;
};

}  // namespace hearth::contract
