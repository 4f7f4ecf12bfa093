#include <chrono>

#include <gtest/gtest.h>

#include "models/files/model_file.h"
#include "models/text/bytes.h"
#include "models/text/sha256.h"
#include "models/text/tokenizer.h"
#include "tests/unit/folder_for_test.h"

namespace hearth::text {
namespace {

using Ids = std::vector<std::int32_t>;
using models::ModelFiles;
using models::open_folder;
using models::read_fixture;

bool has_merges(const ModelFiles& files, const std::string& sha256) {
  const auto* merges = files::find_file(files, "merges.txt");
  const auto text = merges ? files::read_whole(*merges, 1 << 24) : std::string();
  return text && sha256_hex(*text) == sha256;
}

ModelFiles without(ModelFiles files, std::string_view label) {
  std::erase_if(files, [&](const auto& file) { return file.label == label; });
  return files;
}

// One vocabulary with what transformers makes of the strings.
struct Oracle {
  nlohmann::json expected;
  std::vector<std::string> strings;
  ModelFiles files;  // empty: the vocabulary is not on this machine
};

// `step`: the fixture holds every step-th string only.
Oracle oracle_of(std::string_view fixture, const std::filesystem::path& folder, std::size_t step) {
  Oracle oracle{read_fixture(fixture), {}, {}};
  const std::vector<std::string> all = read_fixture("text/strings.json")["strings"];
  for (std::size_t i = 0; i < all.size(); i += step) oracle.strings.push_back(all[i]);
  const auto files = open_folder(folder);
  if (has_merges(files, oracle.expected["vocabulary_sha256"])) oracle.files = files;
  return oracle;
}

const std::filesystem::path kEmberFolder = HEARTH_SOURCE_DIR "/models/ember/weights";

Oracle qwen25() {
  return oracle_of("text/qwen25.json", models::test_data() / "qwen25_tokenizer", 1);
}

// ember's own vocabulary, or that of the trial before it.
Oracle ember() {
  auto own = oracle_of("text/ember.json", kEmberFolder, 5);
  if (!own.files.empty()) return own;
  return oracle_of("text/ember_trial.json", models::test_data() / "ember_trial", 5);
}

void expect_same_ids(const Oracle& oracle, const Tokenizer& tokenizer) {
  const auto& expected = oracle.expected;
  ASSERT_EQ(expected["parsed"].size(), oracle.strings.size());
  for (std::size_t i = 0; i < oracle.strings.size(); ++i) {
    SCOPED_TRACE(nlohmann::json(oracle.strings[i]).dump());
    const auto number = std::to_string(i);
    const auto parsed_ids = expected["parsed"][i].get<Ids>();
    const auto text_ids = expected["as_text"].value(number, parsed_ids);
    const auto parsed = tokenizer.encode(oracle.strings[i], SpecialTokens::kParsed);
    const auto as_text = tokenizer.encode(oracle.strings[i], SpecialTokens::kAsText);
    ASSERT_TRUE(parsed && as_text);
    EXPECT_EQ(*parsed, parsed_ids);
    EXPECT_EQ(*as_text, text_ids);
    EXPECT_EQ(tokenizer.decode(*parsed, false),
              expected["decoded"].value(number, oracle.strings[i]));
  }
}

TEST(Tokenizer, GivesTheIdsOfTransformersForQwen25) {
  const auto oracle = qwen25();
  if (oracle.files.empty())
    GTEST_SKIP() << "no qwen25_tokenizer in " << models::test_data() << " (HEARTH_TEST_DATA)";
  const auto tokenizer = Tokenizer::load(oracle.files);
  ASSERT_TRUE(tokenizer) << tokenizer.error().what;
  EXPECT_EQ(oracle.strings.size(), 2000U);
  expect_same_ids(oracle, **tokenizer);
  EXPECT_EQ((*tokenizer)->size(), 151669);
  EXPECT_EQ((*tokenizer)->id_of("<|image_pad|>"), 151655);
}

TEST(Tokenizer, GivesTheIdsOfTransformersForEmberFromEitherFileLayout) {
  const auto oracle = ember();
  ASSERT_TRUE(!std::filesystem::exists(kEmberFolder) ||
              !oracle_of("text/ember.json", kEmberFolder, 5).files.empty())
      << "tests/data/text/ember.json was made of another vocabulary than ember's; make it anew";
  if (oracle.files.empty())
    GTEST_SKIP() << "no ember_trial in " << models::test_data() << " (HEARTH_TEST_DATA)";
  for (const auto* left_out : {"merges.txt", "tokenizer.json"}) {
    const auto tokenizer = Tokenizer::load(without(oracle.files, left_out));
    ASSERT_TRUE(tokenizer) << tokenizer.error().what;
    expect_same_ids(oracle, **tokenizer);
  }
}

TEST(Tokenizer, SplitsLongWordsInNearlyLinearTime) {
  const auto oracle = qwen25();
  if (oracle.files.empty()) GTEST_SKIP() << "no qwen25_tokenizer";
  const auto tokenizer = Tokenizer::load(oracle.files);
  ASSERT_TRUE(tokenizer);
  std::string letters, spaces(100'000, ' '), marks = "a";
  for (int i = 0; i < 100'000; ++i) letters += static_cast<char>('a' + i * 7919 % 26);
  for (int i = 0; i < 500; ++i) marks += "\u0301\u0323";
  for (const auto& text : {letters, spaces + "x", marks, "\n" + spaces}) {
    const auto began = std::chrono::steady_clock::now();
    const auto ids = (*tokenizer)->encode(text, SpecialTokens::kAsText);
    ASSERT_TRUE(ids);
    EXPECT_LT(std::chrono::steady_clock::now() - began, std::chrono::seconds(2));
    EXPECT_EQ((*tokenizer)->decode(*ids, false), *normal_form_c(text));
  }
}

TEST(Tokenizer, RefusesAnEndlessRunOfCombiningMarks) {
  const auto oracle = ember();
  if (oracle.files.empty()) GTEST_SKIP() << "no ember vocabulary";
  const auto tokenizer = Tokenizer::load(oracle.files);
  ASSERT_TRUE(tokenizer);
  std::string marks = "a";
  for (int i = 0; i < 2000; ++i) marks += "\u0301";
  const auto ids = (*tokenizer)->encode(marks, SpecialTokens::kAsText);
  ASSERT_FALSE(ids);
  EXPECT_EQ(ids.error().code, Code::kBadRequest);
}

TEST(Tokenizer, GivesNoBytesForSpecialAndForUnknownIds) {
  const auto oracle = ember();
  if (oracle.files.empty()) GTEST_SKIP() << "no ember vocabulary";
  const auto tokenizer = Tokenizer::load(oracle.files);
  ASSERT_TRUE(tokenizer);
  const auto end = (*tokenizer)->id_of("<|im_end|>");
  ASSERT_TRUE(end);
  EXPECT_TRUE((*tokenizer)->is_special(*end));
  for (const auto id : {*end, -1, (*tokenizer)->size(), 1 << 30}) {
    EXPECT_EQ((*tokenizer)->bytes_of(id), "");
    EXPECT_EQ((*tokenizer)->decode(Ids{id}, true), "");
  }
  EXPECT_EQ((*tokenizer)->decode(Ids{*end}, false), "<|im_end|>");
}

TEST(Utf8, ReplacesBadBytesAsPythonDoes) {
  const auto cases = read_fixture("text/strings.json")["bad_bytes"];
  ASSERT_EQ(cases.size(), 200U);
  for (const auto& entry : cases) {
    const std::string hex = entry["hex"];
    std::string raw;
    for (std::size_t i = 0; i < hex.size(); i += 2)
      raw += static_cast<char>(std::stoi(hex.substr(i, 2), nullptr, 16));
    EXPECT_EQ(valid_utf8(raw), entry["text"].get<std::string>()) << hex;
  }
}

TEST(Utf8, WritesEveryByteInTheAlphabetAndReadsItBack) {
  std::string all, written;
  for (int byte = 0; byte < 256; ++byte) {
    all += static_cast<char>(byte);
    written += byte_alphabet()[byte];
  }
  EXPECT_EQ(bytes_of_written(written), all);
  EXPECT_EQ(byte_alphabet()[' '], "Ġ");
  EXPECT_FALSE(bytes_of_written("日"));
}

}  // namespace
}  // namespace hearth::text
