#include "models/language/positions.h"

#include <algorithm>

namespace hearth::language {
namespace {

class Placer {
 public:
  explicit Placer(std::int32_t tokens)
      : tokens_(static_cast<std::size_t>(tokens)), ids_(3 * tokens_) {}

  void text_until(std::int32_t end) {
    while (next_ < static_cast<std::size_t>(end)) {
      place(position_, position_, position_);
      ++position_;
    }
  }

  void picture(const PlacedPicture& picture) {
    for (const std::int32_t time : picture.times)
      for (std::int32_t row = 0; row < picture.height; ++row)
        for (std::int32_t column = 0; column < picture.width; ++column)
          place(position_ + time, position_ + row, position_ + column);
    position_ += std::max({picture.height, picture.width, picture.times.back() + 1});
  }

  Positions finish() && {
    return {std::move(ids_), position_ - static_cast<std::int32_t>(tokens_)};
  }

 private:
  void place(std::int32_t time, std::int32_t height, std::int32_t width) {
    ids_[next_] = time;
    ids_[tokens_ + next_] = height;
    ids_[2 * tokens_ + next_] = width;
    ++next_;
  }

  std::size_t tokens_;
  std::vector<std::int32_t> ids_;
  std::size_t next_ = 0;
  std::int32_t position_ = 0;
};

}  // namespace

Positions place_tokens(std::int32_t tokens, std::span<const PlacedPicture> pictures) {
  Placer placer(tokens);
  for (const PlacedPicture& picture : pictures) {
    placer.text_until(picture.span.first);
    placer.picture(picture);
  }
  placer.text_until(tokens);
  return std::move(placer).finish();
}

}  // namespace hearth::language
