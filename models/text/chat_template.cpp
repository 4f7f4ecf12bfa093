// Templates are recognised by their SHA-256, because that is what is published of them. Running or
// comparing them would mean a Jinja interpreter on a stranger's file; here a template that is not
// known costs one sentence in the reply.
#include <algorithm>
#include <iterator>

#include <fmt/format.h>

#include "models/files/config.h"
#include "models/files/model_file.h"
#include "models/text/chat.h"
#include "models/text/sha256.h"

namespace hearth::text {
namespace {

constexpr std::size_t kMaxTemplateBytes = std::size_t{1} << 20;

// What the published templates make of thoughts.
constexpr ThoughtRules kNever = {};
constexpr ThoughtRules kMayThink = {Thoughts::kItself, Thoughts::kItself, Thoughts::kSkipped};
constexpr ThoughtRules kAlways = {Thoughts::kOpened, Thoughts::kOpened, {}};
constexpr ThoughtRules kUnlessOff = {Thoughts::kOpened, Thoughts::kOpened, Thoughts::kSkipped};
constexpr ThoughtRules kOnlyWhenOn = {Thoughts::kSkipped, Thoughts::kOpened, Thoughts::kSkipped};

// What a template has that its family's layout leaves open.
struct Known {
  std::string_view sha256;
  bool trims_thoughts;
  bool trims_turns;
  ThoughtRules thoughts;
};

constexpr Known kKnownTemplates[] = {
    // Qwen3-VL Instruct, every size; 5292 bytes.
    {"3636d0f0bd6bef02654cdffdc447b79cb2cef8ab02cc75267345946291a489e4", false, false, kNever},
    // Qwen2.5 and Qwen2.5-VL Instruct, every size.
    {"cd8e9439f0570856fd70470bf8889ebd8b5d1107207f67a5efb46e342330527f", false, false, kNever},
    {"a0bc6f6fc7a29a80017a433e8f03a1cc1236e838a944a2d034295a60c4f2fddb", false, false, kNever},
    // Qwen3, every size; Instruct 2507.
    {"a55ee1b1660128b7098723e0abcd92caa0788061051c62d51cbe87d9cf1974d8", true, false, kMayThink},
    {"64f85b198065d0fba2a81f37e10ed68161ce2c19a754c7100e67e0ca2ee9c326", false, false, kNever},
    // Qwen3.5 of 4B and more, of 2B and less; Qwen3.6.
    {"a4aee8afcf2e0711942cf848899be66016f8d14a889ff9ede07bca099c28f715", true, true, kUnlessOff},
    {"273d8e0e683b885071fb17e08d71e5f2a5ddfb5309756181681de4f5a1822d80", true, true, kOnlyWhenOn},
    {"e84f32a23fdda27689f868aa4a1a5621f41133e51a48d7f3efcbea2839574259", true, true, kUnlessOff},
    // ember.
    {"d273bd8152f73ea98a1a9c371db3c23746563b34a6518b92c439356f88bbd72e", false, false, kNever},
    {"2ccce57f988d778e1c965620e3c37d612dcd0c48fdbed6f661c210a67d69c0e4", false, false, kNever},
};

const Known* find_known(std::string_view chat_template) {
  const std::string sha256 = sha256_hex(chat_template);
  const auto found = std::find_if(std::begin(kKnownTemplates), std::end(kKnownTemplates),
                                  [&](const Known& known) { return known.sha256 == sha256; });
  return found == std::end(kKnownTemplates) ? nullptr : found;
}

// By the words with which published templates end: those of models that always think open a thought
// behind the assistant's header, those with a choice ask for enable_thinking.
ThoughtRules guess_thoughts(std::string_view chat_template) {
  const auto says = [&](std::string_view words) {
    return chat_template.find(words) != std::string_view::npos;
  };
  const bool has_choice = says("enable_thinking");
  const bool opens = says(R"(<|im_start|>assistant\n<think>\n')") || says(R"('<think>\n')");
  if (!opens) return has_choice ? kMayThink : kNever;
  if (!has_choice) return kAlways;
  return says("enable_thinking is true") ? kOnlyWhenOn : kUnlessOff;
}

// A string, or a list of named templates of which "default" counts.
Result<std::string> template_of(const files::ConfigValue& value) {
  if (!value.is_array()) {
    TRY(const auto text, value.text_or(""));
    return std::string(text);
  }
  for (auto item = value.first(); item.exists(); item = item.next()) {
    TRY(const auto name, item["name"].text());
    TRY(const auto text, item["template"].text());
    if (name == "default") return std::string(text);
  }
  return std::string();
}

}  // namespace

Result<std::string> read_chat_template(const models::ModelFiles& files) {
  if (const auto* jinja = files::find_file(files, "chat_template.jinja"))
    return files::read_whole(*jinja, kMaxTemplateBytes);
  for (const auto* label : {"chat_template.json", "tokenizer_config.json"}) {
    if (!files::find_file(files, label)) continue;
    TRY(const auto root, files::read_json(files, label));
    TRY(auto text, template_of(root["chat_template"]));
    if (!text.empty()) return text;
  }
  return std::string();
}

bool is_known_template(std::string_view chat_template) {
  return find_known(chat_template) != nullptr;
}

ChatLayout layout_by_template(ChatLayout layout, std::string_view chat_template) {
  if (const Known* known = find_known(chat_template)) {
    layout.trims_thoughts = known->trims_thoughts;
    layout.trims_turns = known->trims_turns;
    layout.thoughts = known->thoughts;
  } else if (!chat_template.empty()) {
    layout.thoughts = guess_thoughts(chat_template);
  }
  return layout;
}

Result<std::string> template_warning(const models::ModelFiles& files, const ChatLayout& layout) {
  TRY(const auto chat_template, read_chat_template(files));
  if (chat_template.empty())
    return fmt::format("The model brings no chat template; {}'s layout was used.", layout.name);
  if (is_known_template(chat_template)) return std::string();
  return fmt::format(
      "The model's chat template is not known to hearth and was not run; {}'s layout was used.",
      layout.name);
}

}  // namespace hearth::text
