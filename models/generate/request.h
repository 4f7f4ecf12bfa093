// What every family's prepare() decides the same way: sampling parameters and length.
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
  std::optional<double> repetition_penalty;
  std::optional<double> presence_penalty;
};

// The request's sampling; with request.model_defaults, the model's values replace the request's
// where the model has one. Errors: bad_request for an empty stop string.
Result<Sampling> resolve_sampling(const contract::Generate& request,
                                  const SamplingDefaults& model = {});

// Errors: too_long when the prompt, or prompt and max_tokens together, exceed the context, or when
// the prompt's ids exceed what one reply can carry back; bad_request for an empty prompt.
Result<void> check_length(std::size_t prompt_tokens, std::int32_t max_tokens,
                          std::int32_t context_tokens);

}  // namespace hearth::generate
