// What a prompt or a config.json asks of the fake model, in command words between other words.
//
//   !count N          answers "1 2 3 … N"
//   !hidden N         hidden states have N columns (8)
//   !random N         answers N letters drawn by the sampler; needs temperature > 0 to vary
//   !wait [PLACE] MS  waits there; PLACE is attach, load, prepare, begin, vision, prefill, image,
//                     rest, restore, or step (each; the default)
//   !fail [PLACE] [N] throws there; N counts decode steps from 1 (the default)
//   !nan, !inf        likewise: logits that are not finite
//   !crash            likewise: abort()
//   !exit             likewise: the process ends without a word
//   !segv             likewise: by a wild pointer
//   !hang             likewise: never returns
//   !lost             likewise: nothing will work on the device again in this process
//   !gone             likewise: nor in another one
//   !full             likewise: there is no memory
//   !crowded          likewise, but only while another model of this family is loaded
//
// Anything else is text, which is echoed. Pure values; any thread.
#pragma once

#include <array>
#include <chrono>
#include <string>
#include <string_view>
#include <vector>

namespace hearth::fake {

enum class Place {
  kAttach,
  kLoad,
  kPrepare,
  kBegin,
  kVision,
  kPrefill,
  kStep,
  kImage,
  kRest,
  kRestore
};
inline constexpr std::size_t kPlaces = 10;

enum class Fault {
  kNone,
  kThrow,
  kNan,
  kInfinite,
  kCrash,
  kExit,
  kSegv,
  kHang,
  kLost,
  kGone,
  kFull,
  kCrowded
};

struct PlannedFault {
  Fault fault = Fault::kNone;
  Place place = Place::kStep;
  int step = 1;  // of kStep
};

struct Script {
  std::string echo;  // the words that are no commands, single-spaced
  int count = 0;
  int random_letters = 0;
  int hidden_columns = 8;
  std::array<std::chrono::milliseconds, kPlaces> waits{};  // by place
  std::vector<PlannedFault> faults;

  std::chrono::milliseconds wait_at(Place place) const {
    return waits[static_cast<std::size_t>(place)];
  }
  // What shall go wrong at `place`; `step` counts decode steps from 1.
  Fault fault_at(Place place, int step = 1) const;
};

Script parse_script(std::string_view words);

}  // namespace hearth::fake
