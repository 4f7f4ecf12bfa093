// Model files that exist in memory only.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <utility>

#include <sys/mman.h>
#include <unistd.h>

#include "models/model.h"

namespace hearth::models {

inline Fd memory_file(std::string_view content) {
  Fd fd(::memfd_create("model-file", MFD_CLOEXEC));
  if (::write(fd.get(), content.data(), content.size()) != static_cast<ssize_t>(content.size()))
    return Fd();
  return fd;
}

inline ModelFile file_with(std::string label, std::string_view content) {
  return {std::move(label), std::make_shared<const Fd>(memory_file(content))};
}

}  // namespace hearth::models
