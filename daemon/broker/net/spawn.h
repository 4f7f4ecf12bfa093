// Starts a program with one socket and nothing else of ours.
#pragma once

#include <string>
#include <vector>

#include <sys/types.h>

#include "shm/base/result.h"

namespace hearth::broker {

inline constexpr int kLinkFd = 3;  // where the new process finds the socket

// Standard input is empty, standard output goes to standard error. The process leads its own group
// (a Ctrl-C in the terminal is for the broker alone) and has all signals at their defaults. `words`
// starts with the program. The environment is ours, and each of `defaults`, "NAME=VALUE", whose
// name is not in it. Errors: worker_lost.
Result<pid_t> spawn(std::vector<std::string> words, int socket,
                    std::vector<std::string> defaults = {});

// "it exited with status 3", "it was ended by Killed": of a status from waitpid.
std::string describe_exit(int status);

}  // namespace hearth::broker
