// A chat as pieces: control tokens that are tokens, and text that stays text whatever it contains.
//
// A family's layout is data here, not a template that is executed: a checkpoint's Jinja may run
// anything, and text rendered into one string could no longer be told from control tokens.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "models/files/config.h"
#include "models/model.h"
#include "models/text/tokenizer.h"
#include "shm/base/result.h"
#include "shm/contract/messages.h"

namespace hearth::text {

struct Piece {
  enum class Kind {
    kSpecial,  // `text` is one added token: "<|im_start|>"
    kText,     // plain text; never parsed for tokens
    kMedia,    // `text` is the placeholder token; picture or video number `media` goes here
  };
  Kind kind = Kind::kText;
  std::string text;
  std::size_t media = 0;
};

// What a request asks of thoughts; kAuto: as the template has it when nobody asks.
enum class Thinking { kAuto, kOn, kOff };

// How a prompt that shall be answered deals with thoughts.
enum class Thoughts {
  kNone,     // the model has none
  kItself,   // the model begins them, or does not
  kOpened,   // "<think>\n" ends the prompt
  kSkipped,  // a closed, empty thought ends the prompt
};

// What a template makes of each wish; absent: it has no way to do so.
struct ThoughtRules {
  Thoughts automatic = Thoughts::kNone;
  std::optional<Thoughts> on = {};
  std::optional<Thoughts> off = Thoughts::kNone;
  friend bool operator==(const ThoughtRules&, const ThoughtRules&) = default;
};

// What the ChatML of one family has that others do not.
struct ChatLayout {
  std::string_view name = "Qwen3-VL";    // for warnings
  std::string_view default_system = {};  // of a chat without a system turn; empty: it gets none
  bool pictures = true;                  // false: text only
  // Of an assistant's turn before the last user's only what follows </think> is laid out (Qwen3).
  bool trims_thoughts = false;
  bool trims_turns = false;  // white space around each turn goes (Qwen3.5)
  ThoughtRules thoughts = {};
};

// How a prompt of this layout deals with thoughts. Errors: unsupported when it cannot do as asked.
Result<Thoughts> thoughts_of(const ChatLayout& layout, Thinking wanted);

// What follows a chat's last turn.
struct ChatEnd {
  bool generation_prompt = true;  // an assistant's header
  Thoughts thoughts = Thoughts::kNone;
};

// ChatML as the family's own template lays it out: the system turn, pictures and videos of user
// turns in content order, then the assistant's header and what it says of thoughts if an answer
// shall follow. No two text pieces are neighbours. Errors: bad_request for a system turn that is
// not the first, for pictures outside user turns and for no message at all; unsupported for
// pictures and videos where the layout has none.
Result<std::vector<Piece>> lay_out_chat(const ChatLayout& layout,
                                        std::span<const contract::ChatMessage> messages,
                                        const ChatEnd& end = {});

// What transformers' apply_chat_template(tokenize=False, add_generation_prompt=…) gives.
std::string render(std::span<const Piece> pieces);

// Token ids of the pieces; media piece n becomes media_tokens[n] times its placeholder.
// `media_tokens` has one entry for each picture. Errors: bad_model when the tokenizer lacks a
// control token; bad_request as Tokenizer::encode.
Result<std::vector<std::int32_t>> encode_chat(const Tokenizer& tokenizer,
                                              std::span<const Piece> pieces,
                                              std::span<const std::int32_t> media_tokens);

// The checkpoint's chat template, from chat_template.jinja, chat_template.json or
// tokenizer_config.json; empty when it has none. Errors: bad_model.
Result<std::string> read_chat_template(const models::ModelFiles& files);

// Whether `chat_template` is known to give exactly lay_out_chat()'s text.
bool is_known_template(std::string_view chat_template);
// A family's layout as this template has it: what it does with thoughts and white space. A template
// that is not known is searched for what the published ones say of thoughts.
ChatLayout layout_by_template(ChatLayout layout, std::string_view chat_template);

// For Generated.warnings: one sentence when the checkpoint's template is unknown or missing, so
// that the family's layout was used instead; empty otherwise. Errors: bad_model.
Result<std::string> template_warning(const models::ModelFiles& files, const ChatLayout& layout);

}  // namespace hearth::text
