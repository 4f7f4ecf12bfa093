// Buffers that end where unreadable memory begins: an access behind the end is a fault, also of
// instructions that sanitizers do not watch.
#pragma once

#include <cstring>
#include <stdexcept>
#include <utility>
#include <vector>

#include <sys/mman.h>
#include <unistd.h>

#include "tests/unit/kernels_for_test.h"

namespace hearth::kernels {

// Aligned to no more than the size allows.
class GuardedMemory : public Memory {
 public:
  ~GuardedMemory() override {
    for (const auto& [base, bytes] : maps_) ::munmap(base, bytes);
  }

  void* allocate(std::size_t bytes) override {
    const auto page = static_cast<std::size_t>(::sysconf(_SC_PAGESIZE));
    const std::size_t usable = (bytes + page - 1) / page * page;
    void* base =
        ::mmap(nullptr, usable + page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (base == MAP_FAILED) throw std::runtime_error("no memory for a guarded buffer");
    maps_.emplace_back(base, usable + page);
    if (::mprotect(static_cast<char*>(base) + usable, page, PROT_NONE) != 0)
      throw std::runtime_error("a page could not be guarded");
    return static_cast<char*>(base) + usable - bytes;
  }

 private:
  std::vector<std::pair<void*, std::size_t>> maps_;
};

}  // namespace hearth::kernels
