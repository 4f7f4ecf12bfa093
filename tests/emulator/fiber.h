// A stack of its own and a place where it goes on: enough to run a function in pieces.
#pragma once

#include <cstddef>
#if !defined(__x86_64__)
#include <ucontext.h>
#endif

namespace emulator {

class Fiber {
 public:
  // The thread that calls resume(); it has no stack of its own here.
  Fiber() = default;
  // [stack, stack + bytes) outlives the fiber. `entry` must not return: it ends in a switch.
  void prepare(void* stack, std::size_t bytes, void (*entry)());

  // Leaves `from`, goes on where `to` was left.
  static void change(Fiber& from, Fiber& to);
  // First thing on a new fiber: tells AddressSanitizer that the change is done.
  static void arrived();

 private:
#if defined(__x86_64__)
  void* stack_pointer_ = nullptr;
#else
  ucontext_t context_{};
#endif
  void* stack_ = nullptr;
  std::size_t bytes_ = 0;
};

}  // namespace emulator
