#include "models/weights/rest.h"

#include <algorithm>

namespace hearth::weights {

std::uint64_t Rest::image_bytes() const {
  return image_.empty() ? 0 : weights_.block()->bytes();
}

Result<std::uint64_t> Rest::keep_image() {
  if (!image_.empty()) return std::uint64_t{0};
  const decoder::DeviceBlock& block = *weights_.block();
  std::vector<decoder::DeviceBlock> image;
  for (std::size_t first = 0; first < block.bytes();) {
    const std::size_t bytes = std::min(memory_.image_piece_bytes(), block.bytes() - first);
    TRY(decoder::DeviceBlock piece, memory_.allocate_pinned(bytes));
    CHECK_OK(memory_.save(piece.data(), block.as<const std::byte>() + first, bytes));
    image.push_back(std::move(piece));
    first += bytes;
  }
  image_ = std::move(image);
  return std::uint64_t{block.bytes()};
}

Result<void> Rest::drop_image() {
  CHECK_OK(memory_.finish_fill());
  image_.clear();
  return {};
}

Result<void> Rest::leave() {
  if (image_.empty()) return fail(Code::kInternal, "weights cannot leave without an image");
  return memory_.evict();
}

Result<void> Rest::come_back() {
  const decoder::DeviceBlock& block = *weights_.block();
  CHECK_OK(memory_.readmit(block));
  return memory_.fill(block, image_, weights_.ends());
}

}  // namespace hearth::weights
