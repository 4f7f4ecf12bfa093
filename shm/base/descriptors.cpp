#include "shm/base/descriptors.h"

#include <cassert>
#include <cstring>

namespace hearth {

void take_descriptors(msghdr& message, std::vector<Fd>& fds) {
  for (cmsghdr* part = CMSG_FIRSTHDR(&message); part != nullptr;
       part = CMSG_NXTHDR(&message, part)) {
    if (part->cmsg_level != SOL_SOCKET || part->cmsg_type != SCM_RIGHTS) continue;
    const std::size_t count = (part->cmsg_len - CMSG_LEN(0)) / sizeof(int);
    for (std::size_t index = 0; index < count; ++index) {
      int fd = -1;
      std::memcpy(&fd, CMSG_DATA(part) + index * sizeof(int), sizeof(int));
      fds.emplace_back(fd);
    }
  }
}

void attach_descriptors(msghdr& message, std::span<std::byte> control, std::span<const int> fds) {
  assert(control.size() >= control_bytes(fds.size()));
  message.msg_control = control.data();
  message.msg_controllen = control_bytes(fds.size());
  cmsghdr* part = CMSG_FIRSTHDR(&message);
  part->cmsg_level = SOL_SOCKET;
  part->cmsg_type = SCM_RIGHTS;
  part->cmsg_len = CMSG_LEN(fds.size_bytes());
  std::memcpy(CMSG_DATA(part), fds.data(), fds.size_bytes());
}

}  // namespace hearth
