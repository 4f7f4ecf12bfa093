// The nodes behind ConfigValue: one flat array, strings in one pool. Internal to files/.
//
// Not a tree of nlohmann values, because a hostile file could make those cost far more memory than
// its own bytes: here every value is one node, and their number is capped.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace hearth::files {

class JsonDocument {
 public:
  static constexpr std::uint32_t kNone = ~std::uint32_t{0};
  enum class Kind : std::uint8_t { kNull, kBoolean, kInteger, kNumber, kString, kArray, kObject };

  struct Node {
    Kind kind = Kind::kNull;
    std::uint32_t parent = kNone;
    std::uint32_t next = kNone;   // following sibling
    std::uint32_t first = kNone;  // first child
    std::uint32_t last = kNone;   // last child, to append to
    std::uint32_t children = 0;
    std::uint32_t key_begin = 0;  // into `pool`
    std::uint32_t key_bytes = 0;
    union {
      bool boolean;
      std::int64_t integer;
      double number;
      struct {
        std::uint32_t begin, bytes;  // into `pool`
      } string;
    };
    Node() : integer(0) {}
  };

  std::string_view key(const Node& node) const { return slice(node.key_begin, node.key_bytes); }
  std::string_view string(const Node& node) const {
    return slice(node.string.begin, node.string.bytes);
  }

  std::string file;  // for messages
  std::vector<Node> nodes;
  std::string pool;

 private:
  std::string_view slice(std::uint32_t begin, std::uint32_t bytes) const {
    return std::string_view(pool).substr(begin, bytes);
  }
};

}  // namespace hearth::files
