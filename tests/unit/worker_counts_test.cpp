// count_tokens: answered from the files of an attached model.

#include "tests/unit/worker_served_for_test.h"

namespace hearth::worker {
namespace {

contract::CountTokens question(const std::string& text) {
  contract::CountTokens message;
  message.model = "m";
  contract::ContentPart words, picture;
  words.kind = "text";
  words.text = text;
  picture.kind = "image";
  picture.tensor = contract::Tensor{};
  picture.tensor->dtype = "u8";
  picture.tensor->shape = {64, 96, 3};
  message.messages.push_back({"user", {words, picture}});
  return message;
}

TEST_F(Served, CountsTokensOfAModelThatIsNotLoaded) {
  broker.attach_fake(1, "m", R"(, "context_tokens": 99)");
  broker.send(2, question("hello"));
  const auto& counted = broker.end_of(2).counted;
  ASSERT_TRUE(counted);
  EXPECT_EQ(counted->image_tokens, 6U);
  EXPECT_EQ(counted->prompt_tokens, 5U + 6 + 3);
  EXPECT_EQ(counted->context_tokens, 99U);
  ASSERT_EQ(counted->pictures.size(), 1U);
  EXPECT_EQ(counted->pictures[0].width, 96);
}

TEST_F(Served, CountsWhatAPromptTakes) {
  make_hot();
  contract::CountTokens message = question("hello");
  message.messages[0].content.pop_back();
  broker.send(2, message);
  generate(3, "hello");
  EXPECT_EQ(broker.end_of(3).generated->receipt.prompt_tokens,
            broker.end_of(2).counted->prompt_tokens);
}

TEST_F(Served, CountsNothingForUnknownOrChangedFiles) {
  broker.send(1, question("hello"));
  EXPECT_EQ(broker.end_of(1).code(), "unknown_model");
  const auto file = models::file_with("config.json", R"({"model_type": "hearth_fake"})");
  broker.attach(2, "m", {file});
  ASSERT_EQ(::ftruncate(file.fd->get(), 3), 0);
  broker.send(3, question("hello"));
  EXPECT_EQ(broker.end_of(3).code(), "model_changed");
}

TEST_F(Served, CountsAgainWithoutLookingAtTheFiles) {
  const auto file = models::file_with("config.json", R"({"model_type": "hearth_fake"})");
  broker.attach(1, "m", {file});
  broker.send(2, question("hello"));
  EXPECT_TRUE(broker.end_of(2).counted);
  ASSERT_EQ(::ftruncate(file.fd->get(), 3), 0);
  broker.send(3, question("hello"));
  EXPECT_TRUE(broker.end_of(3).counted);
}

}  // namespace
}  // namespace hearth::worker
