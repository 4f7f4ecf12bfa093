// Chats of any shape and any bytes: laid out, tokenised, made into a prompt. Input: whether to make
// the whole prompt with its pictures, then the structure.
#include "models/text/chat.h"

#include <numeric>
#include <vector>

#include "models/language/prompt.h"
#include "tests/fuzz/fuzz.h"

namespace hearth::fuzz {
namespace {

using Kind = text::Piece::Kind;

constexpr const char* kRoles[] = {"user", "assistant", "system", "tool", ""};
constexpr const char* kKinds[] = {"text", "text", "image", "video", "?"};

const language::PromptRules& rules() {
  static const language::PromptRules made = [] {
    auto tokenizer = text::Tokenizer::load(fixture("tied_bf16"));
    expect(bool(tokenizer), "the fixture's tokenizer loads");
    language::PromptRules rules;
    rules.tokenizer = *std::move(tokenizer);
    rules.image_token = rules.tokenizer->id_of("<|image_pad|>").value_or(-1);
    rules.video_token = rules.tokenizer->id_of("<|video_pad|>").value_or(-1);
    rules.clips.min_pixels = 2 * 8 * 8;
    rules.clips.max_pixels = 4 * 24 * 24;
    rules.pictures.patch_size = 4;  // small pictures, so that runs are many
    rules.pictures.min_pixels = 8 * 8;
    rules.pictures.max_pixels = 24 * 24;
    rules.defaults.end_ids = {0};
    rules.context_tokens = 512;
    return rules;
  }();
  return made;
}

contract::Generate read_request(Input& input) {
  contract::Generate request;
  request.max_tokens = input.byte() + 1;
  const std::uint8_t limits = input.below(16);
  request.min_pixels = limits & 1 ? input.byte() : 0;
  request.max_pixels = limits & 2 ? input.byte() : 0;
  if (limits & 4) request.stop.emplace_back(input.text(input.below(8)));
  for (int turns = input.below(6); turns > 0; --turns) {
    contract::ChatMessage& turn = request.messages.emplace_back();
    turn.role = kRoles[input.below(std::size(kRoles))];
    for (int parts = input.below(5); parts > 0; --parts) {
      contract::ContentPart& part = turn.content.emplace_back();
      part.kind = kKinds[input.below(std::size(kKinds))];
      part.text = input.text(input.byte());
      if (part.kind != "video") continue;
      part.fps = input.byte() / 4.0;
      for (int frames = input.below(4); frames > 0; --frames)
        part.frame_indices.push_back(input.byte());
    }
  }
  return request;
}

std::size_t count(const std::vector<text::Piece>& pieces, Kind kind) {
  return static_cast<std::size_t>(std::count_if(
      pieces.begin(), pieces.end(), [&](const text::Piece& piece) { return piece.kind == kind; }));
}

void expect_sound(const std::vector<text::Piece>& pieces) {
  std::size_t media = 0;
  for (std::size_t i = 0; i < pieces.size(); ++i) {
    if (pieces[i].kind == Kind::kMedia) expect(pieces[i].media == media++, "pictures keep order");
    expect(i == 0 || pieces[i].kind != Kind::kText || pieces[i - 1].kind != Kind::kText,
           "no two texts are neighbours");
  }
  expect(!text::render(pieces).empty(), "a chat has a text");
}

// Control tokens come from the layout alone, whatever the texts say.
void check_tokens(const std::vector<text::Piece>& pieces) {
  const text::Tokenizer& tokenizer = *rules().tokenizer;
  std::vector<std::int32_t> media_tokens(count(pieces, Kind::kMedia));
  std::iota(media_tokens.begin(), media_tokens.end(), 1);
  const auto ids = text::encode_chat(tokenizer, pieces, media_tokens);
  if (!ids) return;
  const auto special = static_cast<std::size_t>(std::count_if(
      ids->begin(), ids->end(), [&](std::int32_t id) { return tokenizer.is_special(id); }));
  const auto placed = std::accumulate(media_tokens.begin(), media_tokens.end(), std::size_t{0});
  expect(special == count(pieces, Kind::kSpecial) + placed, "no text becomes a control token");
}

struct Pictures {
  std::vector<std::vector<std::byte>> memory;
  std::vector<TensorView> views;
};

Pictures read_pictures(Input& input) {
  constexpr std::int64_t kChannels[] = {1, 3, 4, 2};
  Pictures pictures;
  for (int left = input.below(4); left > 0; --left) {
    const std::int64_t height = input.below(40);
    const std::int64_t width = input.below(40);
    const std::int64_t channels = kChannels[input.below(4)];
    const bool floats = input.below(4) == 0;
    const std::int64_t frames = input.below(4);  // none: a picture
    auto& memory = pictures.memory.emplace_back(static_cast<std::size_t>(
        std::max<std::int64_t>(frames, 1) * height * width * channels * (floats ? 4 : 1)));
    const std::string_view bytes = input.text(8);
    if (!memory.empty() && !bytes.empty())
      std::memcpy(memory.data(), bytes.data(), std::min(memory.size(), bytes.size()));
    pictures.views.push_back(
        {floats ? DType::kF32 : DType::kU8, {height, width, channels}, memory});
    auto& shape = pictures.views.back().shape;
    if (frames > 0) shape.insert(shape.begin(), frames);
    if (input.below(16) == 0) shape.pop_back();
  }
  return pictures;
}

void check_prompt(const contract::Generate& request, std::span<const TensorView> tensors) {
  const models::Job job(1);
  const auto prompt = language::make_prompt(request, tensors, job, rules());
  if (!prompt) return;
  const decoder::MediaPrompt& made = **prompt;
  expect(made.positions.size() == 3 * made.ids.size(), "every token has three positions");
  expect(made.seen.size() == tensors.size(), "every picture and clip is seen");
  expect(made.spans.size() == made.pictures.size(), "every picture and step has its place");
  std::int32_t end = 0;
  for (std::size_t i = 0; i < made.spans.size(); ++i) {
    const decoder::MediaSpan& span = made.spans[i];
    expect(span.first >= end, "pictures do not overlap");
    end = span.first + span.count;
    expect(static_cast<std::size_t>(end) <= made.ids.size(), "a picture ends within the prompt");
    expect(made.pictures[i].tokens(rules().pictures.merge_size) == span.count,
           "a picture has as many rows as places");
    for (std::int32_t at = span.first; at < end; ++at)
      expect(made.ids[static_cast<std::size_t>(at)] == rules().image_token ||
                 made.ids[static_cast<std::size_t>(at)] == rules().video_token,
             "a picture stands on its placeholders");
  }
}

}  // namespace
}  // namespace hearth::fuzz

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace hearth;
  fuzz::Input input(data, size);
  const bool whole = input.byte() % 4 == 0;  // pictures are slow
  const contract::Generate request = fuzz::read_request(input);
  if (whole) {
    const fuzz::Pictures pictures = fuzz::read_pictures(input);
    fuzz::check_prompt(request, pictures.views);
    return 0;
  }
  const auto pieces = text::lay_out_chat({}, request.messages);
  if (pieces) {
    fuzz::expect_sound(*pieces);
    fuzz::check_tokens(*pieces);
  }
  return 0;
}
