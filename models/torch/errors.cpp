// models::describe() of a build with libtorch: the one place that knows torch's exceptions.
//
// CUDA's errors are told by their number. Errors of the libraries above CUDA (cuBLAS, cuDNN) have
// none here: whether the device survived them, its next use says.

#include <string_view>

#include <c10/util/Exception.h>
#include <fmt/format.h>

#include "models/generate/fault.h"
#include "models/kernels/fault_class.h"
#include "models/model.h"

namespace hearth::models {
namespace {

Error lost(Code code, const std::string& what) {
  return fail(code, "The device is lost. " + what);
}

Fault describe_cuda(int number, const std::string& what) {
  using kernels::FaultClass;
  switch (kernels::fault_class(number)) {
    case FaultClass::kOutOfMemory:
      return {fail(Code::kOutOfMemory, what), false};
    case FaultClass::kSticky:
      return {lost(Code::kWorkerLost, what), true};
    case FaultClass::kDeviceLost:
      return {lost(Code::kDeviceFailed, what), true};
    case FaultClass::kTransient:
      return {fail(Code::kBusy, what), false};
    case FaultClass::kProgram:
      break;
  }
  return {fail(Code::kInternal, fmt::format("{} (CUDA error {})", what, number)), false};
}

// The CPU's allocator has neither a type nor a number for lack of memory: only these words.
bool is_cpu_out_of_memory(std::string_view what) {
  return what.find("DefaultCPUAllocator: ") != std::string_view::npos;
}

}  // namespace

Fault describe(std::exception_ptr exception) noexcept {
  try {
    std::rethrow_exception(exception);
  } catch (const c10::OutOfMemoryError& error) {
    return {fail(Code::kOutOfMemory, error.what_without_backtrace()), false};
  } catch (const c10::AcceleratorError& error) {
    return describe_cuda(error.get_error_code(), error.what_without_backtrace());
  } catch (const c10::Error& error) {
    const std::string what = error.what_without_backtrace();
    return {fail(is_cpu_out_of_memory(what) ? Code::kOutOfMemory : Code::kInternal, what), false};
  } catch (...) {
    return generate::describe_standard(exception);
  }
}

}  // namespace hearth::models
