// expects: is private within this context|calling a private constructor
// What runs on the engine thread cannot be called without its proof, whatever is passed instead.
#include "models/model.h"

hearth::Result<bool> step(hearth::models::Model& model, hearth::models::OnEngine proof) {
#ifdef OFFENCE
  (void)proof;
  return model.advance({});
#else
  return model.advance(proof);
#endif
}
