// Lets a test stand in for the engine thread.
#pragma once

#include "models/model.h"

namespace hearth::models {

struct EngineThreadForTest {
  static OnEngine on_engine() { return OnEngine(); }
};

}  // namespace hearth::models
