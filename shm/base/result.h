// Success or a coded error, as a value.
//
// Errors are values everywhere; exceptions come only from libraries and are caught at the border to
// them. `what` says what happened, with values; `hint` says what the user can do. Both reach the
// node, so both are sentences for people.
#pragma once

#include <cassert>
#include <string>
#include <utility>
#include <variant>

#include "shm/base/code.h"

namespace hearth {

struct Error {
  Code code = Code::kInternal;
  std::string what;
  std::string hint;  // empty: the code's own hint is shown
};

inline Error fail(Code code, std::string what, std::string hint = {}) {
  return Error{code, std::move(what), std::move(hint)};
}

template <class T>
class [[nodiscard]] Result {
 public:
  Result(T value) : state_(std::in_place_index<0>, std::move(value)) {}      // NOLINT: implicit
  Result(Error error) : state_(std::in_place_index<1>, std::move(error)) {}  // NOLINT: implicit

  explicit operator bool() const { return state_.index() == 0; }
  T& operator*() & { return value(); }
  const T& operator*() const& { return value(); }
  T&& operator*() && { return std::move(value()); }
  T* operator->() { return &value(); }
  const T* operator->() const { return &value(); }

  const Error& error() const& {
    assert(state_.index() == 1);
    return *std::get_if<1>(&state_);
  }
  Error&& error() && {
    assert(state_.index() == 1);
    return std::move(*std::get_if<1>(&state_));
  }

 private:
  T& value() {
    assert(state_.index() == 0);
    return *std::get_if<0>(&state_);
  }
  const T& value() const {
    assert(state_.index() == 0);
    return *std::get_if<0>(&state_);
  }
  std::variant<T, Error> state_;
};

template <>
class [[nodiscard]] Result<void> {
 public:
  Result() = default;
  Result(Error error) : error_(std::move(error)), ok_(false) {}  // NOLINT: implicit

  explicit operator bool() const { return ok_; }
  const Error& error() const& {
    assert(!ok_);
    return error_;
  }
  Error&& error() && {
    assert(!ok_);
    return std::move(error_);
  }

 private:
  Error error_;
  bool ok_ = true;
};

}  // namespace hearth

#define HEARTH_JOIN_(a, b) a##b
#define HEARTH_JOIN(a, b) HEARTH_JOIN_(a, b)
#define HEARTH_TRY_(result, declaration, expression) \
  auto result = (expression);                        \
  if (!result) return std::move(result).error();     \
  declaration = *std::move(result)

// TRY(auto header, read_header(file)); declares `header`, or returns the error.
#define TRY(declaration, expression) \
  HEARTH_TRY_(HEARTH_JOIN(result_, __LINE__), declaration, expression)

// CHECK_OK(write(...)); for Result<void>.
#define CHECK_OK(expression)                                                                  \
  do {                                                                                        \
    if (auto result_void = (expression); !result_void) return std::move(result_void).error(); \
  } while (false)
