// A tokenizer's tokens as tries over their bytes, so that one walk decides all of them.
//
// Tokens that are plain text, characters that stand in a JSON string as they are, are kept apart,
// in tries by their number of characters: where any such text may follow, they need no walk.
//
// Ownership: owns everything; shared by all grammars of a tokenizer. Immutable; any thread.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "shm/base/result.h"

namespace hearth::grammar {

// Words of a mask: token t is bit t % 32 of word t / 32.
constexpr std::size_t mask_words(std::size_t tokens) {
  return (tokens + 31) / 32;
}

// A trie in depth-first order. One entry a node; a second token of equal bytes has a node of its
// own beside the first, without children.
struct TokenTrie {
  struct Node {
    std::uint32_t skip = 0;   // index of the first node that is not below this one
    std::int32_t token = -1;  // that ends here
    std::uint16_t depth = 0;  // bytes before this node's
    std::uint8_t byte = 0;
  };
  std::vector<Node> nodes;
  std::vector<std::uint32_t> mask;  // [mask_words], all tokens of the trie
};

class Vocabulary {
 public:
  static constexpr std::size_t kMaxTokenBytes = 1024;
  static constexpr std::size_t kMaxTokens = 1 << 20;

  // `bytes` of each id, empty for what must never be sampled: special tokens, padding rows.
  // Errors: bad_model for too many or too long tokens.
  static Result<std::shared_ptr<const Vocabulary>> build(std::vector<std::string> bytes);

  std::size_t size() const { return tokens_.size(); }
  std::string_view bytes_of(std::int32_t token) const;  // empty for an unknown id

  struct PlainTrie {
    TokenTrie trie;
    std::uint32_t most_characters = 0;  // of a token in it
  };
  const TokenTrie& other() const { return other_; }            // tokens that are not plain text
  std::span<const PlainTrie> plain() const { return plain_; }  // by rising most_characters

 private:
  std::vector<std::string> tokens_;
  TokenTrie other_;
  std::vector<PlainTrie> plain_;
};

}  // namespace hearth::grammar
