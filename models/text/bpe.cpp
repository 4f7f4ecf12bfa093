#include "models/text/bpe.h"

#include <algorithm>
#include <queue>

#include <fmt/format.h>

#include "models/files/model_file.h"
#include "models/text/bytes.h"

namespace hearth::text {
namespace {

std::uint64_t pair_key(std::int32_t left, std::int32_t right) {
  return (static_cast<std::uint64_t>(static_cast<std::uint32_t>(left)) << 32) |
         static_cast<std::uint32_t>(right);
}

// A part of the word, linked to its neighbours so that merging costs no moving.
struct Symbol {
  std::int32_t id = 0;  // -1: merged into its left neighbour
  std::int32_t left = -1;
  std::int32_t right = -1;
};

// A pair that could merge when it was queued; stale once one of its sides has changed.
struct Candidate {
  std::int32_t rank = 0;
  std::int32_t left = 0;  // index of the left symbol
  std::int32_t id = 0;    // what the pair becomes

  bool operator<(const Candidate& other) const {  // the top of a queue is its greatest
    return rank != other.rank ? rank > other.rank : left > other.left;
  }
};

}  // namespace

Result<Bpe> Bpe::build(const Vocabulary& vocabulary) {
  Bpe bpe;
  for (int byte = 0; byte < 256; ++byte) {
    const auto entry = vocabulary.ids.find(byte_alphabet()[byte]);
    if (entry == vocabulary.ids.end())
      return fail(Code::kBadModel,
                  fmt::format("The tokenizer's vocabulary has no entry for byte {:#04x}.", byte));
    bpe.byte_ids_[byte] = entry->second;
  }
  CHECK_OK(bpe.add_merges(vocabulary));
  if (!vocabulary.ignore_merges) return bpe;
  for (const auto& [written, id] : vocabulary.ids)
    if (auto bytes = bytes_of_written(written)) bpe.whole_words_.emplace(*std::move(bytes), id);
  return bpe;
}

Result<void> Bpe::add_merges(const Vocabulary& vocabulary) {
  const auto id_of = [&](const std::string& written) {
    const auto entry = vocabulary.ids.find(written);
    return entry == vocabulary.ids.end() ? -1 : entry->second;
  };
  merges_.reserve(vocabulary.merges.size());
  std::int32_t rank = 0;
  for (const auto& [left, right] : vocabulary.merges) {
    const auto left_id = id_of(left), right_id = id_of(right), id = id_of(left + right);
    if (left_id < 0 || right_id < 0 || id < 0)
      return fail(Code::kBadModel,
                  fmt::format("The tokenizer's merge {}, \"{} {}\", is not of its vocabulary.",
                              rank, files::shortened(left), files::shortened(right)));
    merges_[pair_key(left_id, right_id)] = {rank++, id};
  }
  return {};
}

const Bpe::Merge* Bpe::merge_of(std::int32_t left, std::int32_t right) const {
  const auto place = merges_.find(pair_key(left, right));
  return place == merges_.end() ? nullptr : &place->second;
}

void Bpe::encode(std::string_view word, std::vector<std::int32_t>& ids) const {
  if (!whole_words_.empty())
    if (const auto whole = whole_words_.find(std::string(word)); whole != whole_words_.end()) {
      ids.push_back(whole->second);
      return;
    }
  std::vector<Symbol> symbols(word.size());
  std::vector<Candidate> storage;
  storage.reserve(word.size());
  std::priority_queue<Candidate> queue({}, std::move(storage));
  const auto consider = [&](std::int32_t left) {
    if (left < 0 || symbols[left].right < 0) return;
    if (const auto* merge = merge_of(symbols[left].id, symbols[symbols[left].right].id))
      queue.push({merge->rank, left, merge->id});
  };

  const auto count = static_cast<std::int32_t>(word.size());
  for (std::int32_t i = 0; i < count; ++i)
    symbols[i] = {byte_ids_[static_cast<std::uint8_t>(word[i])], i - 1, i + 1 < count ? i + 1 : -1};
  for (std::int32_t i = 0; i < count; ++i) consider(i);

  while (!queue.empty()) {
    const auto best = queue.top();
    queue.pop();
    auto& left = symbols[best.left];
    if (left.id < 0 || left.right < 0) continue;
    const auto* merge = merge_of(left.id, symbols[left.right].id);
    if (!merge || merge->id != best.id) continue;
    auto& right = symbols[left.right];
    left.id = best.id;
    right.id = -1;
    left.right = right.right;
    if (left.right >= 0) symbols[left.right].left = best.left;
    consider(left.left);
    consider(best.left);
  }
  for (std::int32_t i = 0; i >= 0 && i < count; i = symbols[i].right) ids.push_back(symbols[i].id);
}

}  // namespace hearth::text
