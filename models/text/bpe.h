// Byte pair encoding of one word: the pair of lowest rank merges first, the leftmost among equals.
// Internal to text/.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "models/text/vocabulary.h"
#include "shm/base/result.h"

namespace hearth::text {

class Bpe {
 public:
  // Errors: bad_model when a byte has no entry, or a merge names entries that are not there.
  static Result<Bpe> build(const Vocabulary& vocabulary);

  // Appends the ids of `word`, any bytes. n log n in its length.
  void encode(std::string_view word, std::vector<std::int32_t>& ids) const;

 private:
  struct Merge {
    std::int32_t rank = 0;
    std::int32_t id = 0;
  };
  const Merge* merge_of(std::int32_t left, std::int32_t right) const;
  Result<void> add_merges(const Vocabulary& vocabulary);

  std::array<std::int32_t, 256> byte_ids_{};
  std::unordered_map<std::uint64_t, Merge> merges_;            // by (left, right)
  std::unordered_map<std::string, std::int32_t> whole_words_;  // only when merges may be ignored
};

}  // namespace hearth::text
