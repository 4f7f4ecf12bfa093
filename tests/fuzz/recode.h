// Any body as any message of the contract: what unpacks keeps the rules of messages.toml and comes
// back the same after packing.
#pragma once

#include <array>
#include <string>

#include "shm/contract/fields.h"
#include "tests/fuzz/fuzz.h"

namespace hearth::fuzz {

// Whether `value` is what `rule` allows, found out apart from the codec.
template <class T>
void expect_allowed(const contract::Rule& rule, const T& value) {
  if constexpr (std::same_as<T, bool>) {
    return;
  } else if constexpr (std::unsigned_integral<T>) {
    expect(value <= rule.max_integer, "a number is at most its max");
    expect(rule.min_integer <= 0 || value >= static_cast<std::uint64_t>(rule.min_integer),
           "a number is at least its min");
  } else if constexpr (std::signed_integral<T>) {
    expect(value >= rule.min_integer, "a number is at least its min");
    expect(value < 0 || static_cast<std::uint64_t>(value) <= rule.max_integer,
           "a number is at most its max");
  } else if constexpr (std::floating_point<T>) {
    expect(value >= rule.min_real && value <= rule.max_real, "a real lies between min and max");
  } else if constexpr (std::same_as<T, std::string>) {
    expect(value.size() <= rule.max_bytes, "a string has at most max_bytes");
    const auto& choices = rule.choices;
    expect(choices.empty() || std::find(choices.begin(), choices.end(), value) != choices.end(),
           "a word is one of its choices");
  } else if constexpr (requires { value.has_value(); }) {
    if (value) expect_allowed(rule, *value);
  } else if constexpr (requires { value.size(); }) {
    expect(value.size() <= rule.max_items, "a list has at most max_items");
    for (const auto& item : value) expect_allowed(rule, item);
  } else {
    contract::Fields<T>::each(value, [](const contract::Rule& inner, const auto& field) {
      expect_allowed(inner, field);
    });
  }
}

template <class Message>
void recode_as(std::span<const std::byte> body) {
  const Result<Message> message = contract::unpack<Message>(body);
  if (!message) {
    expect(message.error().code == Code::kBadRequest, "a broken body is a bad_request");
    return;
  }
  expect_allowed(contract::Rule{}, *message);
  const std::string packed = contract::pack(*message);
  const auto again = contract::unpack<Message>(std::as_bytes(std::span(packed)));
  expect(again && *again == *message, "what was unpacked packs and unpacks to the same");
  expect(contract::pack(*again) == packed, "packing is a function");
}

// By the type in a frame's header; types nobody declared are not decoded.
inline void recode(std::uint8_t type, std::span<const std::byte> body) {
  using Recode = void (*)(std::span<const std::byte>);
  static const std::array<Recode, 256> by_type = [] {
    std::array<Recode, 256> table{};
    contract::each_message([&]<class Message>() { table[Message::kType] = recode_as<Message>; });
    return table;
  }();
  expect((by_type[type] == nullptr) == (contract::kind_of_type(type) == contract::Kind::kUnknown),
         "every declared type has a decoder");
  if (by_type[type] != nullptr) by_type[type](body);
}

}  // namespace hearth::fuzz
