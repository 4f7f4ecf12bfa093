// Which (model, operation) ends the engine process, so that one bad model cannot do it for ever.
//
// An operation is guilty when the process died under it twice with no success in between. A death
// that several models may have caused counts half for each. The model is refused for kTerm; being
// offered again kPatience after the last death gives it one more try, in which one death of its own
// is enough. Sooner an offer changes nothing: clients offer their models before every use.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "daemon/broker/ports.h"

namespace hearth::broker {

enum class Op { kAttach, kLoad, kGenerate };
std::string_view name_of(Op op);  // "loading it"
std::string_view word_of(Op op);  // load

class Quarantine {
 public:
  static constexpr int kDeaths = 2;
  static constexpr std::chrono::minutes kTerm{10};
  static constexpr std::chrono::seconds kPatience{10};

  void died(const std::string& model, Op op, bool is_only_suspect, TimePoint now);
  void succeeded(const std::string& model, Op op);
  void offered_again(const std::string& model, TimePoint now);
  // An operation for which `model` is refused now.
  std::optional<Op> refused(const std::string& model, TimePoint now) const;

  struct Refusal {
    std::string model;
    Op op = Op::kAttach;
    int deaths = 0;
    Milliseconds left{0};  // of its term
  };
  std::vector<Refusal> refusals(TimePoint now) const;
  // Nothing is held against the model any more, whether it was refused or not yet. Whether there
  // was anything.
  bool clear(const std::string& model);

 private:
  friend struct handover::Access;
  struct Record {
    int half_deaths = 0;
    TimePoint last;
    bool is_guilty() const { return half_deaths >= 2 * kDeaths; }
  };
  std::map<std::pair<std::string, Op>, Record> records_;
};

}  // namespace hearth::broker
