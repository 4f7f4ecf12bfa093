// Where the engine finds libtorch, which no package of hearth's contains: `hearth setup` brings it.
//
// The engine's program is linked with it, so the system's loader looks, in this order:
//   1. LD_LIBRARY_PATH, where whoever starts hearthd has set it;
//   2. $XDG_DATA_HOME/hearth/torch/VERSION/torch/lib, else below ~/.local/share: the user's own;
//   3. lib/hearth/torch/VERSION/torch/lib beside the folder of the program: the machine's;
//   4. in a tree that was built here, the libtorch it was built with.
// VERSION is the one it was built with, so that another release never finds what does not fit it.
// Where there is none the program cannot even begin: the loader ends it with kNotLoaded.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "shm/base/result.h"

namespace hearth::broker {

inline constexpr int kNotLoaded = 127;  // exit status of a program that its loader gave up

// The release that the engine was built with, "2.11.0"; empty: it needs none.
std::string_view libtorch_version();

// "LD_LIBRARY_PATH=FOLDER" with the user's own libtorch, for the engine's environment; empty where
// there is none, or where the folder belongs to neither us nor root.
std::vector<std::string> own_libtorch();

// What to tell whoever asks for an engine that its loader could not load.
Error no_libtorch();

}  // namespace hearth::broker
