#include "models/text/vocabulary.h"

#include <algorithm>
#include <optional>

#include <fmt/format.h>

#include "models/files/config.h"
#include "models/files/model_file.h"
#include "models/text/pretokenizer.h"

namespace hearth::text {
namespace {

using files::ConfigValue;
using files::JsonLimits;

constexpr JsonLimits kVocabularyLimits{
    .max_bytes = std::size_t{64} << 20, .max_depth = 16, .max_values = 3'000'000};
constexpr std::size_t kMaxMergesBytes = std::size_t{32} << 20;
constexpr std::size_t kMaxMerges = 1'000'000;
constexpr std::size_t kMaxAddedTokens = 16'384;
constexpr std::size_t kMaxAddedTokenBytes = 256;
constexpr std::int64_t kMaxId = (1 << 20) - 1;

// GPT-2's own way of cutting, which a ByteLevel pre-tokenizer has built in.
constexpr std::string_view kGpt2Split =
    R"('(?:[sdmt]|ll|ve|re)| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+)";

Error not_read(const ConfigValue& value, std::string_view what) {
  return fail(Code::kUnsupported, fmt::format("{} {}.", value.path(), what),
              "hearth reads byte-level BPE tokenizers as Qwen's models bring them.");
}

Result<void> read_entries(const ConfigValue& vocab, Vocabulary& vocabulary) {
  if (!vocab.is_object()) return vocab.error("must map entries to ids");
  vocabulary.ids.reserve(vocab.size());
  for (auto item = vocab.first(); item.exists(); item = item.next()) {
    TRY(const auto id, item.integer(0, kMaxId));
    if (!vocabulary.ids.emplace(item.key(), static_cast<std::int32_t>(id)).second)
      return item.error("stands there twice");
  }
  return {};
}

Result<void> add_merge(std::string_view line, std::string_view where, Vocabulary& vocabulary) {
  const auto space = line.find(' ');
  if (space == std::string_view::npos || line.find(' ', space + 1) != std::string_view::npos)
    return fail(Code::kBadModel, fmt::format("{}: \"{}\" must be two entries with a space between.",
                                             where, files::shortened(line)));
  vocabulary.merges.emplace_back(line.substr(0, space), line.substr(space + 1));
  return {};
}

// ["Ġ", "t"] in newer files, "Ġ t" in older ones.
Result<void> read_merge(const ConfigValue& item, Vocabulary& vocabulary) {
  if (item.is_string()) {
    TRY(const auto line, item.text());
    if (auto added = add_merge(line, "tokenizer.json", vocabulary); !added)
      return item.error("must be two entries with a space between");
    return {};
  }
  if (item.size() != 2) return item.error("must be two entries");
  TRY(const auto left, item.first().text());
  TRY(const auto right, item.first().next().text());
  vocabulary.merges.emplace_back(left, right);
  return {};
}

Result<void> read_merges(const ConfigValue& merges, Vocabulary& vocabulary) {
  if (!merges.is_array()) return merges.error("must be a list of pairs");
  vocabulary.merges.reserve(merges.size());
  for (auto item = merges.first(); item.exists(); item = item.next())
    CHECK_OK(read_merge(item, vocabulary));
  return {};
}

Result<AddedToken> read_added_token(const ConfigValue& item, std::int64_t id) {
  AddedToken token;
  token.id = static_cast<std::int32_t>(id);
  TRY(token.text, item["content"].text());
  TRY(token.special, item["special"].boolean_or(false));
  TRY(token.normalized, item["normalized"].boolean_or(!token.special));
  if (token.text.empty() || token.text.size() > kMaxAddedTokenBytes)
    return item["content"].error(fmt::format("must have 1 to {} bytes", kMaxAddedTokenBytes));
  for (const auto* flag : {"lstrip", "rstrip", "single_word"}) {
    TRY(const bool set, item[flag].boolean_or(false));
    if (set) return not_read(item[flag], "is true, which hearth does not do");
  }
  return token;
}

// The same token may stand in both files; the first one counts.
Result<void> add_token(const ConfigValue& item, AddedToken token, Vocabulary& vocabulary) {
  const auto known = std::find_if(vocabulary.added.begin(), vocabulary.added.end(),
                                  [&](const auto& other) { return other.text == token.text; });
  if (known != vocabulary.added.end()) {
    if (known->id != token.id)
      return item.error(fmt::format("is id {} here and {} elsewhere", token.id, known->id));
    return {};
  }
  if (vocabulary.added.size() >= kMaxAddedTokens)
    return item.error(fmt::format("is one of more than {} added tokens", kMaxAddedTokens));
  vocabulary.added.push_back(std::move(token));
  return {};
}

Result<void> read_added_tokens(const ConfigValue& list, Vocabulary& vocabulary) {
  if (!list) return {};
  if (!list.is_array()) return list.error("must be a list of tokens");
  // Told by the length alone: an element's path, for what it lacks, is counted from the first.
  if (list.size() > kMaxAddedTokens)
    return list.error(fmt::format("has more than {} added tokens", kMaxAddedTokens));
  for (auto item = list.first(); item.exists(); item = item.next()) {
    TRY(const auto id, item["id"].integer(0, kMaxId));
    TRY(auto token, read_added_token(item, id));
    CHECK_OK(add_token(item, std::move(token), vocabulary));
  }
  return {};
}

std::optional<std::int64_t> parse_id(std::string_view digits) {
  if (digits.empty() || digits.size() > 7) return std::nullopt;
  std::int64_t id = 0;
  for (const char digit : digits) {
    if (digit < '0' || digit > '9') return std::nullopt;
    id = id * 10 + (digit - '0');
  }
  return id <= kMaxId ? std::optional(id) : std::nullopt;
}

// "151644": {"content": "<|im_start|>", ...}
Result<void> read_added_tokens_decoder(const ConfigValue& decoder, Vocabulary& vocabulary) {
  for (auto item = decoder.first(); item.exists(); item = item.next()) {
    const auto id = parse_id(item.key());
    if (!id) return item.error("must have a token's id as its key");
    TRY(auto token, read_added_token(item, *id));
    CHECK_OK(add_token(item, std::move(token), vocabulary));
  }
  return {};
}

// A list of steps for a step or a Sequence of them.
std::vector<ConfigValue> steps_of(const ConfigValue& step, std::string_view list_key) {
  if (!step) return {};
  const auto type = step["type"].text_or("");
  if (!type || *type != "Sequence") return {step};
  std::vector<ConfigValue> steps;
  for (auto item = step[list_key].first(); item.exists(); item = item.next()) steps.push_back(item);
  return steps;
}

Result<void> read_normalizer(const ConfigValue& normalizer, Vocabulary& vocabulary) {
  vocabulary.normalize = false;
  for (const auto& step : steps_of(normalizer, "normalizers")) {
    TRY(const auto type, step["type"].text());
    if (type != "NFC") return not_read(step, "is a normalizer that hearth does not know");
    vocabulary.normalize = true;
  }
  return {};
}

Result<void> read_byte_level(const ConfigValue& step, Vocabulary& vocabulary) {
  TRY(const bool prefix_space, step["add_prefix_space"].boolean_or(true));
  if (prefix_space) return not_read(step["add_prefix_space"], "is true, which hearth does not do");
  TRY(const bool splits, step["use_regex"].boolean_or(true));
  if (!splits) return {};
  if (!vocabulary.split_pattern.empty()) return not_read(step, "splits a second time");
  vocabulary.split_pattern = kGpt2Split;
  return {};
}

Result<void> read_split(const ConfigValue& step, Vocabulary& vocabulary) {
  TRY(const auto behavior, step["behavior"].text());
  TRY(const bool inverted, step["invert"].boolean_or(false));
  if (behavior != "Isolated" || inverted || !vocabulary.split_pattern.empty())
    return not_read(step, "splits in a way that hearth does not know");
  TRY(vocabulary.split_pattern, step["pattern"]["Regex"].text());
  return {};
}

Result<void> read_pre_tokenizer(const ConfigValue& pre_tokenizer, Vocabulary& vocabulary) {
  bool byte_level = false;
  for (const auto& step : steps_of(pre_tokenizer, "pretokenizers")) {
    TRY(const auto type, step["type"].text());
    if (byte_level || (type != "Split" && type != "ByteLevel"))
      return not_read(step, "is a pre-tokenizer that hearth does not know");
    byte_level = type == "ByteLevel";
    CHECK_OK(byte_level ? read_byte_level(step, vocabulary) : read_split(step, vocabulary));
  }
  if (!byte_level) return not_read(pre_tokenizer, "has no ByteLevel step");
  return {};
}

Result<void> check_plain(const ConfigValue& root) {
  const auto model = root["model"];
  TRY(const auto type, model["type"].text_or("BPE"));
  if (type != "BPE") return not_read(model["type"], "is not BPE");
  for (const auto* key : {"continuing_subword_prefix", "end_of_word_suffix"}) {
    TRY(const auto affix, model[key].text_or(""));
    if (!affix.empty()) return not_read(model[key], "is set, which hearth does not do");
  }
  TRY(const bool byte_fallback, model["byte_fallback"].boolean_or(false));
  if (byte_fallback) return not_read(model["byte_fallback"], "is true, which hearth does not do");
  if (model["dropout"]) return not_read(model["dropout"], "is set, which hearth does not do");
  for (const auto* key : {"post_processor", "decoder"}) {
    TRY(const auto kind, root[key]["type"].text_or("ByteLevel"));
    if (kind != "ByteLevel") return not_read(root[key]["type"], "is not ByteLevel");
  }
  return {};
}

Result<void> read_tokenizer_json(const models::ModelFiles& files, Vocabulary& vocabulary) {
  TRY(const auto root, files::read_json(files, "tokenizer.json", kVocabularyLimits));
  CHECK_OK(check_plain(root));
  CHECK_OK(read_normalizer(root["normalizer"], vocabulary));
  CHECK_OK(read_pre_tokenizer(root["pre_tokenizer"], vocabulary));
  TRY(vocabulary.ignore_merges, root["model"]["ignore_merges"].boolean_or(false));
  CHECK_OK(read_entries(root["model"]["vocab"], vocabulary));
  CHECK_OK(read_merges(root["model"]["merges"], vocabulary));
  return read_added_tokens(root["added_tokens"], vocabulary);
}

Result<void> read_merges_txt(const models::ModelFile& file, Vocabulary& vocabulary) {
  TRY(const auto text, files::read_whole(file, kMaxMergesBytes));
  std::string_view rest = text;
  while (!rest.empty()) {
    const auto end = rest.find('\n');
    auto line = rest.substr(0, end);
    rest.remove_prefix(end == std::string_view::npos ? rest.size() : end + 1);
    if (line.ends_with('\r')) line.remove_suffix(1);
    if (line.empty() || line.starts_with("#version")) continue;
    CHECK_OK(add_merge(line, file.label, vocabulary));
    if (vocabulary.merges.size() > kMaxMerges)
      return fail(Code::kBadModel,
                  fmt::format("{} has more than {} merges.", file.label, kMaxMerges));
  }
  return {};
}

Result<void> check_class(const ConfigValue& config) {
  TRY(const auto name, config["tokenizer_class"].text_or("Qwen2Tokenizer"));
  if (name == "Qwen2Tokenizer" || name == "Qwen2TokenizerFast") return {};
  return fail(Code::kUnsupported,
              fmt::format("{} is {}; of vocab.json and merges.txt hearth reads Qwen2Tokenizer's.",
                          config["tokenizer_class"].path(), files::shortened(name)),
              "Add the model's tokenizer.json.");
}

Result<void> read_vocab_and_merges(const models::ModelFiles& files, const ConfigValue& config,
                                   Vocabulary& vocabulary) {
  const auto* merges = files::find_file(files, "merges.txt");
  if (!merges || !files::find_file(files, "vocab.json"))
    return fail(
        Code::kBadModel,
        "The model has no tokenizer: neither tokenizer.json nor vocab.json with merges.txt.",
        "Put the tokenizer's files of the model's repository beside its weights.");
  CHECK_OK(check_class(config));
  vocabulary.split_pattern = kQwen2Split;
  TRY(const auto vocab, files::read_json(files, "vocab.json", kVocabularyLimits));
  CHECK_OK(read_entries(vocab, vocabulary));
  return read_merges_txt(*merges, vocabulary);
}

}  // namespace

Result<Vocabulary> read_vocabulary(const models::ModelFiles& files) {
  ConfigValue config;
  if (files::find_file(files, "tokenizer_config.json")) {
    TRY(config, files::read_json(files, "tokenizer_config.json"));
  }
  Vocabulary vocabulary;
  if (files::find_file(files, "tokenizer.json")) {
    CHECK_OK(read_tokenizer_json(files, vocabulary));
  } else {
    CHECK_OK(read_vocab_and_merges(files, config, vocabulary));
  }
  CHECK_OK(read_added_tokens_decoder(config["added_tokens_decoder"], vocabulary));
  return vocabulary;
}

}  // namespace hearth::text
