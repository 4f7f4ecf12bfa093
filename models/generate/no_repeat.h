// Which tokens no_repeat_ngram forbids next.
//
// Source: transformers' NoRepeatNGramLogitsProcessor. Pure functions; any thread.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace hearth::generate {

// The ids that would repeat a run of `size` tokens of `said`, prompt and answer so far; an id may
// come several times. Nothing is kept between two steps: reading all of a long prompt takes less
// time than what its step computes by orders of magnitude.
inline std::vector<std::int32_t> repeating_ids(std::span<const std::int32_t> said,
                                               std::int32_t size) {
  std::vector<std::int32_t> ids;
  const auto before = static_cast<std::size_t>(size) - 1;
  if (size < 1 || said.size() < before) return ids;
  const std::span<const std::int32_t> last = said.last(before);
  for (std::size_t at = before; at < said.size(); ++at) {
    std::size_t equal = 0;  // most runs differ in their last token
    while (equal < before && said[at - 1 - equal] == last[before - 1 - equal]) ++equal;
    if (equal == before) ids.push_back(said[at]);
  }
  return ids;
}

}  // namespace hearth::generate
