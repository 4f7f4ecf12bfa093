// The fake model's hidden states: numbers that say where they belong.
//
// Engine thread only.
#pragma once

#include "models/fake/prompt.h"
#include "models/fake/script.h"
#include "models/generate/decoder.h"

namespace hearth::fake {

// Fills chunk.hidden: state * 1000 + token id + column / 1024, rounded to the taps' type. kNan and
// kInfinite spoil the last value.
void write_hidden(const Prompt& prompt, const generate::Chunk& chunk, Fault fault);

}  // namespace hearth::fake
