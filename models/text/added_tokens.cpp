#include "models/text/added_tokens.h"

#include <algorithm>

namespace hearth::text {

void AddedTokens::add(std::string_view token, std::int32_t id) {
  std::uint32_t node = 0;
  for (const char byte : token) {
    const auto fresh = static_cast<std::uint32_t>(nodes_.size());
    const auto [place, is_new] = nodes_[node].next.emplace(byte, fresh);
    node = place->second;
    if (is_new) nodes_.emplace_back();
  }
  nodes_[node].id = id;
}

AddedTokens::Match AddedTokens::longest_at(std::string_view text) const {
  Match match;
  std::uint32_t node = 0;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const auto place = nodes_[node].next.find(text[i]);
    if (place == nodes_[node].next.end()) break;
    node = place->second;
    if (nodes_[node].id >= 0) match = {i + 1, nodes_[node].id};
  }
  return match;
}

Result<void> AddedTokens::split(std::string_view text, const IsText& is_text,
                                const Piece& piece) const {
  std::size_t done = 0;
  for (std::size_t i = 0; i < text.size();) {
    const auto match = longest_at(text.substr(i));
    if (match.bytes == 0 || is_text(match.id)) {
      i += std::max<std::size_t>(match.bytes, 1);
      continue;
    }
    if (i > done) CHECK_OK(piece(text.substr(done, i - done), std::nullopt));
    CHECK_OK(piece(text.substr(i, match.bytes), match.id));
    i += match.bytes;
    done = i;
  }
  if (done < text.size()) CHECK_OK(piece(text.substr(done), std::nullopt));
  return {};
}

}  // namespace hearth::text
