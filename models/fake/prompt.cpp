#include "models/fake/prompt.h"

#include <algorithm>
#include <array>
#include <iterator>
#include <utility>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "models/generate/grammars.h"
#include "models/generate/request.h"

namespace hearth::fake {
namespace {

constexpr std::int64_t kPixelsPerToken = 32 * 32;

constexpr std::array<std::uint32_t, 256> make_crc_table() {
  std::array<std::uint32_t, 256> table{};
  for (std::uint32_t byte = 0; byte < 256; ++byte) {
    std::uint32_t value = byte;
    for (int bit = 0; bit < 8; ++bit)
      value = (value & 1) != 0 ? 0xEDB88320U ^ value >> 1 : value >> 1;
    table[byte] = value;
  }
  return table;
}

Result<std::string> describe(std::size_t number, const contract::ContentPart& part,
                             const TensorView& tensor) {
  if (tensor.bytes.empty())
    return fail(Code::kBadPicture, fmt::format("The {} {} is empty: [{}].", part.kind, number,
                                               fmt::join(tensor.shape, ", ")));
  return fmt::format("{} {}: {} [{}] crc32 {:08x};", part.kind, number, name_of(tensor.dtype),
                     fmt::join(tensor.shape, ", "), crc32(tensor.bytes));
}

std::int64_t picture_tokens(std::span<const std::int64_t> shape) {
  std::int64_t pixels = 1;
  for (const std::int64_t size : shape.first(std::max<std::size_t>(shape.size(), 1) - 1))
    pixels *= size;
  return (pixels + kPixelsPerToken - 1) / kPixelsPerToken;
}

// Of shape and bytes. A checksum is good enough here: whoever tests makes no two pictures collide.
generate::ContentHash content_of(const TensorView& tensor) {
  const std::span<const std::int64_t> shape = tensor.shape;
  return {crc32(tensor.bytes), crc32(std::as_bytes(shape))};
}

void append_word(std::string& text, std::string_view word) {
  if (!text.empty() && !word.empty()) text += ' ';
  text += word;
}

// Bytes, and the words that begin and end thoughts.
std::vector<std::int32_t> tokens_of(std::string_view text) {
  constexpr std::pair<std::string_view, std::int32_t> kWords[] = {{"<think>", kThink},
                                                                  {"</think>", kThinkEnd}};
  std::vector<std::int32_t> ids;
  while (!text.empty()) {
    const auto word = std::find_if(std::begin(kWords), std::end(kWords), [&](const auto& known) {
      return text.starts_with(known.first);
    });
    const bool is_word = word != std::end(kWords);
    ids.push_back(is_word ? word->second : static_cast<std::uint8_t>(text.front()));
    text.remove_prefix(is_word ? word->first.size() : 1);
  }
  return ids;
}

generate::ThoughtTokens thoughts_of(const contract::Generate& request) {
  return {.begin = kThink,
          .end = kThinkEnd,
          .opened = request.thinking == "on",
          .expected = request.thinking == "auto",
          .new_line = {'\n'},
          .empty_line = {'\n', '\n'}};
}

// The vocabulary is the same for all models.
generate::Grammars& grammars() {
  static generate::Grammars all([] {
    std::vector<std::string> tokens(kVocabularySize);
    const ByteVocabulary vocabulary;
    for (std::int32_t id = 0; id < kVocabularySize; ++id)
      tokens[static_cast<std::size_t>(id)] = vocabulary.bytes_of(id);
    return tokens;
  });
  return all;
}

// Lays out all messages, taking tensors in order; describes their pictures.
class Layout {
 public:
  Layout(std::span<const TensorView> tensors, std::int32_t context_tokens, Prompt& prompt)
      : tensors_(tensors), context_tokens_(context_tokens), prompt_(prompt) {}

  Result<void> add(const contract::ChatMessage& message) {
    prompt_.ids.push_back(kBegin);
    std::string text;
    for (const contract::ContentPart& part : message.content) {
      if (part.tensor) CHECK_OK(add_picture(part));
      for (const char byte : part.text) prompt_.ids.push_back(static_cast<std::uint8_t>(byte));
      append_word(text, part.text);
    }
    prompt_.ids.push_back(kEnd);
    if (message.role == "user") last_user_text_ = std::move(text);
    return {};
  }

  const std::string& last_user_text() const { return last_user_text_; }
  const std::string& pictures() const { return pictures_; }

 private:
  Result<void> add_picture(const contract::ContentPart& part) {
    if (taken_ == tensors_.size())
      return fail(Code::kInternal, "There are fewer tensors than the messages name.");
    const TensorView& tensor = tensors_[taken_++];
    TRY(const std::string description, describe(taken_, part, tensor));
    append_word(pictures_, description);
    const std::int64_t tokens = picture_tokens(tensor.shape);
    if (tokens > context_tokens_)
      return fail(Code::kTooLong, fmt::format("The {} {} takes {} tokens, the context holds {}.",
                                              part.kind, taken_, tokens, context_tokens_));
    prompt_.media.push_back({static_cast<std::int32_t>(prompt_.ids.size()),
                             static_cast<std::int32_t>(tokens), content_of(tensor)});
    prompt_.ids.insert(prompt_.ids.end(), static_cast<std::size_t>(tokens), kPicture);
    prompt_.image_tokens += static_cast<std::uint32_t>(tokens);
    return {};
  }

  std::span<const TensorView> tensors_;
  const std::int32_t context_tokens_;
  Prompt& prompt_;
  std::size_t taken_ = 0;
  std::string last_user_text_;
  std::string pictures_;
};

// All but what sampling or taps add. `pictures`, if given, takes their descriptions.
Result<std::unique_ptr<Prompt>> lay_out(std::span<const contract::ChatMessage> messages,
                                        std::span<const TensorView> tensors, const Config& config,
                                        bool generation_prompt, std::string* pictures = nullptr) {
  auto prompt = std::make_unique<Prompt>();
  Layout layout(tensors, config.context_tokens, *prompt);
  for (const contract::ChatMessage& message : messages) CHECK_OK(layout.add(message));
  if (generation_prompt) prompt->ids.push_back(kBegin);
  prompt->end_ids = {kEnd};
  prompt->vocabulary = std::make_shared<ByteVocabulary>();
  if (pictures != nullptr) *pictures = layout.pictures();
  prompt->script = parse_script(config.script + " " + layout.last_user_text());
  return prompt;
}

std::string count_to(int last) {
  std::string text;
  for (int number = 1; number <= last; ++number) append_word(text, std::to_string(number));
  return text;
}

}  // namespace

std::string ByteVocabulary::bytes_of(std::int32_t id) const {
  return id >= 0 && id < 256 ? std::string(1, static_cast<char>(id)) : std::string();
}

std::uint32_t crc32(std::span<const std::byte> bytes) {
  static constexpr auto kTable = make_crc_table();
  std::uint32_t value = 0xFFFFFFFFU;
  for (const std::byte byte : bytes)
    value = kTable[(value ^ static_cast<std::uint32_t>(byte)) & 0xFFU] ^ value >> 8;
  return value ^ 0xFFFFFFFFU;
}

Result<std::unique_ptr<Prompt>> read_prompt(const contract::Generate& request,
                                            std::span<const TensorView> tensors,
                                            const Config& config) {
  TRY(generate::Sampling sampling, generate::resolve_sampling(request));
  std::string pictures;
  TRY(auto prompt, lay_out(request.messages, tensors, config, true, &pictures));
  prompt->sampling = std::move(sampling);
  prompt->thoughts = thoughts_of(request);
  if (prompt->thoughts.opened) prompt->ids.push_back(kThink);
  TRY(prompt->grammar, grammars().of(request, 0));
  CHECK_OK(generate::check_length(prompt->ids.size(), prompt->sampling.max_tokens,
                                  config.context_tokens));
  std::string answer = config.prefix;
  append_word(answer, pictures);
  append_word(answer, prompt->script.echo);
  append_word(answer, count_to(prompt->script.count));
  if (prompt->script.random_letters == 0) prompt->answer = tokens_of(answer);
  return prompt;
}

Result<std::unique_ptr<Prompt>> read_prompt(const contract::Encode& request,
                                            std::span<const TensorView> tensors,
                                            const Config& config) {
  TRY(auto prompt, lay_out(request.messages, tensors, config, request.generation_prompt));
  TRY(prompt->taps,
      generate::resolve_taps(request, {kHiddenStates, prompt->script.hidden_columns, DType::kF32}));
  CHECK_OK(generate::check_encoding(prompt->ids.size(), *prompt->taps, config.context_tokens));
  return prompt;
}

Result<contract::TokensCounted> count_tokens(const contract::CountTokens& request,
                                             std::int32_t context_tokens) {
  constexpr std::int64_t kLongestSide = 1 << 16;
  contract::TokensCounted counted;
  counted.context_tokens = static_cast<std::uint32_t>(context_tokens);
  std::size_t text_tokens = request.thinking == "on" ? 2 : 1;  // the answer's beginning
  for (const contract::ChatMessage& message : request.messages) {
    text_tokens += 2;
    for (const contract::ContentPart& part : message.content) {
      text_tokens += part.text.size();
      if (!part.tensor) continue;
      const std::vector<std::int64_t>& shape = part.tensor->shape;
      const bool fits = std::all_of(shape.begin(), shape.end(),
                                    [](std::int64_t size) { return size <= kLongestSide; });
      if ((shape.size() != 3 && shape.size() != 4) || !fits)
        return fail(Code::kBadPicture,
                    fmt::format("A {} has shape [{}].", part.kind, fmt::join(shape, ", ")));
      const std::int64_t height = shape[shape.size() - 3], width = shape[shape.size() - 2];
      const auto tokens = static_cast<std::uint32_t>(picture_tokens(shape));
      counted.image_tokens += tokens;
      counted.pictures.push_back({.width = width,
                                  .height = height,
                                  .seen_width = width,
                                  .seen_height = height,
                                  .frames = shape.size() == 4 ? shape[0] : 0,
                                  .tokens = tokens});
    }
  }
  counted.prompt_tokens = counted.image_tokens + static_cast<std::uint32_t>(text_tokens);
  return counted;
}

}  // namespace hearth::fake
