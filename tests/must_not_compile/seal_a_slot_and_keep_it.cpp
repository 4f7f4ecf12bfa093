// expects: discards qualifiers|lvalue|rvalue
// Sealing a slot gives up the right to write it.
#include "shm/out_arena.h"

hearth::SealedSlot publish(hearth::WriteSlot slot) {
#ifdef OFFENCE
  return slot.seal();
#else
  return std::move(slot).seal();
#endif
}
