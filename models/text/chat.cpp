#include "models/text/chat.h"

#include <string_view>

#include <fmt/format.h>

namespace hearth::text {
namespace {

constexpr std::string_view kTurnStart = "<|im_start|>";
constexpr std::string_view kTurnEnd = "<|im_end|>";
constexpr std::string_view kVisionStart = "<|vision_start|>";
constexpr std::string_view kVisionEnd = "<|vision_end|>";
constexpr std::string_view kImagePad = "<|image_pad|>";

// Builds the pieces; text that follows text joins it, for BPE must see them as one.
class Layout {
 public:
  void special(std::string_view token) {
    pieces_.push_back({Piece::Kind::kSpecial, std::string(token), 0});
  }
  void text(std::string_view text) {
    if (text.empty()) return;
    if (pieces_.empty() || pieces_.back().kind != Piece::Kind::kText)
      pieces_.push_back({Piece::Kind::kText, {}, 0});
    pieces_.back().text += text;
  }
  void image() {
    special(kVisionStart);
    pieces_.push_back({Piece::Kind::kMedia, std::string(kImagePad), images_++});
    special(kVisionEnd);
  }
  void open_turn(std::string_view role) {
    special(kTurnStart);
    text(role);
    text("\n");
  }
  void close_turn() {
    special(kTurnEnd);
    text("\n");
  }
  std::vector<Piece> pieces() && { return std::move(pieces_); }

 private:
  std::vector<Piece> pieces_;
  std::size_t images_ = 0;
};

Result<void> lay_out_part(const contract::ContentPart& part, std::string_view role, bool pictures,
                          Layout& layout) {
  if (part.kind == "text") {
    layout.text(part.text);
    return {};
  }
  if (part.kind != "image")
    return fail(Code::kUnsupported, fmt::format("This model is not given any {} yet.", part.kind),
                "Send single frames as pictures.");
  if (!pictures)
    return fail(Code::kUnsupported, "This model reads text only; a message holds a picture.",
                "Choose a vision-language model.");
  if (role != "user")
    return fail(Code::kBadRequest, fmt::format("A {} message holds a picture.", role),
                "Put pictures into user messages.");
  layout.image();
  return {};
}

// What an assistant said aloud.
std::string without_thoughts(const contract::ChatMessage& message) {
  constexpr std::string_view kEnd = "</think>";
  std::string text;
  for (const auto& part : message.content) text += part.text;
  const std::size_t end = text.rfind(kEnd);
  if (end == std::string::npos) return text;
  const std::size_t first = text.find_first_not_of('\n', end + kEnd.size());
  return first == std::string::npos ? std::string() : text.substr(first);
}

Result<void> lay_out_turn(const contract::ChatMessage& message, bool trims_thoughts, bool pictures,
                          Layout& layout) {
  layout.open_turn(message.role);
  if (trims_thoughts && message.role == "assistant") {
    for (const auto& part : message.content)
      if (part.kind != "text") return lay_out_part(part, message.role, pictures, layout);
    layout.text(without_thoughts(message));
  } else {
    for (const auto& part : message.content)
      CHECK_OK(lay_out_part(part, message.role, pictures, layout));
  }
  layout.close_turn();
  return {};
}

const contract::ChatMessage* last_user_turn(std::span<const contract::ChatMessage> messages) {
  for (std::size_t i = messages.size(); i-- > 0;)
    if (messages[i].role == "user") return &messages[i];
  return messages.data();
}

}  // namespace

Result<std::vector<Piece>> lay_out_chat(const ChatLayout& rules,
                                        std::span<const contract::ChatMessage> messages,
                                        bool generation_prompt) {
  if (messages.empty())
    return fail(Code::kBadRequest, "There is no message to answer.", "Send at least one message.");
  Layout layout;
  if (!rules.default_system.empty() && messages.front().role != "system") {
    layout.open_turn("system");
    layout.text(rules.default_system);
    layout.close_turn();
  }
  for (const auto& message : messages) {
    if (message.role == "system" && &message != messages.data())
      return fail(Code::kBadRequest, "A system message follows another message.",
                  "Put the system message first.");
    const bool earlier = &message < last_user_turn(messages);
    CHECK_OK(lay_out_turn(message, rules.trims_thoughts && earlier, rules.pictures, layout));
  }
  if (generation_prompt) layout.open_turn("assistant");
  return std::move(layout).pieces();
}

std::string render(std::span<const Piece> pieces) {
  std::string text;
  for (const auto& piece : pieces) text += piece.text;
  return text;
}

Result<std::vector<std::int32_t>> encode_chat(const Tokenizer& tokenizer,
                                              std::span<const Piece> pieces,
                                              std::span<const std::int32_t> media_tokens) {
  std::vector<std::int32_t> ids;
  for (const auto& piece : pieces) {
    if (piece.kind == Piece::Kind::kText) {
      TRY(const auto words, tokenizer.encode(piece.text, SpecialTokens::kAsText));
      ids.insert(ids.end(), words.begin(), words.end());
      continue;
    }
    const auto id = tokenizer.id_of(piece.text);
    if (!id)
      return fail(Code::kBadModel,
                  fmt::format("The tokenizer lacks {}, which the chat layout needs.", piece.text));
    const bool is_media = piece.kind == Piece::Kind::kMedia;
    if (is_media && piece.media >= media_tokens.size())
      return fail(Code::kInternal, fmt::format("Picture {} was not prepared.", piece.media));
    const auto times = is_media ? media_tokens[piece.media] : 1;
    ids.insert(ids.end(), static_cast<std::size_t>(times), *id);
  }
  return ids;
}

}  // namespace hearth::text
