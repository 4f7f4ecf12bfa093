// A CUDA runtime and driver without a device, for the code that calls them: models/kernels/cuda's
// device layer is compiled as C++ against tests/shim/cuda and runs here, its memory the host's.
//
// Every call is counted, and the one the test names fails with the code it names, alone or with all
// calls after it, as after a code that the real runtime never recovers from.
//
// One thread.
#pragma once

#include <string>
#include <vector>

namespace hearth::shim {

struct FakeCuda {
  int fail_at = 0;     // this call, counted from 1; 0: none
  int code = 0;        // with which it fails
  bool stays = false;  // and all calls after it
  // Written by the library.
  int calls = 0;
  std::vector<std::string> names;  // of the calls, in order
  int last_error = 0;              // as cudaGetLastError() gives and forgets it
  int open = 0;  // allocations, streams, events, graphs, address ranges, chunks and their mappings

  // From here on call `at` fails.
  void fail(int at, int with, bool for_good);
};

FakeCuda& fake_cuda();

}  // namespace hearth::shim
