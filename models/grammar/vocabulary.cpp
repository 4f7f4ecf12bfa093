#include "models/grammar/vocabulary.h"

#include <algorithm>
#include <optional>

#include <fmt/format.h>

#include "models/grammar/code_points.h"

namespace hearth::grammar {
namespace {

// Characters in the plain tries: few enough tries to look at, fine enough for a short maxLength.
constexpr std::uint32_t kPlainLimits[] = {2, 4, 8, 16, 64, Vocabulary::kMaxTokenBytes};

// Characters of a token that is plain text.
std::optional<std::uint32_t> plain_characters(std::string_view bytes) {
  std::uint32_t count = 0;
  char32_t point = 0;
  for (std::size_t position = 0; position < bytes.size(); ++count)
    if (!next_code_point(bytes, position, point) || !plain_in_json().contains(point))
      return std::nullopt;
  return count;
}

// `ids` sorted by their bytes.
TokenTrie trie_of(const std::vector<std::string>& tokens, const std::vector<std::int32_t>& ids) {
  TokenTrie trie;
  trie.mask.resize(mask_words(tokens.size()));
  std::vector<std::uint32_t> path;  // nodes from the root to the last token
  std::string_view last;
  const auto leave = [&](std::size_t depth) {
    for (; path.size() > depth; path.pop_back())
      trie.nodes[path.back()].skip = static_cast<std::uint32_t>(trie.nodes.size());
  };
  for (const auto id : ids) {
    const std::string_view bytes = tokens[static_cast<std::size_t>(id)];
    std::size_t shared = 0;
    while (shared < std::min(bytes.size(), last.size()) && bytes[shared] == last[shared]) ++shared;
    // Equal bytes: a node of its own in the place of the last byte.
    leave(shared == bytes.size() ? shared - 1 : shared);
    for (std::size_t depth = path.size(); depth < bytes.size(); ++depth) {
      path.push_back(static_cast<std::uint32_t>(trie.nodes.size()));
      trie.nodes.push_back(
          {0, -1, static_cast<std::uint16_t>(depth), static_cast<std::uint8_t>(bytes[depth])});
    }
    trie.nodes.back().token = id;
    trie.mask[static_cast<std::size_t>(id) / 32] |= 1u << (id % 32);
    last = bytes;
  }
  leave(0);
  return trie;
}

}  // namespace

Result<std::shared_ptr<const Vocabulary>> Vocabulary::build(std::vector<std::string> bytes) {
  if (bytes.size() > kMaxTokens)
    return fail(Code::kBadModel, fmt::format("The vocabulary has {} tokens; at most {} are used.",
                                             bytes.size(), kMaxTokens));
  auto vocabulary = std::make_shared<Vocabulary>();
  vocabulary->tokens_ = std::move(bytes);
  const auto& tokens = vocabulary->tokens_;

  constexpr std::size_t kTries = std::size(kPlainLimits);
  std::vector<std::int32_t> ids;
  for (std::size_t id = 0; id < tokens.size(); ++id) {
    if (tokens[id].size() > kMaxTokenBytes)
      return fail(Code::kBadModel, fmt::format("Token {} has {} bytes; at most {} are supported.",
                                               id, tokens[id].size(), kMaxTokenBytes));
    if (!tokens[id].empty()) ids.push_back(static_cast<std::int32_t>(id));
  }
  std::sort(ids.begin(), ids.end(), [&](std::int32_t a, std::int32_t b) {
    const int order =
        tokens[static_cast<std::size_t>(a)].compare(tokens[static_cast<std::size_t>(b)]);
    return order != 0 ? order < 0 : a < b;
  });

  std::array<std::vector<std::int32_t>, kTries> plain;
  std::vector<std::int32_t> other;
  for (const auto id : ids) {
    const auto characters = plain_characters(tokens[static_cast<std::size_t>(id)]);
    const auto* limit =
        std::lower_bound(std::begin(kPlainLimits), std::end(kPlainLimits), characters.value_or(0));
    (characters ? plain[static_cast<std::size_t>(limit - kPlainLimits)] : other).push_back(id);
  }
  vocabulary->other_ = trie_of(tokens, other);
  for (std::size_t i = 0; i < kTries; ++i)
    vocabulary->plain_.push_back({trie_of(tokens, plain[i]), kPlainLimits[i]});
  return std::shared_ptr<const Vocabulary>(std::move(vocabulary));
}

std::string_view Vocabulary::bytes_of(std::int32_t token) const {
  const bool known = token >= 0 && static_cast<std::size_t>(token) < tokens_.size();
  return known ? std::string_view(tokens_[static_cast<std::size_t>(token)]) : std::string_view();
}

}  // namespace hearth::grammar
