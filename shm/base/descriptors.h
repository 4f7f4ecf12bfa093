// File descriptors beside the bytes of a socket message (SCM_RIGHTS).
#pragma once

#include <cstddef>
#include <span>
#include <vector>

#include <sys/socket.h>

#include "shm/base/fd.h"

namespace hearth {

// Room for the control bytes of `n_fds` descriptors; a buffer of them is aligned as a cmsghdr.
constexpr std::size_t control_bytes(std::size_t n_fds) {
  return CMSG_SPACE(sizeof(int) * n_fds);
}

// Takes ownership of every descriptor that came with a received message.
void take_descriptors(msghdr& message, std::vector<Fd>& fds);

// Lets `message` carry `fds`, which stay the caller's. `control` is at least
// control_bytes(fds.size()) and lives until the message is sent.
void attach_descriptors(msghdr& message, std::span<std::byte> control, std::span<const int> fds);

}  // namespace hearth
