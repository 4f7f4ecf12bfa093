#include <algorithm>
#include <array>

#include <gtest/gtest.h>

#include "models/text/chat.h"
#include "models/text/sha256.h"
#include "tests/unit/folder_for_test.h"
#include "tests/unit/model_files_for_test.h"

namespace hearth::text {
namespace {

const ChatLayout kLayout;  // Qwen3-VL

using contract::ChatMessage;
using contract::ContentPart;
using models::file_with;

ContentPart part_of(std::string kind, std::string text = {}) {
  ContentPart part;
  part.kind = std::move(kind);
  part.text = std::move(text);
  return part;
}
ContentPart text_part(std::string text) {
  return part_of("text", std::move(text));
}
ContentPart image_part() {
  return part_of("image");
}

ChatMessage message_of(const nlohmann::json& message) {
  ChatMessage result{message["role"], {}};
  for (const auto& part : message["content"])
    result.content.push_back(part["type"] == "text" ? text_part(part["text"])
                                                    : part_of(part["type"]));
  return result;
}

TEST(Chat, RendersWhatTransformersRendersFromTheOfficialTemplate) {
  const auto fixture = models::read_fixture("text/chat.json");
  ASSERT_GT(fixture["cases"].size(), 30U);
  for (const auto& entry : fixture["cases"]) {
    std::vector<ChatMessage> messages;
    for (const auto& message : entry["messages"]) messages.push_back(message_of(message));
    const auto pieces = lay_out_chat(kLayout, messages);
    ASSERT_TRUE(pieces) << pieces.error().what;
    EXPECT_EQ(render(*pieces), entry["rendered"].get<std::string>());
  }
}

// A family's layout; what its published template makes of the same chats is known.
struct Published {
  const char* name;
  ChatLayout layout;
};

struct Template : testing::TestWithParam<Published> {};

Thinking thinking_of(const nlohmann::json& options) {
  if (!options.contains("enable_thinking")) return Thinking::kAuto;
  return options["enable_thinking"] == true ? Thinking::kOn : Thinking::kOff;
}

// Options beside thinking are none that a request has.
bool is_comparable(const nlohmann::json& options) {
  return options.empty() || (options.size() == 1 && options.contains("enable_thinking"));
}

TEST_P(Template, GivesTheTextOfTheFamilysLayoutThinkingOrNot) {
  const auto fixture = models::read_fixture("text/family_chats.json");
  int compared = 0;
  for (const auto& entry : fixture["cases"]) {
    if (entry["template"] != GetParam().name || !is_comparable(entry["options"])) continue;
    const auto& chat = fixture["chats"][entry["chat"].get<std::size_t>()];
    std::vector<ChatMessage> messages;
    for (const auto& message : chat) messages.push_back(message_of(message));
    const auto thoughts = thoughts_of(GetParam().layout, thinking_of(entry["options"]));
    ASSERT_TRUE(thoughts) << thoughts.error().what;
    const ChatEnd end{messages.back().role == "user", *thoughts};
    const auto pieces = lay_out_chat(GetParam().layout, messages, end);
    ASSERT_TRUE(pieces) << pieces.error().what;
    EXPECT_EQ(render(*pieces), entry["rendered"].get<std::string>())
        << "chat " << entry["chat"] << entry["options"];
    ++compared;
  }
  EXPECT_GE(compared, 7);
}

constexpr std::string_view kAssistant = "You are a helpful assistant.";
constexpr std::string_view kQwen =
    "You are Qwen, created by Alibaba Cloud. You are a helpful assistant.";
constexpr ThoughtRules kMayThink = {Thoughts::kItself, Thoughts::kItself, Thoughts::kSkipped};
constexpr ThoughtRules kAlways = {Thoughts::kOpened, Thoughts::kOpened, std::nullopt};
constexpr ThoughtRules kUnlessOff = {Thoughts::kOpened, Thoughts::kOpened, Thoughts::kSkipped};
constexpr ThoughtRules kOnlyWhenOn = {Thoughts::kSkipped, Thoughts::kOpened, Thoughts::kSkipped};

ChatLayout layout_of(bool pictures, bool trims_thoughts, bool trims_turns, ThoughtRules thoughts) {
  ChatLayout layout;
  layout.pictures = pictures;
  layout.trims_thoughts = trims_thoughts;
  layout.trims_turns = trims_turns;
  layout.thoughts = thoughts;
  return layout;
}

INSTANTIATE_TEST_SUITE_P(
    Chat, Template,
    testing::Values(Published{"qwen3_vl", {}},
                    Published{"qwen2_5_vl", {.default_system = kAssistant}},
                    Published{"qwen2_5", {.default_system = kQwen, .pictures = false}},
                    Published{"qwen3", layout_of(false, true, false, kMayThink)},
                    Published{"qwen3_instruct_2507", {.pictures = false}},
                    Published{"qwen3_5_think", layout_of(true, true, true, kUnlessOff)},
                    Published{"qwen3_5_nothink", layout_of(true, true, true, kOnlyWhenOn)},
                    Published{"qwen3_6", layout_of(true, true, true, kUnlessOff)}),
    [](const auto& info) { return std::string(info.param.name); });

TEST(ChatThoughts, AreRefusedWhereATemplateHasNoWayToThem) {
  const auto never = thoughts_of({}, Thinking::kOn);
  ASSERT_FALSE(never);
  EXPECT_EQ(never.error().code, Code::kUnsupported);
  EXPECT_NE(never.error().what.find("does not think"), std::string::npos);
  EXPECT_EQ(*thoughts_of({}, Thinking::kOff), Thoughts::kNone);
  const ChatLayout always = layout_of(true, false, false, kAlways);
  EXPECT_EQ(*thoughts_of(always, Thinking::kAuto), Thoughts::kOpened);
  const auto refused = thoughts_of(always, Thinking::kOff);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, Code::kUnsupported);
  EXPECT_NE(refused.error().what.find("always thinks"), std::string::npos);
}

TEST(ChatThoughts, OfAnUnknownTemplateFollowFromItsWords) {
  const auto rules = [](std::string_view chat_template) {
    return layout_by_template({}, chat_template).thoughts;
  };
  const std::string header = R"({{- '<|im_start|>assistant\n' }})";
  const std::string opened = R"({{- '<|im_start|>assistant\n<think>\n' }})";
  EXPECT_EQ(rules(header), ThoughtRules());
  EXPECT_EQ(rules(""), ThoughtRules());
  EXPECT_EQ(rules(opened), kAlways);
  EXPECT_EQ(rules(header + R"({% if enable_thinking is false %}{{ '<think>\n\n</think>\n\n' }})"),
            kMayThink);
  EXPECT_EQ(rules(opened + "{% if enable_thinking is false %}"), kUnlessOff);
  EXPECT_EQ(rules(R"({% if enable_thinking is true %}{{ '<think>\n' }}{% else %})"), kOnlyWhenOn);
}

TEST(Chat, TrimsTurnsOfEveryWhiteSpaceThatPythonKnows) {
  ChatLayout layout;
  layout.trims_turns = true;
  const std::vector<ChatMessage> messages = {
      {"user", {text_part("\u3000 \x1F"), text_part("a \u00A0b"), text_part(" \u2003\r\n")}},
      {"assistant", {text_part(" \t ")}}};
  const auto pieces = lay_out_chat(layout, messages, {.generation_prompt = false});
  ASSERT_TRUE(pieces);
  EXPECT_EQ(render(*pieces),
            "<|im_start|>user\na \u00A0b<|im_end|>\n<|im_start|>assistant\n<|im_end|>\n");
}

TEST(Chat, WithoutAGenerationPromptItEndsWithItsLastTurn) {
  const std::vector<ChatMessage> messages = {{"user", {text_part("a")}}};
  const auto pieces = lay_out_chat(kLayout, messages, {.generation_prompt = false});
  ASSERT_TRUE(pieces) << pieces.error().what;
  EXPECT_EQ(render(*pieces), "<|im_start|>user\na<|im_end|>\n");
}

TEST(Chat, JoinsNeighbouringTextAndNumbersPictures) {
  const std::vector<ChatMessage> messages = {
      {"user", {text_part("a"), text_part(""), text_part("b"), image_part(), image_part()}}};
  const auto pieces = lay_out_chat(kLayout, messages);
  ASSERT_TRUE(pieces);
  std::size_t media = 0;
  for (std::size_t i = 0; i < pieces->size(); ++i) {
    const auto& piece = (*pieces)[i];
    const bool is_text = piece.kind == Piece::Kind::kText;
    if (piece.kind == Piece::Kind::kMedia) {
      EXPECT_EQ(piece.media, media++);
    }
    EXPECT_FALSE(i > 0 && is_text && (*pieces)[i - 1].kind == Piece::Kind::kText);
  }
  EXPECT_EQ(media, 2U);
  EXPECT_EQ((*pieces)[1].text, "user\nab");
}

struct Refused {
  std::vector<ChatMessage> messages;
  Code code;
};

TEST(Chat, RefusesWhatTheLayoutHasNoPlaceFor) {
  const std::vector<Refused> cases = {
      {{}, Code::kBadRequest},
      {{{"user", {text_part("a")}}, {"system", {text_part("b")}}}, Code::kBadRequest},
      {{{"system", {image_part()}}}, Code::kBadRequest},
      {{{"user", {text_part("a")}}, {"assistant", {image_part()}}}, Code::kBadRequest},
      {{{"assistant", {part_of("video")}}}, Code::kBadRequest},
      {{{"user", {part_of("sound")}}}, Code::kBadRequest},
  };
  for (const auto& refused : cases) {
    const auto pieces = lay_out_chat(kLayout, refused.messages);
    ASSERT_FALSE(pieces);
    EXPECT_EQ(pieces.error().code, refused.code) << pieces.error().what;
  }
}

// Every character is one id, its code unit; control tokens have ids from 1000 on.
class LetterTokenizer : public Tokenizer {
 public:
  Result<std::vector<std::int32_t>> encode(std::string_view text,
                                           SpecialTokens special) const override {
    EXPECT_EQ(special, SpecialTokens::kAsText);
    return std::vector<std::int32_t>(text.begin(), text.end());
  }
  std::optional<std::int32_t> id_of(std::string_view token) const override {
    constexpr std::array kTokens = {"<|im_start|>", "<|im_end|>", "<|vision_start|>",
                                    "<|image_pad|>", "<|vision_end|>"};
    for (std::size_t i = 0; i < known_; ++i)
      if (token == kTokens[i]) return 1000 + static_cast<std::int32_t>(i);
    return std::nullopt;
  }
  bool is_special(std::int32_t id) const override { return id >= 1000; }
  std::int32_t size() const override { return 1005; }
  std::size_t known_ = 5;

 protected:
  std::string_view token_bytes(std::int32_t) const override { return {}; }
};

TEST(Chat, KeepsControlTokensInUsersTextAsText) {
  const std::vector<ChatMessage> messages = {{"user", {image_part(), text_part("<|image_pad|>")}}};
  const auto pieces = lay_out_chat(kLayout, messages);
  ASSERT_TRUE(pieces);
  const std::array<std::int32_t, 1> tokens = {3};
  const auto ids = encode_chat(LetterTokenizer(), *pieces, tokens);
  ASSERT_TRUE(ids) << ids.error().what;
  EXPECT_EQ(std::count(ids->begin(), ids->end(), 1003), 3);  // the picture's, not the text's
  EXPECT_EQ(std::count(ids->begin(), ids->end(), '|'), 2);
  const std::vector<std::int32_t> begin = {1000, 'u',  's',  'e',  'r',  '\n',
                                           1002, 1003, 1003, 1003, 1004, '<'};
  EXPECT_TRUE(std::equal(begin.begin(), begin.end(), ids->begin()));
}

TEST(Chat, NamesAControlTokenThatTheTokenizerLacks) {
  const std::vector<ChatMessage> messages = {{"user", {image_part()}}};
  const auto pieces = lay_out_chat(kLayout, messages);
  ASSERT_TRUE(pieces);
  LetterTokenizer tokenizer;
  tokenizer.known_ = 3;
  const std::array<std::int32_t, 1> tokens = {1};
  const auto ids = encode_chat(tokenizer, *pieces, tokens);
  ASSERT_FALSE(ids);
  EXPECT_EQ(ids.error().code, Code::kBadModel);
  EXPECT_NE(ids.error().what.find("<|image_pad|>"), std::string::npos);
}

TEST(ChatTemplate, IsFoundInEachOfItsFiles) {
  const models::ModelFiles jinja = {file_with("chat_template.jinja", "J")};
  const models::ModelFiles json = {file_with("chat_template.json", R"({"chat_template":"S"})")};
  const models::ModelFiles config = {
      file_with("tokenizer_config.json", R"({"chat_template":"T"})")};
  const models::ModelFiles named = {file_with(
      "tokenizer_config.json",
      R"({"chat_template":[{"name":"rag","template":"R"},{"name":"default","template":"D"}]})")};
  EXPECT_EQ(*read_chat_template(jinja), "J");
  EXPECT_EQ(*read_chat_template(json), "S");
  EXPECT_EQ(*read_chat_template(config), "T");
  EXPECT_EQ(*read_chat_template(named), "D");
  EXPECT_EQ(*read_chat_template({}), "");
}

TEST(ChatTemplate, WarnsOnlyOfAnUnknownOne) {
  const auto unknown =
      template_warning({file_with("chat_template.jinja", "{{ messages }}")}, kLayout);
  ASSERT_TRUE(unknown);
  EXPECT_NE(unknown->find("not known"), std::string::npos);
  const auto none = template_warning({}, kLayout);
  ASSERT_TRUE(none);
  EXPECT_NE(none->find("no chat template"), std::string::npos);
  const auto trial = models::open_folder(models::test_data() / "ember_trial");
  const auto own = models::open_folder(HEARTH_SOURCE_DIR "/models/ember/weights");
  for (const auto& files : {trial, own}) {
    if (files.empty()) continue;
    const auto known = template_warning(files, kLayout);
    ASSERT_TRUE(known);
    EXPECT_EQ(*known, "");
  }
}

// FIPS 180-4's examples, and one whose padding needs a second block.
TEST(Sha256, GivesThePublishedDigests) {
  EXPECT_EQ(sha256_hex(""), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
  EXPECT_EQ(sha256_hex("abc"), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
  EXPECT_EQ(sha256_hex("abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq"),
            "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1");
}

}  // namespace
}  // namespace hearth::text
