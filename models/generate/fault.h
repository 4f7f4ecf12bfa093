// What exceptions mean that belong to no particular library. models::describe() of each build falls
// back on this.
//
// Any thread.
#pragma once

#include <exception>
#include <stdexcept>
#include <string>

#include "models/model.h"

namespace hearth::generate {

// Thrown by a Decoder that knows its device will not work again in this process. `code`:
// worker_lost where another process will do, device_failed where the device itself is gone.
class DeviceLost : public std::runtime_error {
 public:
  explicit DeviceLost(const std::string& what, Code code = Code::kWorkerLost)
      : std::runtime_error(what), code_(code) {}
  Code code() const { return code_; }

 private:
  Code code_;
};

// DeviceLost, lack of memory, and anything else as `internal` with the exception's own words.
models::Fault describe_standard(std::exception_ptr exception) noexcept;

}  // namespace hearth::generate
