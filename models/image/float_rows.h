// Memory for patch rows: a 4K picture makes 200 MB of them.
#pragma once

#include <cstddef>
#include <cstdlib>
#include <memory>

namespace hearth::image {

// Owns floats that begin unset, in huge pages where there are many: clearing them, or faulting them
// in by small pages, would each take as long as the writing itself.
class FloatRows {
 public:
  FloatRows() = default;
  explicit FloatRows(std::size_t floats);

  float* data() { return floats_.get(); }
  const float* data() const { return floats_.get(); }
  std::size_t size() const { return size_; }
  const float* begin() const { return data(); }
  const float* end() const { return data() + size_; }
  float operator[](std::size_t i) const { return data()[i]; }

 private:
  struct Free {
    void operator()(float* floats) const { std::free(floats); }
  };
  std::unique_ptr<float[], Free> floats_;
  std::size_t size_ = 0;
};

}  // namespace hearth::image
