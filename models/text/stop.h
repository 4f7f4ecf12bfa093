// Stop strings in streamed text: nothing of one is ever shown.
//
// Text that could still become a stop string is held back until it is decided. The string that is
// complete first ends the text (of several, the longest), so the result does not depend on where
// tokens were cut. One sequence, one thread.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace hearth::text {

class StopStrings {
 public:
  StopStrings() = default;
  // Empty strings are refused before this (bad_request); here they are ignored.
  explicit StopStrings(std::vector<std::string> stops);

  // Adds text and returns what can be shown now. Nothing is taken or shown after stopped().
  std::string feed(std::string_view text);
  // The text ends here: what was held back.
  std::string finish();
  bool stopped() const { return stopped_; }

 private:
  std::size_t undecided_bytes() const;

  std::vector<std::string> stops_;
  std::string pending_;  // not shown yet
  bool stopped_ = false;
};

}  // namespace hearth::text
