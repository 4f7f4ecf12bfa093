// What exceptions mean that belong to no particular library. models::describe() of each build falls
// back on this.
//
// Any thread.
#pragma once

#include <exception>
#include <stdexcept>

#include "models/model.h"

namespace hearth::generate {

// Thrown by a Decoder that knows its device will not work again.
class DeviceLost : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

// DeviceLost, lack of memory, and anything else as `internal` with the exception's own words.
models::Fault describe_standard(std::exception_ptr exception) noexcept;

}  // namespace hearth::generate
