#include "models/generate/fault.h"

#include <new>

namespace hearth::generate {

models::Fault describe_standard(std::exception_ptr exception) noexcept {
  try {
    std::rethrow_exception(exception);
  } catch (const DeviceLost& lost) {
    return {fail(lost.code(), std::string("The device is lost. ") + lost.what()), true};
  } catch (const std::bad_alloc&) {
    return {fail(Code::kOutOfMemory, "The engine ran out of memory."), false};
  } catch (const std::exception& other) {
    return {fail(Code::kInternal, other.what()), false};
  } catch (...) {
    return {fail(Code::kInternal, "An exception of unknown type ended it."), false};
  }
}

}  // namespace hearth::generate
