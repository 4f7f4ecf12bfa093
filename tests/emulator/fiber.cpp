#include "tests/emulator/fiber.h"

#include <cstdint>

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
#endif

#if defined(__x86_64__)
// swapcontext() asks the kernel for the signal mask every time: 270 ns; this takes 3.
asm(R"(
.text
.globl emulator_change_stack
.type emulator_change_stack, @function
emulator_change_stack:
  pushq %rbp
  pushq %rbx
  pushq %r12
  pushq %r13
  pushq %r14
  pushq %r15
  movq %rsp, (%rdi)
  movq %rsi, %rsp
  popq %r15
  popq %r14
  popq %r13
  popq %r12
  popq %rbx
  popq %rbp
  ret
.size emulator_change_stack, .-emulator_change_stack
)");
extern "C" void emulator_change_stack(void** save, void* next);
#endif

namespace emulator {

#if defined(__x86_64__)

void Fiber::prepare(void* stack, std::size_t bytes, void (*entry)()) {
  stack_ = stack;
  bytes_ = bytes;
#if defined(__SANITIZE_ADDRESS__)
  __asan_unpoison_memory_region(stack, bytes);  // frames of its last run
#endif
  // What change() pops: six registers, then the entry; above them a word, so that the entry finds
  // the alignment of a function that was called.
  auto** top = reinterpret_cast<void**>(static_cast<char*>(stack) + bytes);
  *--top = nullptr;
  *--top = reinterpret_cast<void*>(entry);
  for (int i = 0; i < 6; ++i) *--top = nullptr;
  stack_pointer_ = top;
}

#else

void Fiber::prepare(void* stack, std::size_t bytes, void (*entry)()) {
  stack_ = stack;
  bytes_ = bytes;
#if defined(__SANITIZE_ADDRESS__)
  __asan_unpoison_memory_region(stack, bytes);  // frames of its last run
#endif
  getcontext(&context_);
  context_.uc_stack.ss_sp = stack;
  context_.uc_stack.ss_size = bytes;
  context_.uc_link = nullptr;
  makecontext(&context_, entry, 0);
}

#endif

namespace {
#if defined(__SANITIZE_ADDRESS__)
const void* left_stack = nullptr;  // of the thread that runs the launch, learnt at the first change
std::size_t left_bytes = 0;
#endif
}  // namespace

void Fiber::arrived() {
#if defined(__SANITIZE_ADDRESS__)
  const void* stack = nullptr;
  std::size_t bytes = 0;
  __sanitizer_finish_switch_fiber(nullptr, &stack, &bytes);
  if (left_stack == nullptr) {
    left_stack = stack;
    left_bytes = bytes;
  }
#endif
}

void Fiber::change(Fiber& from, Fiber& to) {
#if defined(__SANITIZE_ADDRESS__)
  void* fake_stack = nullptr;
  const bool own = to.stack_ != nullptr;
  __sanitizer_start_switch_fiber(&fake_stack, own ? to.stack_ : left_stack,
                                 own ? to.bytes_ : left_bytes);
#endif
#if defined(__x86_64__)
  emulator_change_stack(&from.stack_pointer_, to.stack_pointer_);
#else
  swapcontext(&from.context_, &to.context_);
#endif
#if defined(__SANITIZE_ADDRESS__)
  __sanitizer_finish_switch_fiber(fake_stack, nullptr, nullptr);
#endif
}

}  // namespace emulator
