// How a state travels from one program to the next: a sealed memfd, and which programs understand
// each other's.
//
// The memfd begins with a header of fixed form; then come the numbers of the descriptors that are
// inherited beside it, then the state (archive.h). It is sealed against every change before the
// other program begins, and checked against its sum after.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "shm/base/fd.h"
#include "shm/base/result.h"

namespace hearth::broker::handover {

// Raise kFormat with every change of what fields.h lists. A program reads its own format and the
// one before: it finds fields by name, leaves those that are missing at their defaults, and passes
// over those that it does not know. Where an older program must not pass over a field, or a field
// has changed its meaning, raise kReadableFrom to kFormat as well: then there is no way back.
inline constexpr std::uint32_t kFormat = 2;
inline constexpr std::uint32_t kOldestFormat = 1;
inline constexpr std::uint32_t kReadableFrom = 1;
static_assert(kOldestFormat <= kFormat && kReadableFrom <= kFormat);

// What a program says of itself when it is asked whether it could take over.
struct Program {
  std::string version;  // of hearth
  std::uint32_t format = kFormat;
  std::uint32_t oldest_format = kOldestFormat;
  std::uint32_t readable_from = kReadableFrom;
};

Program this_program(std::string version);
std::string to_line(const Program& program);
// Errors: version, when `line` is not what to_line() makes.
Result<Program> from_line(const std::string& line);
// Whether `next` can go on with what `writer` saves. Errors: version, with both formats.
Result<void> check_succession(const Program& writer, const Program& next);

struct State {
  std::uint32_t format = 0;
  std::vector<int> descriptors;
  std::string bytes;
};

// What a state may have, for the loop serves nobody while it is written and read. What users make
// it grow by: requests that are open, at most a frame (1 MiB) each and as many as their quotas let
// there be; what waits to be sent on a connection, over 4 MiB of which nothing more is read from
// it; half a frame that has come in (1 MiB); of answers kept, 32 MiB for keys (recent.h) and 64 MiB
// of results (state.h); 16 MiB of records. So one user of the default quotas comes near it only
// with 512 prompts of a frame's size on 128 connections that do not read, and the next minute, when
// they have been answered or ended, it is far away again.
inline constexpr std::uint64_t kMostStateBytes = std::uint64_t{1} << 30;

// A sealed memfd. Errors: busy, when the state is larger than kMostStateBytes; out_of_memory.
Result<Fd> write_state(std::string_view bytes, const std::vector<int>& descriptors);
// Errors: version for a format that this program does not know; internal, saying what is wrong.
Result<State> read_state(int memfd);

}  // namespace hearth::broker::handover
