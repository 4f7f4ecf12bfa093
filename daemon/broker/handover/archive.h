// The state of a process as bytes: written by Saver, read by Loader, both driven by one list of
// fields per type (fields.h), so that they cannot differ.
//
// The bytes are msgpack in its widest forms: a struct is a map of its fields by name, a container
// an array, a descriptor its number in an extension of its own. Names make a state readable for
// the format before and after the one that wrote it (format.h): a Loader of another format leaves
// what is missing at its default, and passes over what it does not know. Under the same format
// both are errors.
//
// Values only, no system calls. One thread.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#include "daemon/broker/ports.h"

namespace hearth::broker::handover {

// Calls archive.fields() with the fields of `value`. Every type has its list in fields.h.
template <class Archive, class T>
void fields_of(Archive& archive, T& value);

// A descriptor's number where nobody owns it. Who loads one owns it after Loader::give_numbers().
struct Number {
  int fd = -1;
};

template <class T>
concept Message = requires {
  T::kType;
};
template <class T>
concept Duration = requires {
  typename T::rep;
  typename T::period;
};
template <class T>
concept Map = requires {
  typename T::mapped_type;
};
template <class T>
concept Range = requires(T& range) {
  typename T::value_type;
  range.begin();
  range.end();
};

// What one takes and the other gives.
class Saver {
 public:
  static constexpr bool kLoads = false;

  // `names` are those of `values`, with commas between.
  template <class... Ts>
  void fields(std::string_view names, const Ts&... values) {
    begin_map(sizeof...(Ts));
    (..., (name(next_name(names)), value(values)));
  }
  template <class T>
  void value(const T& value);

  const std::string& bytes() const { return bytes_; }
  // Of all descriptors that were saved, each once.
  std::vector<int> descriptors() const;

 private:
  friend class Loader;
  static std::string_view next_name(std::string_view& names);

  void begin_map(std::size_t entries);
  void begin_array(std::size_t items);
  void name(std::string_view name);
  void nil();
  void boolean(bool value);
  void natural(std::uint64_t value);
  void integer(std::int64_t value);
  void real(double value);
  void text(std::string_view bytes);
  void descriptor(int fd);
  void put(std::uint8_t tag, std::uint64_t value, int n_bytes);

  std::string bytes_;
  std::map<int, bool> descriptors_;
};

class Loader {
 public:
  static constexpr bool kLoads = true;
  using Adopt = std::function<SharedFd(Fd)>;

  // `bytes` stay the caller's. `descriptors` are open and belong to the Loader until they are taken
  // over by what it loads.
  Loader(std::string_view bytes, std::uint32_t format, std::span<const int> descriptors);
  // How descriptors are made that several may own. Before any of them is loaded.
  void adopt_with(Adopt adopt) { adopt_ = std::move(adopt); }

  // After the first problem every call does nothing.
  template <class... Ts>
  void fields(std::string_view names, Ts&... values) {
    Entries entries = begin_map();
    (..., (seek(entries, Saver::next_name(names)) ? value(values) : void()));
    end_map(entries);
  }
  template <class T>
  void value(T& value);

  void refuse(std::string_view problem);
  // The descriptors of all Numbers that were loaded since the last call are now whose who loaded
  // them; not after a problem, for then nobody may have all of their numbers.
  void give_numbers();
  // What is wrong with the state, or with how it was read. Errors: internal.
  Result<void> result() const;
  // Leaves the descriptors that nothing has taken over open: nobody's any more.
  void disown();
  // Nothing of what was saved is left over.
  bool took_all() const { return owned_.empty() && numbers_.empty(); }

 private:
  struct Entry {
    std::string_view name;
    std::size_t at = 0;
    bool is_read = false;
  };
  struct Entries {
    std::vector<Entry> list;
    std::size_t end = 0;
  };

  Entries begin_map();
  bool seek(Entries& entries, std::string_view name);
  void end_map(const Entries& entries);
  std::size_t begin_array();
  bool is_nil();
  bool boolean();
  std::uint64_t natural();
  std::int64_t integer();
  double real();
  std::string_view text();
  int descriptor();
  int number();
  SharedFd shared(int fd);
  std::uint64_t take(std::uint8_t tag, int n_bytes);
  void skip();
  bool has(std::size_t n_bytes) const { return n_bytes <= bytes_.size() - at_; }

  std::string_view bytes_;
  std::size_t at_ = 0;
  const bool is_strict_;
  std::string problem_;
  Adopt adopt_;
  std::map<int, Fd> owned_;
  std::map<int, Fd> numbers_;  // loaded, but not given away yet
  std::map<int, SharedFd> shared_;
};

template <class T>
void Saver::value(const T& value) {
  if constexpr (std::is_same_v<T, bool>) {
    boolean(value);
  } else if constexpr (std::is_enum_v<T>) {
    natural(static_cast<std::uint64_t>(value));
  } else if constexpr (std::is_integral_v<T>) {
    if constexpr (std::is_signed_v<T>)
      integer(value);
    else
      natural(value);
  } else if constexpr (std::is_floating_point_v<T>) {
    real(value);
  } else if constexpr (std::is_same_v<T, std::string>) {
    text(value);
  } else if constexpr (std::is_same_v<T, TimePoint>) {
    integer(value.time_since_epoch().count());
  } else if constexpr (Duration<T>) {
    integer(value.count());
  } else if constexpr (std::is_same_v<T, Number>) {
    descriptor(value.fd);
  } else if constexpr (std::is_same_v<T, SharedFd>) {
    descriptor(value == nullptr ? -1 : value->get());
  } else if constexpr (requires { value.has_value(); }) {
    value ? this->value(*value) : nil();
  } else if constexpr (requires { value.first, value.second; }) {
    begin_array(2);
    this->value(value.first);
    this->value(value.second);
  } else if constexpr (Message<T>) {
    text(value == T{} ? std::string() : contract::pack(value));  // without an engine there is none
  } else if constexpr (Range<const T>) {
    begin_array(static_cast<std::size_t>(std::distance(value.begin(), value.end())));
    for (const auto& item : value) this->value(item);
  } else if constexpr (requires { value.get(); }) {
    this->value(*value);
  } else {
    fields_of(*this, value);
  }
}

template <class T>
void Loader::value(T& value) {
  if (!problem_.empty()) return;
  if constexpr (std::is_same_v<T, bool>) {
    value = boolean();
  } else if constexpr (std::is_enum_v<T>) {
    value = static_cast<T>(natural());
  } else if constexpr (std::is_integral_v<T>) {
    if constexpr (std::is_signed_v<T>)
      value = static_cast<T>(integer());
    else
      value = static_cast<T>(natural());
  } else if constexpr (std::is_floating_point_v<T>) {
    value = real();
  } else if constexpr (std::is_same_v<T, std::string>) {
    value = text();
  } else if constexpr (std::is_same_v<T, TimePoint>) {
    value = TimePoint(TimePoint::duration(integer()));
  } else if constexpr (Duration<T>) {
    value = T(integer());
  } else if constexpr (std::is_same_v<T, Number>) {
    value.fd = number();
  } else if constexpr (std::is_same_v<T, SharedFd>) {
    value = shared(descriptor());
  } else if constexpr (requires { value.has_value(); }) {
    value.reset();
    if (!is_nil()) this->value(value.emplace());
  } else if constexpr (requires { value.first, value.second; }) {
    if (begin_array() != 2) return refuse("a pair is none");
    this->value(value.first);
    this->value(value.second);
  } else if constexpr (Message<T>) {
    const std::string_view body = text();
    if (body.empty()) return static_cast<void>(value = T{});
    auto message = contract::unpack<T>(std::as_bytes(std::span(body.data(), body.size())));
    if (!message) return refuse(message.error().what);
    value = *std::move(message);
  } else if constexpr (Map<T>) {
    value.clear();
    for (std::size_t n = begin_array(); n > 0 && problem_.empty(); --n) {
      std::pair<typename T::key_type, typename T::mapped_type> entry;
      this->value(entry);
      value.emplace(std::move(entry));
    }
  } else if constexpr (Range<T> && !requires { value.clear(); }) {
    if (begin_array() != value.size()) return refuse("an array has another size");
    for (auto& item : value) this->value(item);
  } else if constexpr (Range<T>) {
    value.clear();
    for (std::size_t n = begin_array(); n > 0 && problem_.empty(); --n) {
      typename T::value_type item{};
      this->value(item);
      value.insert(value.end(), std::move(item));
    }
  } else if constexpr (requires { value.get(); }) {
    value = std::make_unique<typename T::element_type>();
    this->value(*value);
  } else {
    fields_of(*this, value);
  }
}

}  // namespace hearth::broker::handover
