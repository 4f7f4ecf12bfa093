// What every family's prepare() decides the same way: sampling parameters, layers and length.
//
// Pure functions; any thread.
#pragma once

#include <cstdint>
#include <optional>

#include "models/generate/decoder.h"
#include "shm/base/result.h"

namespace hearth::generate {

// A model's own wishes, from its generation_config.json; what is absent there is absent here.
struct SamplingDefaults {
  std::optional<bool> do_sample;  // false: greedy
  std::optional<double> temperature;
  std::optional<std::int32_t> top_k;
  std::optional<double> top_p;
  std::optional<double> min_p;
  std::optional<double> typical_p;
  std::optional<double> repetition_penalty;
  std::optional<double> presence_penalty;
  std::optional<double> frequency_penalty;
  std::optional<std::int32_t> no_repeat_ngram;
};

// The request's sampling; with request.model_defaults, the model's values replace the request's
// where the model has one. Errors: bad_request for an empty stop string, for fewer beams than
// answers, for several answers that would be equal (temperature 0) or exceed one reply, and for a
// schema beside a regular expression; unsupported for what beam search cannot be combined with.
Result<Sampling> resolve_sampling(const contract::Generate& request,
                                  const SamplingDefaults& model = {});

// What the model has to offer to an encode request.
struct HiddenShape {
  std::int32_t states = 0;    // decoder layers + 1
  std::int64_t width = 0;     // hidden size
  DType dtype = DType::kF32;  // the model's own
};

// The request's layers and element type. Errors: bad_request for no layer, or naming a layer that
// is out of range.
Result<Taps> resolve_taps(const contract::Encode& request, const HiddenShape& shape);

// The most bytes that one encode request makes: they wait in private memory until they are copied.
inline constexpr std::uint64_t kMostHiddenBytes = std::uint64_t{2} << 30;

// Errors: as check_length without an answer; out_of_memory beyond kMostHiddenBytes.
Result<void> check_encoding(std::size_t prompt_tokens, const Taps& taps,
                            std::int32_t context_tokens);

// Errors: too_long when the prompt, or prompt and max_tokens together, exceed the context, or when
// the prompt's ids exceed what one reply can carry back; bad_request for an empty prompt.
Result<void> check_length(std::size_t prompt_tokens, std::int32_t max_tokens,
                          std::int32_t context_tokens);

}  // namespace hearth::generate
