// Finds added tokens ("<|im_start|>") in a text: the leftmost, and there the longest. Internal to
// text/.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <string_view>
#include <vector>

#include "shm/base/result.h"

namespace hearth::text {

class AddedTokens {
 public:
  AddedTokens() : nodes_(1) {}

  void add(std::string_view token, std::int32_t id);

  // Calls `piece` for every part of `text` in order: text between tokens (without an id), and
  // tokens. A token for which `is_text` holds stays part of the text around it. Ends early with the
  // error that `piece` returns.
  using IsText = std::function<bool(std::int32_t id)>;
  using Piece = std::function<Result<void>(std::string_view, std::optional<std::int32_t> id)>;
  Result<void> split(std::string_view text, const IsText& is_text, const Piece& piece) const;

 private:
  struct Node {
    std::map<char, std::uint32_t> next;
    std::int32_t id = -1;
  };
  struct Match {
    std::size_t bytes = 0;  // 0: none
    std::int32_t id = -1;
  };
  Match longest_at(std::string_view text) const;

  std::vector<Node> nodes_;  // a trie; the first one is the root
};

}  // namespace hearth::text
