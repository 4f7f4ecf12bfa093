#include "models/language/prompt.h"

#include <algorithm>
#include <array>
#include <chrono>
#include <numeric>

#include <fmt/format.h>

#include "models/generate/request.h"
#include "models/image/smart_resize.h"
#include "models/language/positions.h"

namespace hearth::language {
namespace {

using Spans = std::vector<decoder::MediaSpan>;

// What every request with a chat says of its prompt.
struct Chat {
  std::span<const contract::ChatMessage> messages;
  std::int64_t min_pixels = 0;
  std::int64_t max_pixels = 0;
  bool generation_prompt = true;
};

// The request's pixel limits over the model's own. One of them alone moves the other along when it
// has to.
Result<image::PictureRules> limited(const Chat& chat, image::PictureRules rules) {
  const std::int64_t min = chat.min_pixels;
  const std::int64_t max = chat.max_pixels;
  if (min > 0 && max > 0 && min > max)
    return fail(Code::kBadRequest,
                fmt::format("min_pixels {} is larger than max_pixels {}", min, max));
  if (min > 0) rules.min_pixels = min;
  if (max > 0) rules.max_pixels = max;
  if (max > 0) rules.min_pixels = std::min(rules.min_pixels, max);
  rules.max_pixels = std::max(rules.max_pixels, rules.min_pixels);
  return rules;
}

Error name_picture(Error error, std::size_t number) {
  error.what = fmt::format("picture {}: {}", number + 1, error.what);
  return error;
}

// Tokens the picture will take, from its shape alone. Shapes that are no picture count as none:
// they are refused when the picture is read.
Result<std::int32_t> count_tokens(const TensorView& tensor, const image::PictureRules& rules) {
  if (tensor.shape.size() != 3) return 0;
  constexpr std::int64_t kMostSide = 1 << 24;
  if (tensor.shape[0] > kMostSide || tensor.shape[1] > kMostSide)
    return fail(Code::kBadPicture, fmt::format("{} x {} pixels", tensor.shape[1], tensor.shape[0]));
  const image::Size size{static_cast<int>(tensor.shape[0]), static_cast<int>(tensor.shape[1])};
  TRY(const image::Size resized, image::smart_resize(size, rules.limits()));
  const int token_side = rules.patch_size * rules.merge_size;
  return resized.height / token_side * (resized.width / token_side);
}

Result<std::vector<std::int32_t>> count_all_tokens(std::span<const TensorView> tensors,
                                                   const image::PictureRules& rules) {
  std::vector<std::int32_t> counts;
  for (std::size_t i = 0; i < tensors.size(); ++i) {
    auto count = count_tokens(tensors[i], rules);
    if (!count) return name_picture(std::move(count).error(), i);
    counts.push_back(*count);
  }
  return counts;
}

// The runs of placeholders. Plain text cannot contain one, so every run is a picture; what counts
// as none has no run.
Spans find_spans(std::span<const std::int32_t> ids, std::span<const std::int32_t> counts,
                 std::int32_t placeholder) {
  Spans spans;
  std::int32_t at = 0;
  for (const std::int32_t count : counts) {
    while (count > 0 && ids[static_cast<std::size_t>(at)] != placeholder) ++at;
    spans.push_back({at, count});
    at += count;
  }
  return spans;
}

// What a picture's features depend on: its pixels, the size they are brought to, and how they are
// cut.
generate::ContentHash content_of(const image::Still& still, const image::PictureRules& rules,
                                 const generate::SipKey& key) {
  const auto pixels = generate::siphash128(key, std::as_bytes(std::span(still.picture.pixels)));
  const auto number = [](auto value) { return static_cast<std::uint64_t>(value); };
  const std::array<std::uint64_t, 9> all = {pixels[0],
                                            pixels[1],
                                            number(still.picture.size.height),
                                            number(still.picture.size.width),
                                            number(still.grid_height),
                                            number(still.grid_width),
                                            number(rules.patch_size),
                                            number(rules.merge_size),
                                            number(rules.temporal_patch_size)};
  const auto hash = generate::siphash128(key, std::as_bytes(std::span(all)));
  return {hash[0], hash[1]};
}

Result<void> read_picture(const TensorView& tensor, const image::PictureRules& pictures,
                          const PromptRules& rules, decoder::MediaPrompt& prompt) {
  TRY(image::Still still, image::read_still(tensor, pictures, rules.resize));
  const decoder::MediaSpan& span = prompt.spans[prompt.pictures.size()];
  prompt.media.push_back({span.first, span.count, content_of(still, pictures, rules.content_key)});
  prompt.pictures.push_back(std::move(still));
  return {};
}

// Into the spans that are there already.
Result<void> read_pictures(std::span<const TensorView> tensors, const image::PictureRules& pictures,
                           const models::Job& job, const PromptRules& rules,
                           decoder::MediaPrompt& prompt) {
  for (std::size_t i = 0; i < tensors.size(); ++i) {
    if (job.cancelled.load()) return fail(Code::kCancelled, "the request was cancelled");
    auto read = read_picture(tensors[i], pictures, rules, prompt);
    if (!read) return name_picture(std::move(read).error(), i);
  }
  return {};
}

void place(decoder::MediaPrompt& prompt, int merge_size) {
  std::vector<PlacedPicture> placed;
  for (std::size_t i = 0; i < prompt.pictures.size(); ++i)
    placed.push_back({prompt.spans[i], prompt.pictures[i].grid_height / merge_size,
                      prompt.pictures[i].grid_width / merge_size});
  Positions positions = place_tokens(static_cast<std::int32_t>(prompt.ids.size()), placed);
  prompt.positions = std::move(positions.ids);
  prompt.position_delta = positions.delta;
}

std::size_t count_media(std::span<const text::Piece> pieces) {
  return static_cast<std::size_t>(std::count_if(
      pieces.begin(), pieces.end(),
      [](const text::Piece& piece) { return piece.kind == text::Piece::Kind::kMedia; }));
}

Result<void> check_room(const decoder::MediaPrompt& prompt, std::size_t tokens,
                        const PromptRules& rules) {
  auto checked = prompt.taps ? generate::check_encoding(tokens, *prompt.taps, rules.context_tokens)
                             : generate::check_length(tokens, prompt.sampling.max_tokens,
                                                      rules.context_tokens);
  if (checked || checked.error().code != Code::kTooLong || rules.context_limit.empty())
    return checked;
  Error error = std::move(checked).error();
  error.what += " " + rules.context_limit;
  return error;
}

// All of a prompt but what was asked of it: sampling or taps, which are there already.
Result<void> lay_out(const Chat& chat, std::span<const TensorView> tensors, const models::Job& job,
                     const PromptRules& rules, decoder::MediaPrompt& prompt) {
  const auto start = models::Clock::now();
  TRY(const image::PictureRules pictures, limited(chat, rules.pictures));
  TRY(const std::vector<text::Piece> pieces,
      text::lay_out_chat(rules.layout, chat.messages, {chat.generation_prompt}));
  if (count_media(pieces) != tensors.size())
    return fail(Code::kBadRequest, fmt::format("the messages name {} pictures, {} were sent",
                                               count_media(pieces), tensors.size()));
  TRY(const std::vector<std::int32_t> counts, count_all_tokens(tensors, pictures));
  const auto image_tokens = std::accumulate(counts.begin(), counts.end(), std::int64_t{0});
  CHECK_OK(check_room(prompt, static_cast<std::size_t>(image_tokens) + 1, rules));
  TRY(prompt.ids, text::encode_chat(*rules.tokenizer, pieces, counts));
  CHECK_OK(check_room(prompt, prompt.ids.size(), rules));
  prompt.spans = find_spans(prompt.ids, counts, rules.image_token);
  CHECK_OK(read_pictures(tensors, pictures, job, rules, prompt));
  prompt.user = job.user;
  place(prompt, pictures.merge_size);
  prompt.image_tokens = static_cast<std::uint32_t>(image_tokens);
  prompt.end_ids = rules.defaults.end_ids;
  prompt.vocabulary = rules.tokenizer;
  prompt.warnings = rules.warnings;
  prompt.preprocess_ms =
      std::chrono::duration<double, std::milli>(models::Clock::now() - start).count();
  return {};
}

}  // namespace

Result<std::unique_ptr<decoder::MediaPrompt>> make_prompt(const contract::Generate& request,
                                                          std::span<const TensorView> tensors,
                                                          const models::Job& job,
                                                          const PromptRules& rules) {
  auto prompt = std::make_unique<decoder::MediaPrompt>();
  TRY(prompt->sampling, generate::resolve_sampling(request, rules.defaults.sampling));
  const Chat chat{request.messages, request.min_pixels, request.max_pixels};
  CHECK_OK(lay_out(chat, tensors, job, rules, *prompt));
  return prompt;
}

Result<std::unique_ptr<decoder::MediaPrompt>> make_prompt(const contract::Encode& request,
                                                          std::span<const TensorView> tensors,
                                                          const models::Job& job,
                                                          const PromptRules& rules) {
  auto prompt = std::make_unique<decoder::MediaPrompt>();
  TRY(prompt->taps, generate::resolve_taps(request, rules.hidden));
  const Chat chat{request.messages, request.min_pixels, request.max_pixels,
                  request.generation_prompt};
  CHECK_OK(lay_out(chat, tensors, job, rules, *prompt));
  return prompt;
}

}  // namespace hearth::language
