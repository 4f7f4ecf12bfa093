#include "daemon/broker/token_rate.h"

namespace hearth::broker {

void TokenRate::add(std::uint64_t tokens, TimePoint now) {
  total_ += tokens;
  const std::int64_t number = number_of(now);
  while (!steps_.empty() && steps_.front().number <= number - kWindow / kStep) steps_.pop_front();
  if (steps_.empty() || steps_.back().number != number) steps_.push_back({number, 0});
  steps_.back().tokens += tokens;
}

double TokenRate::per_second(TimePoint now) const {
  const std::int64_t oldest = number_of(now) - kWindow / kStep;
  std::uint64_t tokens = 0;
  for (const Step& step : steps_)
    if (step.number > oldest) tokens += step.tokens;
  return static_cast<double>(tokens) / std::chrono::duration<double>(kWindow).count();
}

}  // namespace hearth::broker
