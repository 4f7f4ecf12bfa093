#include "daemon/broker/quarantine.h"

namespace hearth::broker {

std::string_view name_of(Op op) {
  switch (op) {
    case Op::kAttach:
      return "examining its files";
    case Op::kLoad:
      return "loading it";
    case Op::kGenerate:
      return "generating with it";
  }
  return "";
}

std::string_view word_of(Op op) {
  switch (op) {
    case Op::kAttach:
      return "attach";
    case Op::kLoad:
      return "load";
    case Op::kGenerate:
      return "generate";
  }
  return "";
}

void Quarantine::died(const std::string& model, Op op, bool is_only_suspect, TimePoint now) {
  std::erase_if(records_, [now](const auto& entry) { return now - entry.second.last > kTerm; });
  Record& record = records_[{model, op}];
  record.last = now;
  record.half_deaths += is_only_suspect ? 2 : 1;
}

void Quarantine::succeeded(const std::string& model, Op op) {
  if (!records_.empty()) records_.erase({model, op});
}

void Quarantine::offered_again(const std::string& model, TimePoint now) {
  for (auto& [key, record] : records_)
    if (key.first == model && record.is_guilty() && now - record.last >= kPatience)
      record.half_deaths = 2 * (kDeaths - 1);
}

std::optional<Op> Quarantine::refused(const std::string& model, TimePoint now) const {
  for (const Op op : {Op::kAttach, Op::kLoad, Op::kGenerate}) {
    const auto found = records_.find({model, op});
    if (found == records_.end() || !found->second.is_guilty()) continue;
    if (now - found->second.last <= kTerm) return op;
  }
  return std::nullopt;
}

std::vector<Quarantine::Refusal> Quarantine::refusals(TimePoint now) const {
  std::vector<Refusal> refusals;
  for (const auto& [key, record] : records_) {
    if (!record.is_guilty() || now - record.last > kTerm) continue;
    const auto left = std::chrono::duration_cast<Milliseconds>(kTerm - (now - record.last));
    refusals.push_back({key.first, key.second, record.half_deaths / 2, left});
  }
  return refusals;
}

bool Quarantine::clear(const std::string& model) {
  return std::erase_if(records_, [&](const auto& entry) { return entry.first.first == model; }) > 0;
}

}  // namespace hearth::broker
