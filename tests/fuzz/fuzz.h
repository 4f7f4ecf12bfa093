// What the fuzz targets share. A target is one file that defines LLVMFuzzerTestOneInput; libFuzzer
// (preset fuzz) looks for inputs that break it, replay.cpp (every sanitizer build) runs the corpus.
//
// One thread.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <utility>

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "models/model.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size);

namespace hearth::fuzz {

__extension__ typedef unsigned __int128 Wide;  // holds the product of two u64

// What must hold for every input. Ends the process otherwise, which libFuzzer takes for a crash.
inline void expect(bool holds, const char* what) {
  if (holds) return;
  std::fprintf(stderr, "This must hold for every input: %s\n", what);
  std::abort();
}

// Takes values off the front of the input; zeros when nothing is left.
class Input {
 public:
  Input(const std::uint8_t* data, std::size_t size)
      : rest_(reinterpret_cast<const char*>(data), size) {}

  bool empty() const { return rest_.empty(); }
  std::uint8_t byte() { return number<std::uint8_t>(); }
  std::uint8_t below(std::uint8_t limit) { return static_cast<std::uint8_t>(byte() % limit); }

  template <class T>
  T number() {
    T value{};
    const std::string_view raw = text(sizeof(T));
    if (!raw.empty()) std::memcpy(&value, raw.data(), raw.size());
    return value;
  }

  std::string_view text(std::size_t most) {
    const std::string_view taken = rest_.substr(0, most);
    rest_.remove_prefix(taken.size());
    return taken;
  }
  std::string_view rest() { return text(rest_.size()); }

 private:
  std::string_view rest_;
};

// One file in memory whose content changes from run to run.
class MemoryFile {
 public:
  explicit MemoryFile(std::string label)
      : file_{std::move(label), std::make_shared<const Fd>(::memfd_create("fuzz", MFD_CLOEXEC))} {}

  // `hole_bytes` zeros follow the content and take no memory.
  const models::ModelFile& with(std::string_view content, std::size_t hole_bytes = 0) {
    const int fd = file_.fd->get();
    const auto size = static_cast<off_t>(content.size() + hole_bytes);
    const bool written =
        ::ftruncate(fd, hole_bytes > 0 ? 0 : size) == 0 &&
        ::pwrite(fd, content.data(), content.size(), 0) == static_cast<ssize_t>(content.size()) &&
        (hole_bytes == 0 || ::ftruncate(fd, size) == 0);
    expect(written, "a memfd takes an input");
    return file_;
  }

 private:
  models::ModelFile file_;
};

// A folder of tests/data/qwen3_vl, without the oracle's answers.
inline models::ModelFiles fixture(const std::string& name) {
  models::ModelFiles files;
  for (const auto& entry : std::filesystem::directory_iterator(
           std::filesystem::path(HEARTH_SOURCE_DIR) / "tests" / "data" / "qwen3_vl" / name))
    if (entry.path().filename() != "oracle.safetensors")
      files.push_back({entry.path().filename().string(),
                       std::make_shared<const Fd>(::open(entry.path().c_str(), O_RDONLY))});
  expect(!files.empty(), "the fixtures are there");
  return files;
}

}  // namespace hearth::fuzz
