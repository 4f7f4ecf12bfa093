// models::describe() of a build with libtorch: the one place that knows torch's exceptions.

#include <string_view>

#include <c10/util/Exception.h>

#include "models/generate/fault.h"
#include "models/model.h"

namespace hearth::models {
namespace {

bool contains(std::string_view text, std::string_view part) {
  return text.find(part) != std::string_view::npos;
}

// The CPU allocator reports lack of memory as a plain c10::Error.
bool is_out_of_memory(std::string_view what) {
  return contains(what, "out of memory") || contains(what, "can't allocate memory");
}

// After these a CUDA context answers every further call with the same error.
bool is_device_lost(std::string_view what) {
  constexpr std::string_view kSticky[] = {"illegal memory access",      "device-side assert",
                                          "unspecified launch failure", "misaligned address",
                                          "illegal instruction",        "uncorrectable ECC",
                                          "an illegal address",         "hardware stack error"};
  if (!contains(what, "CUDA")) return false;
  for (const std::string_view sign : kSticky)
    if (contains(what, sign)) return true;
  return false;
}

Fault describe_torch(const c10::Error& error) {
  const std::string what = error.what_without_backtrace();
  if (is_out_of_memory(what)) return {fail(Code::kOutOfMemory, what), false};
  if (is_device_lost(what)) return {fail(Code::kWorkerLost, "the device is lost: " + what), true};
  return {fail(Code::kInternal, what), false};
}

}  // namespace

Fault describe(std::exception_ptr exception) noexcept {
  try {
    std::rethrow_exception(exception);
  } catch (const c10::Error& error) {
    return describe_torch(error);
  } catch (...) {
    return generate::describe_standard(exception);
  }
}

}  // namespace hearth::models
