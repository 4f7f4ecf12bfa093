// Tokenizer files that are incomplete, foreign or hostile.
#include <chrono>
#include <random>

#include <gtest/gtest.h>

#include "models/text/bytes.h"
#include "models/text/pretokenizer.h"
#include "models/text/tokenizer.h"
#include "tests/unit/folder_for_test.h"
#include "tests/unit/model_files_for_test.h"

namespace hearth::text {
namespace {

using models::file_with;
using models::ModelFiles;
using nlohmann::json;

// A tokenizer.json of the 256 bytes, one merge and one special token.
json small_tokenizer() {
  json vocab;
  for (int byte = 0; byte < 256; ++byte) vocab[byte_alphabet()[byte]] = byte;
  vocab["ab"] = 256;
  json split = {{"type", "Split"},
                {"pattern", {{"Regex", std::string(kQwen2Split)}}},
                {"behavior", "Isolated"},
                {"invert", false}};
  json byte_level = {{"type", "ByteLevel"}, {"add_prefix_space", false}, {"use_regex", false}};
  return {
      {"added_tokens", {{{"id", 257}, {"content", "<|im_start|>"}, {"special", true}}}},
      {"normalizer", {{"type", "NFC"}}},
      {"pre_tokenizer", {{"type", "Sequence"}, {"pretokenizers", {split, byte_level}}}},
      {"decoder", {{"type", "ByteLevel"}}},
      {"model",
       {{"type", "BPE"}, {"vocab", vocab}, {"merges", json::array({json::array({"a", "b"})})}}},
  };
}

Result<std::shared_ptr<const Tokenizer>> load(const json& tokenizer) {
  return Tokenizer::load({file_with("tokenizer.json", tokenizer.dump())});
}

TEST(Vocabulary, LoadsASmallTokenizer) {
  const auto tokenizer = load(small_tokenizer());
  ASSERT_TRUE(tokenizer) << tokenizer.error().what;
  const auto ids = (*tokenizer)->encode("ab<|im_start|>b", SpecialTokens::kParsed);
  ASSERT_TRUE(ids);
  EXPECT_EQ(*ids, (std::vector<std::int32_t>{256, 257, 'b'}));
}

TEST(Vocabulary, NamesTheFilesThatAreWanted) {
  for (const auto& files : {ModelFiles{}, ModelFiles{file_with("vocab.json", "{}")}}) {
    const auto tokenizer = Tokenizer::load(files);
    ASSERT_FALSE(tokenizer);
    EXPECT_EQ(tokenizer.error().code, Code::kBadModel);
    for (const auto* file : {"tokenizer.json", "vocab.json", "merges.txt"})
      EXPECT_NE(tokenizer.error().what.find(file), std::string::npos);
  }
}

struct Change {
  std::string_view place;  // JSON pointer into small_tokenizer()
  json value;
  Code code;
  std::string_view says;
};

void PrintTo(const Change& change, std::ostream* out) {
  *out << change.place;
}

class ChangedTokenizer : public testing::TestWithParam<Change> {};

TEST_P(ChangedTokenizer, IsRefusedAndNamed) {
  auto changed = small_tokenizer();
  changed[json::json_pointer(std::string(GetParam().place))] = GetParam().value;
  const auto tokenizer = load(changed);
  ASSERT_FALSE(tokenizer);
  EXPECT_EQ(tokenizer.error().code, GetParam().code) << tokenizer.error().what;
  EXPECT_NE(tokenizer.error().what.find(GetParam().says), std::string::npos)
      << tokenizer.error().what;
}

const json kManyTimes(100'000, {{"id", 257}, {"content", "<|im_start|>"}});
const json kTwice = {{{"id", 257}, {"content", "x"}}, {{"id", 258}, {"content", "x"}}};

INSTANTIATE_TEST_SUITE_P(
    Vocabulary, ChangedTokenizer,
    testing::Values(
        Change{"/model/type", "Unigram", Code::kUnsupported, "model.type is not BPE"},
        Change{"/model/byte_fallback", true, Code::kUnsupported, "byte_fallback"},
        Change{"/model/dropout", 0.1, Code::kUnsupported, "dropout"},
        Change{"/model/end_of_word_suffix", "</w>", Code::kUnsupported, "end_of_word_suffix"},
        Change{"/model/vocab", json::array(), Code::kBadModel, "model.vocab"},
        Change{"/model/vocab/a", -1, Code::kBadModel, "model.vocab.a"},
        Change{"/model/vocab/a", 1 << 30, Code::kBadModel, "model.vocab.a"},
        Change{"/model/vocab", {{"a", 1}}, Code::kBadModel, "no entry for byte"},
        Change{"/model/merges", json::array({json::array({"a", "zz"})}), Code::kBadModel,
               "merge 0"},
        Change{"/model/merges", json::array({"a b c"}), Code::kBadModel, "merges[0]"},
        Change{"/model/merges", json::array({"ab"}), Code::kBadModel, "merges[0]"},
        Change{"/model/merges", json::array({1}), Code::kBadModel, "merges[0]"},
        Change{"/normalizer/type", "NFKC", Code::kUnsupported, "normalizer"},
        Change{"/pre_tokenizer/pretokenizers/1/add_prefix_space", true, Code::kUnsupported,
               "add_prefix_space"},
        Change{"/pre_tokenizer/pretokenizers/0/behavior", "Removed", Code::kUnsupported,
               "pretokenizers[0]"},
        Change{"/pre_tokenizer/pretokenizers/0/pattern/Regex", "(", Code::kUnsupported, "pattern"},
        Change{"/pre_tokenizer/pretokenizers/0/pattern/Regex", std::string(10'000, 'a'),
               Code::kUnsupported, "pattern"},
        Change{"/pre_tokenizer", {{"type", "Metaspace"}}, Code::kUnsupported, "pre_tokenizer"},
        Change{"/decoder/type", "Metaspace", Code::kUnsupported, "decoder.type"},
        Change{"/added_tokens/0/lstrip", true, Code::kUnsupported, "lstrip"},
        Change{"/added_tokens/0/content", "", Code::kBadModel, "content"},
        Change{"/added_tokens/0/content", std::string(300, '<'), Code::kBadModel, "content"},
        Change{"/added_tokens", kTwice, Code::kBadModel, "257"},
        Change{"/added_tokens", kManyTimes, Code::kBadModel, "more than 16384"}));

TEST(Vocabulary, RefusesAForeignClassWithoutTokenizerJson) {
  const auto tokenizer = Tokenizer::load(
      {file_with("vocab.json", "{}"), file_with("merges.txt", ""),
       file_with("tokenizer_config.json", R"({"tokenizer_class":"GPT2Tokenizer"})")});
  ASSERT_FALSE(tokenizer);
  EXPECT_EQ(tokenizer.error().code, Code::kUnsupported);
  EXPECT_NE(tokenizer.error().what.find("GPT2Tokenizer"), std::string::npos);
}

TEST(Vocabulary, SurvivesRandomChanges) {
  const auto seed = std::random_device{}();
  SCOPED_TRACE(testing::Message() << "seed " << seed);
  std::mt19937 random(seed);
  const auto whole = small_tokenizer().dump();
  const std::string_view alphabet = "{}[]\",:0123456789.aeltruns\\|?*+()pL";
  int loaded = 0;
  for (int round = 0; round < 1000; ++round) {
    auto changed = whole;
    for (auto times = random() % 3 + 1; times > 0; --times)
      changed[random() % changed.size()] = alphabet[random() % alphabet.size()];
    const auto tokenizer = Tokenizer::load({file_with("tokenizer.json", changed)});
    if (!tokenizer) continue;
    ++loaded;
    const auto ids = (*tokenizer)->encode("ab  <|im_start|> é 12\r\n", SpecialTokens::kParsed);
    EXPECT_TRUE(!ids || !(*tokenizer)->decode(*ids, true).empty());
  }
  EXPECT_GT(loaded, 0);
}

TEST(Pretokenizer, FailsInsteadOfBacktrackingForEver) {
  const auto evil = Pretokenizer::compile("(a+)+(a+)+(a+)+$");
  ASSERT_TRUE(evil);
  const auto began = std::chrono::steady_clock::now();
  const auto outcome = evil->split(std::string(50'000, 'a') + "b", [](std::string_view) {});
  ASSERT_FALSE(outcome);
  EXPECT_EQ(outcome.error().code, Code::kBadRequest);
  EXPECT_LT(std::chrono::steady_clock::now() - began, std::chrono::seconds(20));
}

TEST(Pretokenizer, GivesBackTheWholeTextWhateverThePattern) {
  const std::string text = "a1 b22\r\n  c333 é\u180e日本";
  for (const auto* pattern : {"x*", "", "\\d", "(?=b)", "\\s+", "a\\K1", "."}) {
    const auto split = Pretokenizer::compile(pattern);
    ASSERT_TRUE(split) << pattern;
    std::string joined;
    ASSERT_TRUE(split->split(text, [&](std::string_view word) {
      EXPECT_FALSE(word.empty());
      joined += word;
    }));
    EXPECT_EQ(joined, text) << pattern;
  }
}

TEST(Pretokenizer, KeepsCrLfTogether) {
  const auto split = Pretokenizer::compile(kQwen2Split);
  ASSERT_TRUE(split);
  std::vector<std::string> words;
  ASSERT_TRUE(
      split->split("a!\r\n\r\nb  c", [&](std::string_view word) { words.emplace_back(word); }));
  EXPECT_EQ(words, (std::vector<std::string>{"a", "!\r\n\r\n", "b", " ", " c"}));
}

}  // namespace
}  // namespace hearth::text
