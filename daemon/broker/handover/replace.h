// One program in place of another, in the same process.
#pragma once

#include <span>
#include <string>
#include <vector>

#include "shm/base/fd.h"
#include "shm/base/result.h"

namespace hearth::broker::handover {

// The first word to a program that takes over (the memfd's number follows), and to one that is
// asked whether it could (it answers on spawn's kLinkFd). A program that does not know them refuses
// to start, which is the right answer.
inline constexpr std::string_view kTakeOver = "--take-over=";
inline constexpr std::string_view kCanTakeOver = "--can-take-over";

// What a program was started for. Takes the word out of the arguments, first thing in main().
struct Role {
  bool is_asked = false;               // whether it could take over
  int take_over = -1;                  // the memfd
  std::vector<std::string> arguments;  // the others
};
Role take_role(int& argc, char** argv);

// The program that this process was started from, whether or not its file has been replaced since.
std::string own_program();

// Starts `program` in this process, with the memfd of a state and the descriptors that it names.
// Returns only when that fails; then nothing has changed. Signals that ask for something wait,
// blocked, until the program unblocks them with allow_signals(). Errors: internal.
Error replace_process(const std::string& program, const std::vector<std::string>& arguments,
                      const Fd& memfd, const std::vector<int>& descriptors);
void allow_signals();

// Sets close-on-exec for all of these, or takes it away. False: one of them is not open.
bool set_close_on_exec(std::span<const int> descriptors, bool close);

// What was inherited cannot be used: ends the children of this process and closes every descriptor
// that has no close-on-exec, but for the standard ones.
void abandon_inheritance();

}  // namespace hearth::broker::handover
