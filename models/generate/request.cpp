#include "models/generate/request.h"

#include <fmt/format.h>

namespace hearth::generate {
namespace {

// generated.prompt_token_ids: 524288 bytes of i32.
constexpr std::size_t kMostPromptTokens = 524288 / sizeof(std::int32_t);

void apply(const SamplingDefaults& model, Sampling& sampling) {
  sampling.temperature = model.temperature.value_or(sampling.temperature);
  if (!model.do_sample.value_or(true)) sampling.temperature = 0.0;
  sampling.top_k = model.top_k.value_or(sampling.top_k);
  sampling.top_p = model.top_p.value_or(sampling.top_p);
  sampling.min_p = model.min_p.value_or(sampling.min_p);
  sampling.typical_p = model.typical_p.value_or(sampling.typical_p);
  sampling.repetition_penalty = model.repetition_penalty.value_or(sampling.repetition_penalty);
  sampling.presence_penalty = model.presence_penalty.value_or(sampling.presence_penalty);
  sampling.frequency_penalty = model.frequency_penalty.value_or(sampling.frequency_penalty);
  sampling.no_repeat_ngram = model.no_repeat_ngram.value_or(sampling.no_repeat_ngram);
}

Result<void> check_stop(const contract::Generate& request) {
  for (const std::string& stop : request.stop)
    if (stop.empty())
      return fail(Code::kBadRequest,
                  "stop holds an empty string, which would end every answer at once.",
                  "Leave the empty entry out of the list.");
  return {};
}

// A beam's text depends on which others it beat, so what follows one answer's text cannot follow
// it.
Result<void> check_beams(const contract::Generate& request) {
  if (request.beams <= 1) return {};
  if (request.beams < request.answers)
    return fail(
        Code::kBadRequest,
        fmt::format("{} answers of {} beams: beam search finds no more answers than it has "
                    "beams.",
                    request.answers, request.beams),
        fmt::format("Set beams to {} or more, or to 1 for drawn answers.", request.answers));
  const char* field = !request.json_schema.empty()   ? "json_schema"
                      : !request.regex.empty()       ? "regex"
                      : request.thinking_tokens != 0 ? "thinking_tokens"
                                                     : nullptr;
  if (field == nullptr) return {};
  return fail(Code::kUnsupported,
              fmt::format("beams is {} and {} is set: beam search does not follow it.",
                          request.beams, field),
              fmt::format("Set beams to 1, or leave {} out.", field));
}

// Beside what answers and beams ask for, how much one reply carries back: 131072 bytes of ids and
// of times, i32 each.
constexpr std::int32_t kMostReplyTokens = 32768;

Result<void> check_answers(const Sampling& sampling) {
  if (sampling.answers <= 1) return {};
  if (sampling.beams <= 1 && sampling.temperature <= 0.0)
    return fail(Code::kBadRequest,
                fmt::format("{} answers at temperature 0 would all be the same.", sampling.answers),
                "Raise temperature, or search with at least as many beams.");
  if (std::int64_t{sampling.answers} * sampling.max_tokens <= kMostReplyTokens) return {};
  return fail(Code::kBadRequest,
              fmt::format("{} answers of {} tokens each: one reply carries {} tokens.",
                          sampling.answers, sampling.max_tokens, kMostReplyTokens),
              fmt::format("Lower max_tokens to {}, or ask for fewer answers.",
                          kMostReplyTokens / sampling.answers));
}

}  // namespace

Result<Sampling> resolve_sampling(const contract::Generate& request,
                                  const SamplingDefaults& model) {
  CHECK_OK(check_stop(request));
  CHECK_OK(check_beams(request));
  if (!request.json_schema.empty() && !request.regex.empty())
    return fail(Code::kBadRequest,
                "json_schema and regex are both set: an answer follows one of them.",
                "Leave one of them empty.");
  Sampling sampling;
  sampling.max_tokens = request.max_tokens;
  sampling.temperature = request.temperature;
  sampling.top_k = request.top_k;
  sampling.top_p = request.top_p;
  sampling.min_p = request.min_p;
  sampling.typical_p = request.typical_p;
  sampling.repetition_penalty = request.repetition_penalty;
  sampling.presence_penalty = request.presence_penalty;
  sampling.frequency_penalty = request.frequency_penalty;
  sampling.no_repeat_ngram = request.no_repeat_ngram;
  sampling.answers = request.answers;
  sampling.beams = request.beams;
  sampling.length_penalty = request.length_penalty;
  sampling.thinking_tokens = request.thinking_tokens;
  sampling.seed = request.seed;
  sampling.stop = request.stop;
  if (request.model_defaults) apply(model, sampling);
  CHECK_OK(check_answers(sampling));
  return sampling;
}

Result<void> check_length(std::size_t prompt_tokens, std::int32_t max_tokens,
                          std::int32_t context_tokens) {
  const std::size_t context = static_cast<std::size_t>(context_tokens);
  if (prompt_tokens == 0) return fail(Code::kBadRequest, "The prompt has no tokens.");
  if (prompt_tokens > context)
    return fail(Code::kTooLong,
                fmt::format("The prompt has {} tokens, the model's context holds {}.",
                            prompt_tokens, context));
  if (prompt_tokens > kMostPromptTokens)
    return fail(Code::kTooLong, fmt::format("The prompt has {} tokens, one request holds {}.",
                                            prompt_tokens, kMostPromptTokens));
  if (prompt_tokens + static_cast<std::size_t>(max_tokens) > context)
    return fail(Code::kTooLong,
                fmt::format("The prompt's {} tokens and max_tokens {} together exceed the model's "
                            "context of {} tokens.",
                            prompt_tokens, max_tokens, context),
                fmt::format("Lower max_tokens to {} or less, or shorten the prompt.",
                            context - prompt_tokens));
  return {};
}

Result<Taps> resolve_taps(const contract::Encode& request, const HiddenShape& shape) {
  if (request.layers.empty())
    return fail(Code::kBadRequest, "layers is empty: no hidden state is asked for.",
                "Name at least one layer, such as -1.");
  Taps taps{{}, shape.dtype, shape.width};
  for (const std::int32_t layer : request.layers) {
    if (layer < -shape.states || layer >= shape.states)
      return fail(Code::kBadRequest,
                  fmt::format("layers names {}; this model has 0 to {}, or -{} to -1 counted from "
                              "the end.",
                              layer, shape.states - 1, shape.states));
    taps.states.push_back(layer < 0 ? layer + shape.states : layer);
  }
  if (request.dtype != "model") taps.dtype = parse_dtype(request.dtype).value();
  return taps;
}

Result<void> check_encoding(std::size_t prompt_tokens, const Taps& taps,
                            std::int32_t context_tokens) {
  CHECK_OK(check_length(prompt_tokens, 0, context_tokens));
  const std::uint64_t bytes = taps.states.size() * prompt_tokens *
                              static_cast<std::uint64_t>(taps.width) * item_bytes(taps.dtype);
  if (bytes <= kMostHiddenBytes) return {};
  return fail(Code::kOutOfMemory,
              fmt::format("{} hidden states of {} tokens are {} MiB; one request holds {} MiB.",
                          taps.states.size(), prompt_tokens, bytes >> 20, kMostHiddenBytes >> 20),
              "Ask for fewer layers at once, or for f16 or bf16.");
}

}  // namespace hearth::generate
