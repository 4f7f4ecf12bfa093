#include "models/language/prompt.h"

#include <algorithm>
#include <array>
#include <chrono>
#include <limits>

#include <fmt/format.h>

#include "models/generate/request.h"
#include "models/language/media.h"
#include "models/language/positions.h"

namespace hearth::language {
namespace {

// What every request with a chat says of its prompt.
struct Chat {
  std::span<const contract::ChatMessage> messages;
  PixelRange pixels;
  text::ChatEnd end = {};
};

// What the features and the places of a picture or step depend on: its pixels, the size they are
// brought to, how they are cut, and its time in a clip that is counted by positions.
generate::ContentHash content_of(const image::Still& still, std::int32_t time,
                                 const image::PictureRules& rules, const generate::SipKey& key) {
  const auto pixels = generate::siphash128(key, std::as_bytes(std::span(still.picture.pixels)));
  const auto number = [](auto value) { return static_cast<std::uint64_t>(value); };
  const std::array<std::uint64_t, 11> all = {number(still.frames),
                                             number(time),
                                             pixels[0],
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

// A picture, or all steps of a clip whose run begins at token `first`.
// Pixels wait at the size they were sent in where the device resizes them. After so many, those of
// the same request are resized here, to what the tower sees.
constexpr std::size_t kMostSourceBytes = std::size_t{256} << 20;

class MediaReader {
 public:
  MediaReader(const models::Job& job, const PromptRules& rules, decoder::MediaPrompt& prompt)
      : job_(job), rules_(rules), prompt_(prompt) {}

  Result<void> read(const Run& run, const PlacedPicture& place, const Medium& medium,
                    const TensorView& tensor) {
    for (std::int32_t i = 0; i < run.steps; ++i) {
      if (job_.cancelled.load()) return fail(Code::kCancelled, "the request was cancelled");
      const std::int32_t first = place.span.first + i * medium.step_tokens;
      auto read =
          add(first, medium, run.first_step + i, place.times[static_cast<std::size_t>(i)], tensor);
      models::progressed();  // many large pictures take longer than a request may seem to hang
      if (read) continue;
      Error error = std::move(read).error();
      error.what = fmt::format("{}: {}", medium.name, error.what);
      return error;
    }
    return {};
  }

 private:
  Result<void> add(std::int32_t first, const Medium& medium, std::int32_t step, std::int32_t time,
                   const TensorView& tensor) {
    const image::PictureRules& pictures = medium.pictures;
    const std::int64_t frame = std::int64_t{step} * pictures.temporal_patch_size;
    const auto resize =
        source_bytes_ < kMostSourceBytes ? rules_.resize : image::ResizeWhere::kHere;
    TRY(image::Still still, medium.is_clip
                                ? image::read_step(tensor, frame, medium.seen, pictures, resize)
                                : image::read_still(tensor, pictures, resize));
    source_bytes_ += still.picture.pixels.size();
    prompt_.spans.push_back({first, medium.step_tokens});
    prompt_.media.push_back(
        {first, medium.step_tokens, content_of(still, time, pictures, rules_.content_key)});
    prompt_.pictures.push_back(std::move(still));
    return {};
  }

  const models::Job& job_;
  const PromptRules& rules_;
  decoder::MediaPrompt& prompt_;
  std::size_t source_bytes_ = 0;  // of pixels that wait for the tower
};

void place(decoder::MediaPrompt& prompt, std::span<const PlacedPicture> places) {
  Positions positions = place_tokens(static_cast<std::int32_t>(prompt.ids.size()), places);
  prompt.positions = std::move(positions.ids);
  prompt.position_delta = positions.delta;
}

text::Thinking thinking_of(std::string_view word) {
  if (word == "auto") return text::Thinking::kAuto;
  return word == "on" ? text::Thinking::kOn : text::Thinking::kOff;
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

std::vector<std::vector<std::int64_t>> shapes_of(std::span<const TensorView> tensors) {
  std::vector<std::vector<std::int64_t>> shapes;
  for (const TensorView& tensor : tensors) shapes.push_back(tensor.shape);
  return shapes;
}

// A chat before its texts are tokenised.
struct Sketch {
  std::vector<Medium> media;
  std::vector<Run> runs;
  std::vector<text::Piece> pieces;  // a media piece for each run
  std::int64_t image_tokens = 0;
};

Result<Sketch> sketch_chat(const Chat& chat, std::span<const std::vector<std::int64_t>> shapes,
                           const PromptRules& rules) {
  TRY(std::vector<text::Piece> pieces, text::lay_out_chat(rules.layout, chat.messages, chat.end));
  Sketch sketch;
  TRY(sketch.media, plan_media(chat.messages, shapes, chat.pixels, rules));
  for (const Medium& medium : sketch.media) sketch.image_tokens += medium.tokens();
  sketch.runs = runs_of(sketch.media, rules);
  sketch.pieces = spell_times(std::move(pieces), sketch.media, rules);
  return sketch;
}

// Plain text cannot contain a placeholder, so every run of them is one of ours.
std::vector<PlacedPicture> find_places(std::span<const std::int32_t> ids, const Sketch& sketch,
                                       const PromptRules& rules) {
  std::vector<PlacedPicture> places;
  std::int32_t at = 0;
  for (const Run& run : sketch.runs) {
    const Medium& medium = sketch.media[run.medium];
    const std::int32_t placeholder = medium.is_clip ? rules.video_token : rules.image_token;
    while (ids[static_cast<std::size_t>(at)] != placeholder) ++at;
    places.push_back(placed(run, at, medium, rules));
    at += run.tokens;
  }
  return places;
}

// The prompt's ids, and where its pictures and clips stand, unless it is too long.
Result<std::vector<PlacedPicture>> tokenise(const Sketch& sketch, const PromptRules& rules,
                                            decoder::MediaPrompt& prompt) {
  CHECK_OK(check_room(prompt, static_cast<std::size_t>(sketch.image_tokens) + 1, rules));
  std::vector<std::int32_t> counts;
  for (const Run& run : sketch.runs) counts.push_back(run.tokens);
  TRY(prompt.ids, text::encode_chat(*rules.tokenizer, sketch.pieces, counts));
  CHECK_OK(check_room(prompt, prompt.ids.size(), rules));
  return find_places(prompt.ids, sketch, rules);
}

// All of a prompt but what was asked of it: sampling or taps, which are there already.
Result<void> lay_out(const Chat& chat, std::span<const TensorView> tensors, const models::Job& job,
                     const PromptRules& rules, decoder::MediaPrompt& prompt) {
  const auto start = models::Clock::now();
  TRY(const Sketch sketch, sketch_chat(chat, shapes_of(tensors), rules));
  TRY(const std::vector<PlacedPicture> places, tokenise(sketch, rules, prompt));
  MediaReader reader(job, rules, prompt);
  for (std::size_t i = 0; i < sketch.runs.size(); ++i) {
    const std::size_t medium = sketch.runs[i].medium;
    CHECK_OK(reader.read(sketch.runs[i], places[i], sketch.media[medium], tensors[medium]));
  }
  prompt.user = job.user;
  place(prompt, places);
  prompt.image_tokens = static_cast<std::uint32_t>(sketch.image_tokens);
  prompt.seen = seen_of(sketch.media);
  prompt.coordinates = rules.coordinates;
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
  TRY(const text::Thoughts thoughts,
      text::thoughts_of(rules.layout, thinking_of(request.thinking)));
  prompt->thoughts = rules.thoughts;
  prompt->thoughts.opened = thoughts == text::Thoughts::kOpened;
  prompt->thoughts.expected = thoughts == text::Thoughts::kItself;
  const Chat chat{request.messages, {request.min_pixels, request.max_pixels}, {true, thoughts}};
  CHECK_OK(lay_out(chat, tensors, job, rules, *prompt));
  TRY(prompt->grammar, rules.grammars->of(request, job.user));
  return prompt;
}

Result<std::unique_ptr<decoder::MediaPrompt>> make_prompt(const contract::Encode& request,
                                                          std::span<const TensorView> tensors,
                                                          const models::Job& job,
                                                          const PromptRules& rules) {
  auto prompt = std::make_unique<decoder::MediaPrompt>();
  TRY(prompt->taps, generate::resolve_taps(request, rules.hidden));
  const Chat chat{request.messages,
                  {request.min_pixels, request.max_pixels},
                  {.generation_prompt = request.generation_prompt}};
  CHECK_OK(lay_out(chat, tensors, job, rules, *prompt));
  return prompt;
}

Result<contract::TokensCounted> count_tokens(const contract::CountTokens& request,
                                             const PromptRules& rules) {
  std::vector<std::vector<std::int64_t>> shapes;
  for (const auto& message : request.messages)
    for (const auto& part : message.content)
      if (part.tensor) shapes.push_back(part.tensor->shape);
  TRY(const text::Thoughts thoughts,
      text::thoughts_of(rules.layout, thinking_of(request.thinking)));
  const Chat chat{
      request.messages, {request.min_pixels, request.max_pixels}, {.thoughts = thoughts}};
  TRY(const Sketch sketch, sketch_chat(chat, shapes, rules));
  const std::vector<std::int32_t> none(sketch.runs.size());
  TRY(const auto words, text::encode_chat(*rules.tokenizer, sketch.pieces, none));
  constexpr std::int64_t kMost = std::numeric_limits<std::uint32_t>::max();
  const auto all = sketch.image_tokens + static_cast<std::int64_t>(words.size());
  contract::TokensCounted counted;
  counted.prompt_tokens = static_cast<std::uint32_t>(std::min(all, kMost));
  counted.image_tokens = static_cast<std::uint32_t>(std::min(sketch.image_tokens, kMost));
  counted.context_tokens = static_cast<std::uint32_t>(rules.context_tokens);
  counted.pictures = seen_of(sketch.media);
  return counted;
}

}  // namespace hearth::language
