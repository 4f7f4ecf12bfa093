// Templates are recognised by their SHA-256, because that is what is published of them. Running or
// comparing them would mean a Jinja interpreter on a stranger's file; here a template that is not
// known costs one sentence in the reply.
#include <algorithm>
#include <array>

#include <fmt/format.h>

#include "models/files/config.h"
#include "models/files/model_file.h"
#include "models/text/chat.h"
#include "models/text/sha256.h"

namespace hearth::text {
namespace {

constexpr std::size_t kMaxTemplateBytes = std::size_t{1} << 20;

// Qwen3, every size.
constexpr std::string_view kQwen3Template =
    "a55ee1b1660128b7098723e0abcd92caa0788061051c62d51cbe87d9cf1974d8";

constexpr std::array<std::string_view, 7> kKnownTemplates = {
    // Qwen3-VL Instruct, every size; 5292 bytes.
    "3636d0f0bd6bef02654cdffdc447b79cb2cef8ab02cc75267345946291a489e4",
    // Qwen2.5 and Qwen2.5-VL Instruct, every size.
    "cd8e9439f0570856fd70470bf8889ebd8b5d1107207f67a5efb46e342330527f",
    "a0bc6f6fc7a29a80017a433e8f03a1cc1236e838a944a2d034295a60c4f2fddb",
    // Qwen3 Instruct 2507.
    "64f85b198065d0fba2a81f37e10ed68161ce2c19a754c7100e67e0ca2ee9c326",
    kQwen3Template,
    // ember.
    "d273bd8152f73ea98a1a9c371db3c23746563b34a6518b92c439356f88bbd72e",
    "2ccce57f988d778e1c965620e3c37d612dcd0c48fdbed6f661c210a67d69c0e4",
};

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
  return std::find(kKnownTemplates.begin(), kKnownTemplates.end(), sha256_hex(chat_template)) !=
         kKnownTemplates.end();
}

bool trims_thoughts(std::string_view chat_template) {
  return sha256_hex(chat_template) == kQwen3Template;
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
