#include "models/fake/script.h"

#include <algorithm>
#include <charconv>
#include <optional>

namespace hearth::fake {
namespace {

constexpr std::array<std::string_view, kPlaces> kPlaceNames = {
    "attach", "load", "prepare", "begin", "vision", "prefill", "step", "image", "rest", "restore"};

struct FaultName {
  std::string_view word;
  Fault fault;
};
constexpr FaultName kFaultNames[] = {
    {"!fail", Fault::kThrow},  {"!nan", Fault::kNan},        {"!inf", Fault::kInfinite},
    {"!crash", Fault::kCrash}, {"!exit", Fault::kExit},      {"!segv", Fault::kSegv},
    {"!hang", Fault::kHang},   {"!lost", Fault::kLost},      {"!gone", Fault::kGone},
    {"!full", Fault::kFull},   {"!crowded", Fault::kCrowded}};

constexpr int kMostNumber = 1 << 22;

std::vector<std::string_view> split(std::string_view text) {
  std::vector<std::string_view> words;
  constexpr std::string_view kSpaces = " \t\r\n";
  for (std::size_t at = text.find_first_not_of(kSpaces); at != std::string_view::npos;) {
    const std::size_t end = std::min(text.find_first_of(kSpaces, at), text.size());
    words.push_back(text.substr(at, end - at));
    at = text.find_first_not_of(kSpaces, end);
  }
  return words;
}

// Reads words one after the other; optional ones only when they fit.
class Words {
 public:
  explicit Words(std::string_view text) : words_(split(text)) {}

  bool empty() const { return at_ == words_.size(); }
  std::string_view take() { return words_[at_++]; }

  int number_or(int fallback) {
    if (empty()) return fallback;
    const std::string_view word = words_[at_];
    int value = 0;
    const auto parsed = std::from_chars(word.data(), word.data() + word.size(), value);
    if (parsed.ec != std::errc() || parsed.ptr != word.data() + word.size()) return fallback;
    ++at_;
    return std::clamp(value, 0, kMostNumber);
  }

  Place place_or(Place fallback) {
    if (empty()) return fallback;
    const auto found = std::find(kPlaceNames.begin(), kPlaceNames.end(), words_[at_]);
    if (found == kPlaceNames.end()) return fallback;
    ++at_;
    return static_cast<Place>(found - kPlaceNames.begin());
  }

 private:
  std::vector<std::string_view> words_;
  std::size_t at_ = 0;
};

Fault fault_named(std::string_view word) {
  for (const FaultName& name : kFaultNames)
    if (name.word == word) return name.fault;
  return Fault::kNone;
}

void add_wait(Words& words, Script& script) {
  const Place place = words.place_or(Place::kStep);
  script.waits[static_cast<std::size_t>(place)] = std::chrono::milliseconds(words.number_or(0));
}

void add_fault(Fault fault, Words& words, Script& script) {
  const Place place = words.place_or(Place::kStep);
  script.faults.push_back({fault, place, words.number_or(1)});
}

}  // namespace

Fault Script::fault_at(Place place, int step) const {
  for (const PlannedFault& planned : faults)
    if (planned.place == place && (place != Place::kStep || planned.step == step))
      return planned.fault;
  return Fault::kNone;
}

Script parse_script(std::string_view text) {
  Script script;
  for (Words words(text); !words.empty();) {
    const std::string_view word = words.take();
    if (word == "!count") {
      script.count = words.number_or(0);
    } else if (word == "!hidden") {
      script.hidden_columns = std::max(words.number_or(script.hidden_columns), 1);
    } else if (word == "!random") {
      script.random_letters = words.number_or(0);
    } else if (word == "!wait") {
      add_wait(words, script);
    } else if (const Fault fault = fault_named(word); fault != Fault::kNone) {
      add_fault(fault, words, script);
    } else {
      if (!script.echo.empty()) script.echo += ' ';
      script.echo += word;
    }
  }
  return script;
}

}  // namespace hearth::fake
