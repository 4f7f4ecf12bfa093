#include "models/generate/page_chain.h"

#include <algorithm>

namespace hearth::generate {
namespace {

// Tells a picture's token from one of text, whose unit is its id.
constexpr std::uint64_t kMediaBit = std::uint64_t{1} << 63;

}  // namespace

PageChain::PageChain(const SipKey& hash_key, std::uint32_t user, std::int32_t page_tokens)
    : hash_key_(hash_key), page_tokens_(page_tokens) {
  const std::array<std::uint64_t, 1> root = {user};
  keys_.push_back(siphash128(hash_key_, std::as_bytes(std::span(root))));
}

void PageChain::add_prompt(const TokenPrompt& prompt) {
  units_.reserve(prompt.ids.size());
  auto media = prompt.media.begin();
  for (std::int32_t at = 0; at < static_cast<std::int32_t>(prompt.ids.size()); ++at) {
    const auto id = static_cast<std::uint32_t>(prompt.ids[static_cast<std::size_t>(at)]);
    while (media != prompt.media.end() && at >= media->first + media->count) ++media;
    if (media == prompt.media.end() || at < media->first) {
      add(id);
      continue;
    }
    const auto offset = static_cast<std::uint64_t>(at - media->first);
    const std::array<std::uint64_t, 4> token = {media->content.low, media->content.high, offset,
                                                id};
    add(siphash64(hash_key_, std::as_bytes(std::span(token))) | kMediaBit);
  }
}

void PageChain::add_answer(std::span<const std::int32_t> ids) {
  for (const std::int32_t id : ids) add(static_cast<std::uint32_t>(id));
}

std::span<const std::uint64_t> PageChain::units(std::int32_t index) const {
  const std::int32_t first = index * page_tokens_;
  const std::int32_t count = std::min(page_tokens_, tokens() - first);
  return {units_.data() + first, static_cast<std::size_t>(count)};
}

void PageChain::add(std::uint64_t unit) {
  units_.push_back(unit);
  if (tokens() % page_tokens_ != 0) return;
  const std::int32_t page = whole_pages();
  std::vector<std::uint64_t> input(keys_.back().begin(), keys_.back().end());
  const auto held = units(page);
  input.insert(input.end(), held.begin(), held.end());
  keys_.push_back(siphash128(hash_key_, std::as_bytes(std::span(input))));
}

}  // namespace hearth::generate
