// expects: unused-result|ignoring return value
// An error that nobody looks at is a defect.
#include "shm/segment.h"

bool check(const hearth::Fd& fd) {
#ifdef OFFENCE
  hearth::check_segment(fd, 4096);
  return true;
#else
  return static_cast<bool>(hearth::check_segment(fd, 4096));
#endif
}
