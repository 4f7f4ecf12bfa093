// expects: deleted function
// A slot that may be written has one owner.
#include "shm/out_arena.h"

hearth::WriteSlot second_owner(hearth::WriteSlot& slot) {
#ifdef OFFENCE
  return slot;
#else
  return std::move(slot);
#endif
}
