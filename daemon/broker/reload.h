// Reading the configuration again while the service runs, in two phases: all of it is read and
// examined off the loop; then, on the loop and at once, all that takes effect live counts, or
// nothing where anything is wrong.
//
// One reload at a time. Nothing of it has to survive the process: the next one reads the same
// files.
#pragma once

#include "daemon/broker/core.h"

namespace hearth::broker {

// Reads the sources again; `apply` false only compares. The answer to `caller`, if there is one, is
// a config_report. Errors: busy, while one is under way or the lane takes no more.
Result<void> begin_reload(Core& core, Caller caller, bool apply);
// As begin_reload() for SIGHUP: nobody waits for an answer, and if a reload is under way another
// one follows it.
void reload_soon(Core& core);
// Gives up on files that do not answer.
void reload_tick(Core& core);

// Of texts in a reply about settings, so that a frame has room for it; the rest is left out.
inline constexpr std::size_t kMostReplyBytes = 768 * 1024;

// Settings that the files say otherwise than they run, as the contract has them.
std::vector<contract::ConfigChange> entries_of(const std::vector<config::Change>& changes);

}  // namespace hearth::broker
