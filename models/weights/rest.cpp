#include "models/weights/rest.h"

namespace hearth::weights {

Result<std::uint64_t> Rest::keep_image() {
  if (image_.bytes() > 0) return std::uint64_t{0};
  const decoder::DeviceBlock& block = *weights_.block();
  TRY(decoder::DeviceBlock image, memory_.allocate_pinned(block.bytes()));
  CHECK_OK(memory_.save(image.data(), block));
  image_ = std::move(image);
  return std::uint64_t{block.bytes()};
}

Result<void> Rest::drop_image() {
  CHECK_OK(memory_.finish_fill());
  image_ = decoder::DeviceBlock();
  return {};
}

Result<void> Rest::leave() {
  if (image_.bytes() == 0) return fail(Code::kInternal, "weights cannot leave without an image");
  return memory_.evict();
}

Result<void> Rest::come_back() {
  const decoder::DeviceBlock& block = *weights_.block();
  CHECK_OK(memory_.readmit(block));
  return memory_.fill(block, image_.data(), weights_.ends());
}

}  // namespace hearth::weights
