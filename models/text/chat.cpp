#include "models/text/chat.h"

#include <algorithm>
#include <string_view>

#include <fmt/format.h>

namespace hearth::text {
namespace {

constexpr std::string_view kTurnStart = "<|im_start|>";
constexpr std::string_view kTurnEnd = "<|im_end|>";
constexpr std::string_view kVisionStart = "<|vision_start|>";
constexpr std::string_view kVisionEnd = "<|vision_end|>";
constexpr std::string_view kImagePad = "<|image_pad|>";
constexpr std::string_view kVideoPad = "<|video_pad|>";
constexpr std::string_view kThinkStart = "<think>";
constexpr std::string_view kThinkEnd = "</think>";

// Bytes of the white space at `at`, as Python's str.strip() sees it; 0: there is none.
std::size_t space_at(std::string_view text, std::size_t at) {
  static constexpr std::string_view kSpaces[] = {
      " ",      "\n",     "\t",     "\r",     "\v",     "\f",     "\x1C",   "\x1D",
      "\x1E",   "\x1F",   "\u0085", "\u00A0", "\u1680", "\u2000", "\u2001", "\u2002",
      "\u2003", "\u2004", "\u2005", "\u2006", "\u2007", "\u2008", "\u2009", "\u200A",
      "\u2028", "\u2029", "\u202F", "\u205F", "\u3000"};
  for (const std::string_view space : kSpaces)
    if (text.substr(at).starts_with(space)) return space.size();
  return 0;
}

std::size_t leading_space(std::string_view text) {
  std::size_t at = 0;
  while (const std::size_t bytes = space_at(text, at)) at += bytes;
  return at;
}

std::size_t trailing_space(std::string_view text) {
  constexpr std::size_t kMostBytes = 3;  // of one white space
  std::size_t end = text.size();
  for (std::size_t bytes = 1; bytes <= kMostBytes && bytes <= end;) {
    const bool is_space = space_at(text.substr(0, end), end - bytes) == bytes;
    end -= is_space ? bytes : 0;
    bytes = is_space ? 1 : bytes + 1;
  }
  return text.size() - end;
}

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
  void media(std::string_view placeholder) {
    special(kVisionStart);
    pieces_.push_back({Piece::Kind::kMedia, std::string(placeholder), media_++});
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
  // Where the content of a turn begins, for trim().
  struct Mark {
    std::size_t piece = 0;
    std::size_t bytes = 0;
  };
  Mark mark() const {
    if (pieces_.empty() || pieces_.back().kind != Piece::Kind::kText) return {pieces_.size(), 0};
    return {pieces_.size() - 1, pieces_.back().text.size()};
  }
  // Drops white space behind the mark and at the end.
  void trim(const Mark& mark) {
    if (mark.piece < pieces_.size() && pieces_[mark.piece].kind == Piece::Kind::kText) {
      std::string& first = pieces_[mark.piece].text;
      first.erase(mark.bytes, leading_space(std::string_view(first).substr(mark.bytes)));
    }
    if (pieces_.empty() || pieces_.back().kind != Piece::Kind::kText) return;
    const std::size_t kept = mark.piece + 1 == pieces_.size() ? mark.bytes : 0;
    std::string& last = pieces_.back().text;
    last.resize(last.size() - trailing_space(std::string_view(last).substr(kept)));
    if (last.empty()) pieces_.pop_back();
  }
  void thoughts(Thoughts thoughts) {
    if (thoughts != Thoughts::kOpened && thoughts != Thoughts::kSkipped) return;
    special(kThinkStart);
    text(thoughts == Thoughts::kOpened ? "\n" : "\n\n");
    if (thoughts == Thoughts::kOpened) return;
    special(kThinkEnd);
    text("\n\n");
  }
  std::vector<Piece> pieces() && { return std::move(pieces_); }

 private:
  std::vector<Piece> pieces_;
  std::size_t media_ = 0;
};

Result<void> lay_out_part(const contract::ContentPart& part, std::string_view role, bool pictures,
                          Layout& layout) {
  if (part.kind == "text") {
    layout.text(part.text);
    return {};
  }
  const bool is_video = part.kind == "video";
  if (!is_video && part.kind != "image")
    return fail(Code::kBadRequest, fmt::format("A part of a message is of kind {}.", part.kind));
  const std::string_view what = is_video ? "video" : "picture";
  if (!pictures)
    return fail(Code::kUnsupported,
                fmt::format("This model reads text only; a message holds a {}.", what),
                "Choose a vision-language model.");
  if (role != "user")
    return fail(Code::kBadRequest, fmt::format("A {} message holds a {}.", role, what),
                "Put pictures and videos into user messages.");
  layout.media(is_video ? kVideoPad : kImagePad);
  return {};
}

// What an assistant said aloud.
std::string without_thoughts(const contract::ChatMessage& message) {
  std::string text;
  for (const auto& part : message.content) text += part.text;
  const std::size_t end = text.rfind(kThinkEnd);
  if (end == std::string::npos) return text;
  const std::size_t first = text.find_first_not_of('\n', end + kThinkEnd.size());
  return first == std::string::npos ? std::string() : text.substr(first);
}

Result<void> lay_out_turn(const contract::ChatMessage& message, const ChatLayout& rules,
                          bool earlier, Layout& layout) {
  layout.open_turn(message.role);
  const Layout::Mark content = layout.mark();
  if (rules.trims_thoughts && earlier && message.role == "assistant") {
    for (const auto& part : message.content)
      if (part.kind != "text") return lay_out_part(part, message.role, rules.pictures, layout);
    layout.text(without_thoughts(message));
  } else {
    for (const auto& part : message.content)
      CHECK_OK(lay_out_part(part, message.role, rules.pictures, layout));
  }
  if (rules.trims_turns) layout.trim(content);
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
                                        const ChatEnd& end) {
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
    CHECK_OK(lay_out_turn(message, rules, earlier, layout));
  }
  if (end.generation_prompt) {
    layout.open_turn("assistant");
    layout.thoughts(end.thoughts);
  }
  return std::move(layout).pieces();
}

Result<Thoughts> thoughts_of(const ChatLayout& layout, Thinking wanted) {
  const ThoughtRules& rules = layout.thoughts;
  if (wanted == Thinking::kAuto) return rules.automatic;
  const std::optional<Thoughts>& way = wanted == Thinking::kOn ? rules.on : rules.off;
  if (way) return *way;
  if (wanted == Thinking::kOn)
    return fail(Code::kUnsupported, "thinking is on, but this model does not think.",
                "Set thinking to auto or off, or choose a model that thinks.");
  return fail(Code::kUnsupported, "thinking is off, but this model always thinks.",
              "Set thinking to auto and thinking_tokens to what it may take, or choose an Instruct "
              "model.");
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
