// Messages to msgpack and back, driven by the tables in fields.h.
//
// Included by messages.cpp only. All bytes that come from a peer pass through Document::parse and
// nothing else decodes msgpack. Any thread.
#pragma once

#define MSGPACK_NO_BOOST
#include <concepts>
#include <optional>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include <msgpack/object_fwd.hpp>
#include <msgpack/zone.hpp>

#include "shm/contract/messages.h"
#include "shm/contract/rule.h"

namespace hearth::contract {

// --- writing -----------------------------------------------------------------------------------

// Appends msgpack to a string, every value in its shortest form; f64 is always eight bytes.
class Writer {
 public:
  void map(std::uint32_t entries);
  void array(std::uint32_t items);
  void text(std::string_view utf8);
  void bytes(std::string_view raw);
  void boolean(bool value);
  void integer(std::int64_t value);
  void natural(std::uint64_t value);
  void real(double value);
  std::string take() { return std::move(out_); }

 private:
  std::string out_;
};

template <class T>
void write(Writer& writer, const Rule& rule, const T& value);

template <class T>
void write_struct(Writer& writer, const T& value) {
  std::uint32_t present = 0;
  Fields<T>::each(value, [&]<class F>(const Rule&, const F& field) {
    if constexpr (requires { field.has_value(); })
      present += field.has_value();
    else
      ++present;
  });
  writer.map(present);
  Fields<T>::each(value, [&]<class F>(const Rule& rule, const F& field) {
    if constexpr (requires { field.has_value(); })
      if (!field.has_value()) return;
    writer.text(rule.name);
    write(writer, rule, field);
  });
}

template <class T>
void write(Writer& writer, const Rule& rule, const T& value) {
  if constexpr (std::same_as<T, bool>) {
    writer.boolean(value);
  } else if constexpr (std::unsigned_integral<T>) {
    writer.natural(value);
  } else if constexpr (std::signed_integral<T>) {
    writer.integer(value);
  } else if constexpr (std::floating_point<T>) {
    writer.real(value);
  } else if constexpr (std::same_as<T, std::string>) {
    rule.is_bin ? writer.bytes(value) : writer.text(value);
  } else if constexpr (requires { value.has_value(); }) {
    write(writer, rule, *value);
  } else if constexpr (requires { value.size(); }) {
    writer.array(static_cast<std::uint32_t>(value.size()));
    for (const auto& item : value) write(writer, rule, item);
  } else {
    write_struct(writer, value);
  }
}

// --- reading -----------------------------------------------------------------------------------

using Object = msgpack::object;

// Where in a message we are, for error texts: "generate.messages[0].content". Lives on the stack.
struct Place {
  const Place* parent = nullptr;
  std::string_view name;
  std::int64_t index = -1;

  std::string text() const;
  hearth::Error error(std::string_view problem) const;  // bad_request: "<place>: <problem>"
};

// A body decoded within the limits of rule.h: one map, nothing after it; string keys, none twice;
// valid UTF-8, finite numbers, no extension types and no nil. Borrows the body's bytes.
class Document {
 public:
  static Result<Document> parse(std::span<const std::byte> body, std::string_view message);
  const Object& root() const { return root_; }

 private:
  std::unique_ptr<msgpack::zone> zone_;
  Object root_;
};

Result<void> read_bool(const Place& at, const Object& object, bool& value);
Result<void> read_signed(const Place& at, const Object& object, const Rule& rule,
                         std::int64_t& value);
Result<void> read_unsigned(const Place& at, const Object& object, const Rule& rule,
                           std::uint64_t& value);
Result<void> read_real(const Place& at, const Object& object, const Rule& rule, double& value);
Result<void> read_string(const Place& at, const Object& object, const Rule& rule,
                         std::string& value);
// The number of items, or an error when `object` is no array or too long.
Result<std::uint32_t> list_size(const Place& at, const Object& object, const Rule& rule);
const Object& list_item(const Object& object, std::uint32_t index);
// The number of entries, or an error when `object` is no map.
Result<std::uint32_t> map_size(const Place& at, const Object& object);
const Object* map_find(const Object& object, std::string_view key);  // null: absent
hearth::Error unknown_key(const Place& at, const Object& object,
                          std::span<const std::string_view> known);

template <class T>
Result<void> read(const Place& at, const Object& object, const Rule& rule, bool open, T& value);

template <std::integral T>
Result<void> read_integer(const Place& at, const Object& object, Rule rule, T& value) {
  using Limits = std::numeric_limits<T>;
  using Wide = std::conditional_t<std::is_signed_v<T>, std::int64_t, std::uint64_t>;
  rule.min_integer = std::max(rule.min_integer, static_cast<std::int64_t>(Limits::min()));
  rule.max_integer = std::min(rule.max_integer, static_cast<std::uint64_t>(Limits::max()));
  Wide wide = 0;
  if constexpr (std::is_signed_v<T>)
    CHECK_OK(read_signed(at, object, rule, wide));
  else
    CHECK_OK(read_unsigned(at, object, rule, wide));
  value = static_cast<T>(wide);
  return {};
}

template <class T>
Result<void> read_list(const Place& at, const Object& object, const Rule& rule, bool open,
                       std::vector<T>& list) {
  TRY(const std::uint32_t size, list_size(at, object, rule));
  list.clear();
  list.reserve(size);
  for (std::uint32_t i = 0; i < size; ++i) {
    const Place item{&at, {}, i};
    CHECK_OK(read(item, list_item(object, i), rule, open, list.emplace_back()));
  }
  return {};
}

// Reads one struct. `open` is inherited: what an open message holds may grow, too.
template <class T>
Result<void> read_struct(const Place& at, const Object& object, bool open, T& value) {
  TRY(const std::uint32_t entries, map_size(at, object));
  std::uint32_t found = 0;
  std::optional<hearth::Error> error;
  std::vector<std::string_view> known;
  Fields<T>::each(value, [&](const Rule& rule, auto& field) {
    known.push_back(rule.name);
    if (error) return;
    const Object* member = map_find(object, rule.name);
    const Place place{&at, rule.name};
    if (member == nullptr) {
      if (rule.required) error = place.error("is missing");
      return;
    }
    ++found;
    if (auto result = read(place, *member, rule, open, field); !result)
      error = std::move(result).error();
  });
  if (error) return *std::move(error);
  if (found < entries && !open) return unknown_key(at, object, known);
  return {};
}

template <class T>
Result<void> read(const Place& at, const Object& object, const Rule& rule, bool open, T& value) {
  if constexpr (std::same_as<T, bool>) {
    return read_bool(at, object, value);
  } else if constexpr (std::integral<T>) {
    return read_integer(at, object, rule, value);
  } else if constexpr (std::floating_point<T>) {
    return read_real(at, object, rule, value);
  } else if constexpr (std::same_as<T, std::string>) {
    return read_string(at, object, rule, value);
  } else if constexpr (requires { value.has_value(); }) {
    return read(at, object, rule, open, value.emplace());
  } else if constexpr (requires { value.size(); }) {
    return read_list(at, object, rule, open, value);
  } else {
    return read_struct(at, object, open, value);
  }
}

// --- what messages.h declares ------------------------------------------------------------------

template <class Message>
std::string pack(const Message& message) {
  Writer writer;
  write_struct(writer, message);
  return writer.take();
}

template <class Message>
Result<Message> unpack(std::span<const std::byte> body) {
  TRY(const Document document, Document::parse(body, Fields<Message>::kName));
  Message message;
  CHECK_OK(read_struct(Place{nullptr, Fields<Message>::kName}, document.root(),
                       Fields<Message>::kOpen, message));
  return message;
}

}  // namespace hearth::contract
