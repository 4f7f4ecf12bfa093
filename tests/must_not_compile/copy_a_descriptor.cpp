// expects: use of deleted function|call to deleted constructor
// A descriptor has one owner; a copy would close it twice.
#include "shm/base/fd.h"

void hand_over(hearth::Fd owner) {
  hearth::Fd taken = std::move(owner);
#ifdef OFFENCE
  hearth::Fd copied = taken;
#endif
}
