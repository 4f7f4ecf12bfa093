// Linears of the chosen experts: rows are sorted by expert, each expert's rows are one linear, and
// the tiles of all of them are shared among the threads as if they were one matrix.

#include <algorithm>
#include <array>
#include <cstring>
#include <span>

#include "models/kernels/check.h"
#include "models/kernels/cpu/functions.h"
#include "models/kernels/cpu/linear_input.h"
#include "models/kernels/cpu/linear_job.h"
#include "models/kernels/cpu/share.h"
#include "models/kernels/cpu/team.h"
#include "models/kernels/matrices.h"

namespace hearth::kernels::cpu {
namespace {

constexpr std::size_t kMostEntries = std::size_t{HEARTH_MAX_ROWS} * HEARTH_MAX_CHOSEN;
constexpr std::int64_t kAlignment = 64;

std::int64_t aligned(std::int64_t bytes) {
  return (bytes + kAlignment - 1) / kAlignment * kAlignment;
}

// An entry is a row's choice: number row * each + j.
struct Entry {
  std::int32_t expert, number;
};

// All choices by expert, then by number.
class SortedEntries {
 public:
  explicit SortedEntries(const HearthExperts& call) {
    for (std::int32_t i = 0; i < call.rows * call.each; ++i)
      if (is_one_of(call.weight, call.chosen[i])) entries_[count_++] = {call.chosen[i], i};
    std::sort(entries_.begin(), entries_.begin() + count_, [](const Entry& a, const Entry& b) {
      return a.expert != b.expert ? a.expert < b.expert : a.number < b.number;
    });
  }
  // The entries of the same expert as entry `first`, from it on.
  std::span<const Entry> group(std::size_t first) const {
    std::size_t end = first + 1;
    while (end < count_ && entries_[end].expert == entries_[first].expert) ++end;
    return {&entries_[first], end - first};
  }
  std::size_t count() const { return count_; }

 private:
  std::array<Entry, kMostEntries> entries_;
  std::size_t count_ = 0;
};

// One expert's rows. Several of them are gathered first and their outputs scattered at last.
struct ExpertJob {
  std::span<const Entry> entries;
  HearthLinear linear;
  Choice choice;
  LinearJob job;
  void* prepared;
};

class ExpertJobs {
 public:
  explicit ExpertJobs(const HearthExperts& call)
      : call_(call),
        item_bytes_(type_bytes(call.type)),
        in_bytes_(call.weight.first.in_features * item_bytes_),
        out_bytes_(output_width(call) * item_bytes_),
        entries_(call) {
    for (std::size_t first = 0; first < entries_.count(); first += jobs_[count_ - 1].entries.size())
      jobs_[count_++].entries = entries_.group(first);
    find_memory();
  }

  void run() {
    const std::int64_t in = call_.weight.first.in_features;
    const bool little = static_cast<std::int64_t>(entries_.count()) * in <= kAloneNumbers;
    const auto count = static_cast<std::int64_t>(count_);
    if (count == 0) return;
    for_chunks(count, little ? count : 1, [&](Chunk chunk) {
      for (std::int64_t i = chunk.first; i < chunk.last; ++i)
        begin(jobs_[static_cast<std::size_t>(i)]);
    });
    const HearthMatrix& first = call_.weight.first;
    const std::int64_t tiles = tiles_of(first.out_features);
    const auto one_tile = static_cast<std::int64_t>(hearth_matrix_bytes(first.format, kTile, in));
    for_chunks(count * tiles, std::max<std::int64_t>(kClaimedBytes / one_tile, 1),
               [&](Chunk chunk) { compute(chunk, tiles); });
  }

 private:
  static constexpr std::int64_t kAloneNumbers = 16 * 1024;

  const std::byte* input_of(const Entry& entry) const {
    const std::int64_t row = entry.number / call_.each;
    const std::int64_t bytes = call_.epilogue == HEARTH_SWIGLU
                                   ? row * call_.input_stride * item_bytes_
                                   : entry.number * in_bytes_;
    return static_cast<const std::byte*>(call_.input) + bytes;
  }
  std::byte* output_of(const Entry& entry) const {
    return static_cast<std::byte*>(call_.output) + entry.number * out_bytes_;
  }

  HearthLinear linear_of(const ExpertJob& job) const {
    const Entry& first = job.entries.front();
    return {.weight = matrix_at(call_.weight, first.expert),
            .type = call_.type,
            .output_type = call_.type,
            .epilogue = call_.epilogue,
            .rows = static_cast<std::int64_t>(job.entries.size()),
            .input = input_of(first),
            .input_stride = call_.weight.first.in_features,
            .norm = call_.norm,
            .norm_epsilon = call_.norm_epsilon,
            .bias = nullptr,
            .output = output_of(first),
            .output_stride = output_width(call_)};
  }

  // Cuts the shared scratch into what the jobs need; once without memory, to know how much.
  void find_memory() {
    std::int64_t bytes = 0;
    for (const bool sizing : {true, false}) {
      auto* memory =
          sizing
              ? nullptr
              : static_cast<std::byte*>(scratch(kSharedScratch, static_cast<std::size_t>(bytes)));
      bytes = 0;
      const auto take = [&](std::int64_t wanted) {
        std::byte* const taken = sizing ? nullptr : memory + bytes;
        bytes += aligned(wanted);
        return taken;
      };
      for (ExpertJob& job : std::span(jobs_.data(), count_)) {
        job.linear = linear_of(job);
        if (job.linear.rows > 1) {
          job.linear.input = take(job.linear.rows * in_bytes_);
          job.linear.output = take(job.linear.rows * out_bytes_);
        }
        job.choice = choose(job.linear);
        job.prepared =
            take(static_cast<std::int64_t>(prepared_bytes(job.linear, job.choice.layout)));
      }
    }
  }

  void begin(ExpertJob& job) const {
    if (job.linear.rows > 1) {
      auto* to = static_cast<std::byte*>(const_cast<void*>(job.linear.input));
      for (const Entry& entry : job.entries) {
        std::memcpy(to, input_of(entry), static_cast<std::size_t>(in_bytes_));
        to += in_bytes_;
      }
    }
    job.job = prepare_alone(job.linear, job.choice.layout, job.prepared);
  }

  // Tiles of all jobs, one job behind the other.
  void compute(Chunk chunk, std::int64_t tiles) const {
    while (chunk.first < chunk.last) {
      const ExpertJob& job = jobs_[static_cast<std::size_t>(chunk.first / tiles)];
      const std::int64_t first = chunk.first % tiles;
      const std::int64_t last = std::min(tiles, first + chunk.last - chunk.first);
      job.choice.compute(job.job, first, last);
      if (job.linear.rows > 1) scatter(job, first, last);
      chunk.first += last - first;
    }
  }

  void scatter(const ExpertJob& job, std::int64_t first, std::int64_t last) const {
    const std::int64_t tile_bytes = kTile / (call_.epilogue == HEARTH_SWIGLU ? 2 : 1) * item_bytes_;
    const std::int64_t begin = first * tile_bytes;
    const std::int64_t end = std::min(last * tile_bytes, out_bytes_);
    const auto* from = static_cast<const std::byte*>(job.linear.output);
    for (const Entry& entry : job.entries) {
      std::memcpy(output_of(entry) + begin, from + begin, static_cast<std::size_t>(end - begin));
      from += out_bytes_;
    }
  }

  const HearthExperts& call_;
  const std::int64_t item_bytes_, in_bytes_, out_bytes_;
  const SortedEntries entries_;
  std::array<ExpertJob, kMostEntries> jobs_;  // `count_` of them
  std::size_t count_ = 0;
};

}  // namespace

HearthStatus experts(const HearthExperts* call, void*) {
  if (const HearthStatus status = check(call); status != HEARTH_OK) return status;
  ExpertJobs(*call).run();
  return HEARTH_OK;
}

}  // namespace hearth::kernels::cpu
