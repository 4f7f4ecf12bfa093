#include "shm/contract/codec.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <exception>

#include <msgpack/pack.hpp>
#include <msgpack/unpack.hpp>

namespace hearth::contract {

namespace {

// msgpack's packer wants something with write().
struct Appender {
  std::string& out;
  void write(const char* bytes, std::size_t count) { out.append(bytes, count); }
};

msgpack::packer<Appender> packer(Appender& appender) {
  return msgpack::packer<Appender>(appender);
}

std::string_view text_of(const Object& object) {
  return {object.via.str.ptr, object.via.str.size};
}

std::string quoted_list(std::span<const std::string_view> words) {
  std::string text;
  for (const auto word : words) {
    if (!text.empty()) text += ", ";
    text += word;
  }
  return text;
}

// A peer's text as part of an error that goes to logs and back to the peer: plain ASCII, so that a
// cut leaves valid UTF-8 and no terminal obeys it.
std::string printable(std::string_view text) {
  constexpr std::size_t kMaxShownBytes = 64;
  std::string safe;
  for (const char c : text.substr(0, kMaxShownBytes)) safe += c >= ' ' && c <= '~' ? c : '?';
  return text.size() > kMaxShownBytes ? safe + "..." : safe;
}

std::string shown(std::string_view text) {
  return '"' + printable(text) + '"';
}

// Length of the UTF-8 character at the front of `text`, 0 when there is none. The ranges are those
// of table 3-7 of the Unicode standard: no overlong forms, no surrogates, nothing over U+10FFFF.
std::size_t utf8_character_bytes(std::string_view text) {
  const auto byte = [&](std::size_t i) {
    return i < text.size() ? static_cast<unsigned char>(text[i]) : 0u;
  };
  const auto tail = [&](std::size_t i) { return (byte(i) & 0xC0u) == 0x80u; };
  const unsigned first = byte(0), second = byte(1);
  if (first < 0x80) return 1;
  if (first < 0xC2 || first > 0xF4 || !tail(1)) return 0;
  if (first < 0xE0) return 2;
  if ((first == 0xE0 && second < 0xA0) || (first == 0xED && second > 0x9F)) return 0;
  if (first < 0xF0) return tail(2) ? 3 : 0;
  if ((first == 0xF0 && second < 0x90) || (first == 0xF4 && second > 0x8F)) return 0;
  return tail(2) && tail(3) ? 4 : 0;
}

bool is_utf8(std::string_view text) {
  while (!text.empty()) {
    const std::size_t length = utf8_character_bytes(text);
    if (length == 0) return false;
    text.remove_prefix(length);
  }
  return true;
}

Result<void> check_value(const Place& at, const Object& object);

Result<void> check_array(const Place& at, const Object& object) {
  for (std::uint32_t i = 0; i < object.via.array.size; ++i)
    CHECK_OK(check_value(Place{&at, {}, i}, list_item(object, i)));
  return {};
}

Result<void> check_map(const Place& at, const Object& object) {
  std::vector<std::string_view> keys;
  keys.reserve(object.via.map.size);
  for (std::uint32_t i = 0; i < object.via.map.size; ++i) {
    const auto& entry = object.via.map.ptr[i];
    if (entry.key.type != msgpack::type::STR) return at.error("has a key that is no string");
    CHECK_OK(check_value(at, entry.key));
    keys.push_back(text_of(entry.key));
    CHECK_OK(check_value(Place{&at, keys.back()}, entry.val));
  }
  std::sort(keys.begin(), keys.end());
  const auto twice = std::adjacent_find(keys.begin(), keys.end());
  if (twice != keys.end()) return at.error("has the key " + shown(*twice) + " twice");
  return {};
}

// Depth is bounded by the parser's limit, so recursion is.
Result<void> check_value(const Place& at, const Object& object) {
  switch (object.type) {
    case msgpack::type::STR:
      if (!is_utf8(text_of(object))) return at.error("is not valid UTF-8");
      return {};
    case msgpack::type::FLOAT32:
    case msgpack::type::FLOAT64:
      if (!std::isfinite(object.via.f64)) return at.error("is not a finite number");
      return {};
    case msgpack::type::ARRAY:
      return check_array(at, object);
    case msgpack::type::MAP:
      return check_map(at, object);
    case msgpack::type::NIL:
      return at.error("is nil; leave absent fields out");
    case msgpack::type::EXT:
      return at.error("is a msgpack extension");
    default:
      return {};
  }
}

std::string_view name_of(const Object& object) {
  switch (object.type) {
    case msgpack::type::BOOLEAN:
      return "a boolean";
    case msgpack::type::POSITIVE_INTEGER:
    case msgpack::type::NEGATIVE_INTEGER:
      return "an integer";
    case msgpack::type::FLOAT32:
    case msgpack::type::FLOAT64:
      return "a float";
    case msgpack::type::STR:
      return "a string";
    case msgpack::type::BIN:
      return "binary";
    case msgpack::type::ARRAY:
      return "an array";
    case msgpack::type::MAP:
      return "a map";
    default:
      return "nil";
  }
}

hearth::Error wrong_type(const Place& at, std::string_view wanted, const Object& object) {
  return at.error("must be " + std::string(wanted) + ", not " + std::string(name_of(object)));
}

template <class T>
hearth::Error out_of_range(const Place& at, T low, T high, const std::string& value) {
  return at.error("must be from " + std::to_string(low) + " to " + std::to_string(high) + ", not " +
                  value);
}

}  // namespace

void Writer::map(std::uint32_t entries) {
  Appender appender{out_};
  packer(appender).pack_map(entries);
}

void Writer::array(std::uint32_t items) {
  Appender appender{out_};
  packer(appender).pack_array(items);
}

void Writer::text(std::string_view utf8) {
  Appender appender{out_};
  const auto size = static_cast<std::uint32_t>(utf8.size());
  packer(appender).pack_str(size).pack_str_body(utf8.data(), size);
}

void Writer::bytes(std::string_view raw) {
  Appender appender{out_};
  const auto size = static_cast<std::uint32_t>(raw.size());
  packer(appender).pack_bin(size).pack_bin_body(raw.data(), size);
}

void Writer::boolean(bool value) {
  Appender appender{out_};
  value ? packer(appender).pack_true() : packer(appender).pack_false();
}

void Writer::integer(std::int64_t value) {
  Appender appender{out_};
  packer(appender).pack_int64(value);
}

void Writer::natural(std::uint64_t value) {
  Appender appender{out_};
  packer(appender).pack_uint64(value);
}

// Written here because msgpack-c 4 packs 1.0 as the integer 1, and so loses the type.
void Writer::real(double value) {
  const auto bits = std::bit_cast<std::uint64_t>(value);
  out_ += '\xCB';
  for (int shift = 56; shift >= 0; shift -= 8) out_ += static_cast<char>(bits >> shift & 0xFF);
}

std::string Place::text() const {
  std::string text = parent ? parent->text() : std::string();
  if (index >= 0) return text + "[" + std::to_string(index) + "]";
  if (parent) text += '.';
  return text + printable(name);
}

hearth::Error Place::error(std::string_view problem) const {
  return fail(Code::kBadRequest, text() + ": " + std::string(problem));
}

Result<Document> Document::parse(std::span<const std::byte> body, std::string_view message) {
  const Place at{nullptr, message};
  const msgpack::unpack_limit limits(kMaxArrayItems, kMaxMapEntries, kMaxStrBytes, kMaxBinBytes, 0,
                                     kMaxDepth);
  const auto borrow = [](msgpack::type::object_type, std::size_t, void*) { return true; };
  Document document;
  std::size_t used = 0;
  try {
    document.zone_ = std::make_unique<msgpack::zone>();
    bool borrowed = false;
    document.root_ = msgpack::unpack(*document.zone_, reinterpret_cast<const char*>(body.data()),
                                     body.size(), used, borrowed, borrow, nullptr, limits);
  } catch (const std::exception& exception) {
    return at.error(std::string("the body is not msgpack within the limits: ") + exception.what());
  }
  if (used != body.size()) return at.error("there are bytes after the body's map");
  if (document.root_.type != msgpack::type::MAP) return wrong_type(at, "a map", document.root_);
  CHECK_OK(check_value(at, document.root_));
  return document;
}

Result<void> read_bool(const Place& at, const Object& object, bool& value) {
  if (object.type != msgpack::type::BOOLEAN) return wrong_type(at, "a boolean", object);
  value = object.via.boolean;
  return {};
}

Result<void> read_signed(const Place& at, const Object& object, const Rule& rule,
                         std::int64_t& value) {
  const auto high = static_cast<std::int64_t>(
      std::min(rule.max_integer, std::uint64_t{std::numeric_limits<std::int64_t>::max()}));
  if (object.type == msgpack::type::NEGATIVE_INTEGER) {
    value = object.via.i64;
    if (value >= rule.min_integer && value <= high) return {};
    return out_of_range(at, rule.min_integer, high, std::to_string(value));
  }
  if (object.type != msgpack::type::POSITIVE_INTEGER) return wrong_type(at, "an integer", object);
  const std::uint64_t natural = object.via.u64;
  value = static_cast<std::int64_t>(natural);
  if (natural <= rule.max_integer && value >= rule.min_integer && value <= high) return {};
  return out_of_range(at, rule.min_integer, high, std::to_string(natural));
}

Result<void> read_unsigned(const Place& at, const Object& object, const Rule& rule,
                           std::uint64_t& value) {
  const auto low = static_cast<std::uint64_t>(std::max(rule.min_integer, std::int64_t{0}));
  if (object.type == msgpack::type::NEGATIVE_INTEGER)
    return out_of_range(at, low, rule.max_integer, std::to_string(object.via.i64));
  if (object.type != msgpack::type::POSITIVE_INTEGER) return wrong_type(at, "an integer", object);
  value = object.via.u64;
  if (value >= low && value <= rule.max_integer) return {};
  return out_of_range(at, low, rule.max_integer, std::to_string(value));
}

// Integers are numbers too: many languages write 1.0 as 1.
Result<void> read_real(const Place& at, const Object& object, const Rule& rule, double& value) {
  switch (object.type) {
    case msgpack::type::FLOAT32:
    case msgpack::type::FLOAT64:
      value = object.via.f64;
      break;
    case msgpack::type::POSITIVE_INTEGER:
      value = static_cast<double>(object.via.u64);
      break;
    case msgpack::type::NEGATIVE_INTEGER:
      value = static_cast<double>(object.via.i64);
      break;
    default:
      return wrong_type(at, "a number", object);
  }
  if (value >= rule.min_real && value <= rule.max_real) return {};
  return out_of_range(at, rule.min_real, rule.max_real, std::to_string(value));
}

Result<void> read_string(const Place& at, const Object& object, const Rule& rule,
                         std::string& value) {
  const auto wanted = rule.is_bin ? msgpack::type::BIN : msgpack::type::STR;
  if (object.type != wanted) return wrong_type(at, rule.is_bin ? "binary" : "a string", object);
  const std::string_view text =
      rule.is_bin ? std::string_view{object.via.bin.ptr, object.via.bin.size} : text_of(object);
  if (text.size() > rule.max_bytes)
    return at.error("must have at most " + std::to_string(rule.max_bytes) + " bytes, not " +
                    std::to_string(text.size()));
  const auto& choices = rule.choices;
  if (!choices.empty() && std::find(choices.begin(), choices.end(), text) == choices.end())
    return at.error("must be one of " + quoted_list(choices) + ", not " + shown(text));
  value = text;
  return {};
}

Result<std::uint32_t> list_size(const Place& at, const Object& object, const Rule& rule) {
  if (object.type != msgpack::type::ARRAY) return wrong_type(at, "an array", object);
  const std::uint32_t size = object.via.array.size;
  if (size > rule.max_items)
    return at.error("must have at most " + std::to_string(rule.max_items) + " items, not " +
                    std::to_string(size));
  return size;
}

const Object& list_item(const Object& object, std::uint32_t index) {
  return object.via.array.ptr[index];
}

Result<std::uint32_t> map_size(const Place& at, const Object& object) {
  if (object.type != msgpack::type::MAP) return wrong_type(at, "a map", object);
  return object.via.map.size;
}

const Object* map_find(const Object& object, std::string_view key) {
  const std::span entries(object.via.map.ptr, object.via.map.size);
  for (const auto& entry : entries)
    if (text_of(entry.key) == key) return &entry.val;
  return nullptr;
}

hearth::Error unknown_key(const Place& at, const Object& object,
                          std::span<const std::string_view> known) {
  for (const auto& entry : std::span(object.via.map.ptr, object.via.map.size)) {
    const std::string_view key = text_of(entry.key);
    if (std::find(known.begin(), known.end(), key) == known.end())
      return at.error("unknown key " + shown(key) + "; known are " + quoted_list(known));
  }
  return at.error("has an unknown key");
}

}  // namespace hearth::contract
