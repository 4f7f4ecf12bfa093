#include "daemon/broker/liveness.h"

#include <algorithm>

#include <fmt/format.h>

namespace hearth::broker {
namespace {

constexpr std::size_t kMostWorks = 256;  // more than an honest worker tells of within kMostGap

Milliseconds passed(TimePoint from, TimePoint now) {
  const auto gap = std::chrono::duration_cast<Milliseconds>(now - from);
  return std::clamp(gap, Milliseconds(0), Liveness::kMostGap);
}

Milliseconds limit_of(const SilenceLimits& limits, const std::string& phase, bool on_cpu) {
  const int slower = on_cpu ? limits.cpu_factor : 1;
  if (phase == "attach") return limits.attach;
  if (phase == "load") return limits.load;
  if (phase == "preprocess") return limits.preprocess;
  if (phase == "vision") return limits.vision * slower;
  if (phase == "prefill") return limits.prefill * slower;
  return limits.decode * slower;
}

Op op_of(const std::string& phase) {
  if (phase == "attach") return Op::kAttach;
  return phase == "load" ? Op::kLoad : Op::kGenerate;
}

double seconds(Milliseconds time) {
  return std::chrono::duration<double>(time).count();
}

}  // namespace

void Liveness::begin(bool on_cpu, TimePoint now) {
  watching_ = true;
  on_cpu_ = on_cpu;
  silent_ = Milliseconds(0);
  seen_ = now;
  dying_.reset();
  works_.clear();
}

void Liveness::expect_end(TimePoint now) {
  if (!watching_ || dying_) return;
  dying_ = Milliseconds(0);
  seen_ = now;  // so that the whole time is its
}

std::optional<Verdict> Liveness::outlives_farewell(TimePoint now) {
  if (!dying_ || (*dying_ += passed(seen_, now)) < kFarewell) return std::nullopt;
  return Verdict{"it said that it ends, and did not", std::nullopt};
}

std::optional<Verdict> Liveness::beat(const contract::Beat& beat, const SilenceLimits& limits,
                                      TimePoint now) {
  if (!watching_) return std::nullopt;
  if (auto verdict = outlives_farewell(now)) return verdict;
  silent_ = Milliseconds(0);
  seen_ = now;
  // A worker that is never idle goes from model to model: what it left behind is no work.
  if (works_.size() >= kMostWorks)
    std::erase_if(works_, [&](const auto& entry) { return now - entry.second.last > kMostGap; });
  if (beat.phase == "idle" || works_.size() >= kMostWorks) works_.clear();
  if (beat.phase == "idle") return std::nullopt;
  const auto [at, is_new] = works_.try_emplace({beat.phase, beat.model});
  Work& work = at->second;
  const bool moved = is_new || beat.steps != work.steps;
  work.still = moved ? Milliseconds(0) : work.still + passed(work.last, now);
  work.steps = beat.steps;
  work.last = now;
  const Milliseconds limit = limit_of(limits, beat.phase, on_cpu_);
  if (limit.count() == 0 || work.still < limit) return std::nullopt;
  Verdict verdict;
  verdict.what = fmt::format("no progress in {} for {:.3g} s", beat.phase, seconds(work.still));
  if (!beat.model.empty()) verdict.suspect = {beat.model, op_of(beat.phase)};
  return verdict;
}

std::optional<Verdict> Liveness::tick(const SilenceLimits& limits, TimePoint now) {
  if (!watching_ || now < next_tick()) return std::nullopt;
  if (auto verdict = outlives_farewell(now)) return verdict;
  silent_ += passed(seen_, now);
  seen_ = now;
  if (limits.beats.count() == 0 || silent_ < limits.beats) return std::nullopt;
  return Verdict{fmt::format("no sign of life for {:.3g} s", seconds(silent_)), std::nullopt};
}

}  // namespace hearth::broker
