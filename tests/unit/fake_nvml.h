// What a test tells the fake management library, through the one function that the real one lacks.
#pragma once

namespace hearth::models {

struct FakeNvml {
  int fail_at = 0;  // this call, counted from 1, and with `fail_on` all after it; 0: none
  bool fail_on = false;
  int code = 3;                    // with which it fails: not supported
  bool is_old = false;             // without the call that driver 535 renamed
  unsigned long long reasons = 0;  // what holds the clock down
  // Written by the library.
  int calls = 0;
  int open = 0;  // nvmlInit without its nvmlShutdown
  char bus_id[32] = {};
};

}  // namespace hearth::models
