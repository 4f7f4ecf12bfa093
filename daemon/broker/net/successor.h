// The program that could take this process's place: is it there, does it start, and does it read
// what this one would hand over?
#pragma once

#include <string>
#include <vector>

#include "daemon/broker/handover/format.h"
#include "daemon/broker/net/asio.h"

namespace hearth::broker {

// How long a program may take to look at its configuration and answer, and then to be gone.
inline constexpr std::chrono::seconds kSuccessorPatience{2};

// Runs `program` in a process of its own, with `arguments`, to ask it. Nothing of ours is touched,
// and the loop is never kept: one that the kernel does not let go is left to itself until it does.
// Errors: version, when it does not start, fails, or cannot take over; timed_out.
asio::awaitable<Result<handover::Program>> ask_successor(asio::io_context& loop,
                                                         std::string program,
                                                         std::vector<std::string> arguments);

// The other side: answers on kLinkFd for this program, whose configuration and models are in order.
void answer_predecessor(const std::string& version);

}  // namespace hearth::broker
