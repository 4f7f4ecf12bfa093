// Masks over real vocabularies: ember's, and Qwen's where it is there.
#include <chrono>
#include <filesystem>
#include <random>

#include "models/text/tokenizer.h"
#include "tests/unit/folder_for_test.h"
#include "tests/unit/grammar_walk_for_test.h"

namespace hearth::grammar {
namespace {

std::shared_ptr<const Vocabulary> vocabulary_in(const std::filesystem::path& folder) {
  const auto tokenizer = text::Tokenizer::load(models::open_folder(folder));
  if (!tokenizer) return nullptr;
  std::vector<std::string> tokens;
  for (std::int32_t id = 0; id < (*tokenizer)->size(); ++id)
    tokens.push_back((*tokenizer)->bytes_of(id));
  auto built = Vocabulary::build(std::move(tokens));
  return built ? *built : nullptr;
}

TEST(RealVocabulary, EmbersMaskEqualsAcceptingEveryToken) {
  const auto vocabulary = vocabulary_in(HEARTH_SOURCE_DIR "/models/ember/weights");
  ASSERT_TRUE(vocabulary);
  const auto grammar = Grammar::compile(caption_spec(), vocabulary);
  ASSERT_TRUE(grammar) << grammar.error().what;
  const auto seed = std::random_device()();
  SCOPED_TRACE(testing::Message() << "seed " << seed);
  std::mt19937 random(seed);
  for (int text = 0; text < 3; ++text) random_walk(*grammar, 0, random, 60, 3);
}

TEST(RealVocabulary, QwensMaskEqualsAcceptingEveryTokenAndIsFast) {
  const auto vocabulary = vocabulary_in(models::test_data() / "qwen25_tokenizer");
  if (!vocabulary) GTEST_SKIP() << "no qwen25_tokenizer in " << models::test_data();
  const auto grammar = Grammar::compile(caption_spec(), vocabulary);
  ASSERT_TRUE(grammar) << grammar.error().what;
  const auto seed = std::random_device()();
  SCOPED_TRACE(testing::Message() << "seed " << seed);
  std::mt19937 random(seed);
  random_walk(*grammar, 151'643, random, 40, 10);

  std::vector<std::int32_t> id_of(256, -1);
  for (std::size_t id = 0; id < vocabulary->size(); ++id)
    if (const auto bytes = vocabulary->bytes_of(static_cast<std::int32_t>(id)); bytes.size() == 1)
      id_of[static_cast<unsigned char>(bytes[0])] = static_cast<std::int32_t>(id);

  Matcher matcher(*grammar, {});
  Bits bits(mask_words(vocabulary->size()));
  const auto begin = std::chrono::steady_clock::now();
  int masks = 0;
  for (const char byte :
       std::string_view(R"({"title": "a cat on a mat", "tags": ["cat", "mat"], "mood": "sad"})")) {
    ASSERT_TRUE(matcher.mask(bits)) << masks;
    ++masks;
    ASSERT_TRUE(matcher.accept(id_of[static_cast<unsigned char>(byte)])) << masks;
  }
  const std::chrono::duration<double, std::milli> took = std::chrono::steady_clock::now() - begin;
  EXPECT_LT(took.count() / masks, 10.0) << "a mask";
}

}  // namespace
}  // namespace hearth::grammar
