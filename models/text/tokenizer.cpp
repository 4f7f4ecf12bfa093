#include "models/text/tokenizer.h"

#include <algorithm>
#include <unordered_map>

#include "models/text/added_tokens.h"
#include "models/text/bpe.h"
#include "models/text/bytes.h"
#include "models/text/pretokenizer.h"
#include "models/text/vocabulary.h"

namespace hearth::text {
namespace {

using Ids = std::vector<std::int32_t>;

// The ids of the words of one text, remembering the words it has seen: natural text repeats them.
class WordEncoder {
 public:
  WordEncoder(const Bpe& bpe, Ids& ids) : bpe_(bpe), ids_(ids) {}

  // `word` must outlive this object.
  void add(std::string_view word) {
    const auto [place, is_new] = seen_.try_emplace(word, Range{ids_.size(), 0});
    auto& [begin, count] = place->second;
    if (is_new) {
      bpe_.encode(word, ids_);
      count = ids_.size() - begin;
      return;
    }
    for (std::size_t i = 0; i < count; ++i) {
      const auto id = ids_[begin + i];  // a copy: growing may move the ids
      ids_.push_back(id);
    }
  }

 private:
  struct Range {
    std::size_t begin = 0;
    std::size_t count = 0;
  };
  const Bpe& bpe_;
  Ids& ids_;
  std::unordered_map<std::string_view, Range> seen_;  // where in ids_ a word stands already
};

class ByteLevelTokenizer final : public Tokenizer {
 public:
  static Result<std::shared_ptr<const Tokenizer>> build(const Vocabulary& vocabulary);

  Result<Ids> encode(std::string_view text, SpecialTokens special) const override;
  std::optional<std::int32_t> id_of(std::string_view added_token) const override;
  bool is_special(std::int32_t id) const override;
  std::int32_t size() const override { return static_cast<std::int32_t>(tokens_.size()); }

 protected:
  std::string_view token_bytes(std::int32_t id) const override;

 private:
  ByteLevelTokenizer(Bpe bpe, Pretokenizer pretokenizer)
      : bpe_(std::move(bpe)), pretokenizer_(std::move(pretokenizer)) {}

  void keep_tokens(const Vocabulary& vocabulary);
  void keep_added(const std::vector<AddedToken>& added, bool normalize);

  // The three steps of encode(), each calling the next for the parts it finds.
  Result<void> encode_raw(std::string_view text, SpecialTokens special, Ids& ids) const;
  Result<void> encode_part(std::string_view text, SpecialTokens special, Ids& ids) const;
  Result<void> encode_words(std::string_view text, Ids& ids) const;

  AddedTokens::IsText stays_text(SpecialTokens special) const {
    return
        [=, this](std::int32_t id) { return special == SpecialTokens::kAsText && is_special(id); };
  }

  Bpe bpe_;
  Pretokenizer pretokenizer_;
  bool normalize_ = true;
  std::vector<std::string> tokens_;  // raw bytes by id
  std::vector<bool> special_;        // by id
  std::unordered_map<std::string, std::int32_t> added_ids_;
  AddedTokens raw_added_;         // sought before normalisation
  AddedTokens normalized_added_;  // sought after it
};

Result<std::shared_ptr<const Tokenizer>> ByteLevelTokenizer::build(const Vocabulary& vocabulary) {
  TRY(auto bpe, Bpe::build(vocabulary));
  TRY(auto pretokenizer, Pretokenizer::compile(vocabulary.split_pattern));
  std::shared_ptr<ByteLevelTokenizer> tokenizer(
      new ByteLevelTokenizer(std::move(bpe), std::move(pretokenizer)));
  tokenizer->normalize_ = vocabulary.normalize;
  tokenizer->keep_tokens(vocabulary);
  tokenizer->keep_added(vocabulary.added, vocabulary.normalize);
  return std::shared_ptr<const Tokenizer>(std::move(tokenizer));
}

void ByteLevelTokenizer::keep_tokens(const Vocabulary& vocabulary) {
  std::int32_t largest = -1;
  for (const auto& [written, id] : vocabulary.ids) largest = std::max(largest, id);
  for (const auto& token : vocabulary.added) largest = std::max(largest, token.id);
  tokens_.resize(static_cast<std::size_t>(largest) + 1);
  special_.resize(tokens_.size());
  for (const auto& [written, id] : vocabulary.ids)
    tokens_[id] = bytes_of_written(written).value_or(written);
}

void ByteLevelTokenizer::keep_added(const std::vector<AddedToken>& added, bool normalize) {
  for (const auto& token : added) {
    tokens_[token.id] = token.text;
    special_[token.id] = token.special;
    added_ids_.emplace(token.text, token.id);
    if (!token.normalized) {
      raw_added_.add(token.text, token.id);
    } else {
      const auto composed = normalize ? normal_form_c(token.text) : std::nullopt;
      normalized_added_.add(composed.value_or(token.text), token.id);
    }
  }
}

Result<Ids> ByteLevelTokenizer::encode(std::string_view text, SpecialTokens special) const {
  Ids ids;
  ids.reserve(text.size() / 4);
  CHECK_OK(encode_raw(valid_utf8(text), special, ids));
  return ids;
}

Result<void> ByteLevelTokenizer::encode_raw(std::string_view text, SpecialTokens special,
                                            Ids& ids) const {
  const auto encode_piece = [&](std::string_view piece, std::optional<std::int32_t> id) {
    if (!id) return encode_part(piece, special, ids);
    ids.push_back(*id);
    return Result<void>();
  };
  return raw_added_.split(text, stays_text(special), encode_piece);
}

Result<void> ByteLevelTokenizer::encode_part(std::string_view text, SpecialTokens special,
                                             Ids& ids) const {
  const auto composed = normalize_ ? normal_form_c(text) : std::string(text);
  if (!composed)
    return fail(Code::kBadRequest, "A text puts more than 1024 combining marks on one character.",
                "Remove the surplus marks.");
  const auto encode_piece = [&](std::string_view piece, std::optional<std::int32_t> id) {
    if (!id) return encode_words(piece, ids);
    ids.push_back(*id);
    return Result<void>();
  };
  return normalized_added_.split(*composed, stays_text(special), encode_piece);
}

Result<void> ByteLevelTokenizer::encode_words(std::string_view text, Ids& ids) const {
  WordEncoder words(bpe_, ids);
  return pretokenizer_.split(text, [&](std::string_view word) { words.add(word); });
}

std::optional<std::int32_t> ByteLevelTokenizer::id_of(std::string_view added_token) const {
  const auto entry = added_ids_.find(std::string(added_token));
  if (entry == added_ids_.end()) return std::nullopt;
  return entry->second;
}

bool ByteLevelTokenizer::is_special(std::int32_t id) const {
  return id >= 0 && id < size() && special_[id];
}

std::string_view ByteLevelTokenizer::token_bytes(std::int32_t id) const {
  return id >= 0 && id < size() ? std::string_view(tokens_[id]) : std::string_view();
}

}  // namespace

Result<std::shared_ptr<const Tokenizer>> Tokenizer::load(const models::ModelFiles& files) {
  TRY(const auto vocabulary, read_vocabulary(files));
  return ByteLevelTokenizer::build(vocabulary);
}

std::string Tokenizer::bytes_of(std::int32_t id) const {
  return is_special(id) ? std::string() : std::string(token_bytes(id));
}

std::string Tokenizer::decode(std::span<const std::int32_t> ids, bool skip_special) const {
  std::string bytes;
  for (const auto id : ids)
    if (!skip_special || !is_special(id)) bytes += token_bytes(id);
  return valid_utf8(bytes);
}

}  // namespace hearth::text
