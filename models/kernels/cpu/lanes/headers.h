// What lanes/*.inc use, included before a level's instructions are turned on.
#pragma once

#include <bit>
#include <cmath>
#include <cstdint>
#include <cstring>

#include "models/kernels/bfloat16.h"
#include "models/kernels/cache.h"
#include "models/kernels/kernels.h"
#include "models/kernels/philox.h"
#include "models/kernels/settings.h"
#include "models/kernels/workspace.h"

#if defined(__x86_64__)
#include <immintrin.h>
#endif
