// expects: is private within this context|calling a private constructor
// Only the engine thread can prove to be the engine thread.
#include "models/model.h"

hearth::Result<bool> step(hearth::models::Model& model, hearth::models::OnEngine proof) {
#ifdef OFFENCE
  return model.advance(hearth::models::OnEngine());
#else
  return model.advance(proof);
#endif
}
