#include "daemon/broker/memory_cost.h"

#include <algorithm>
#include <bit>
#include <limits>
#include <numeric>

namespace hearth::broker {
namespace {

// What a load costs beside reading: opening, checking, warming up. As much as reading so many
// bytes.
constexpr double kLoadBytes = 256.0 * 1024 * 1024;
// A copy from pinned memory (25 GB/s) beside a read from a disk or the page cache (3 to 10 GB/s),
// and nothing is checked or warmed up.
constexpr double kCopiesFaster = 8.0;
// Models used within the last minute count as equally likely to be wanted again.
constexpr double kRecentSeconds = 60.0;
// Sets looked at one by one: 2^12 of them take well under a millisecond.
constexpr std::size_t kExactModels = 12;

struct Set {
  double cost = 0.0;
  std::uint64_t bytes = 0;
};

Set sum_of(std::span<const IdleModel> idle, std::span<const std::size_t> window, unsigned members) {
  Set set;
  for (std::size_t i = 0; i < window.size(); ++i) {
    if ((members >> i & 1) == 0) continue;
    set.cost += cost_of_leaving(idle[window[i]]);
    set.bytes += idle[window[i]].bytes;
  }
  return set;
}

// The cheapest members of `window` that free enough, as bits; of equally cheap sets the smaller
// one. All of them together must be enough.
unsigned cheapest(std::span<const IdleModel> idle, std::span<const std::size_t> window,
                  std::uint64_t needed_bytes) {
  const unsigned all = (1u << window.size()) - 1;
  unsigned best = all;
  double best_cost = std::numeric_limits<double>::max();
  for (unsigned members = 0; members <= all; ++members) {
    const Set set = sum_of(idle, window, members);
    const bool is_cheaper = set.cost < best_cost ||
                            (set.cost == best_cost && std::popcount(members) < std::popcount(best));
    if (set.bytes < needed_bytes || !is_cheaper) continue;
    best = members;
    best_cost = set.cost;
  }
  return best;
}

// Cheapest for their size first.
std::vector<std::size_t> by_cost_of_a_byte(std::span<const IdleModel> idle) {
  std::vector<std::size_t> order(idle.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  const auto of_a_byte = [&](std::size_t i) {
    return cost_of_leaving(idle[i]) /
           static_cast<double>(std::max<std::uint64_t>(idle[i].bytes, 1));
  };
  std::stable_sort(order.begin(), order.end(),
                   [&](std::size_t a, std::size_t b) { return of_a_byte(a) < of_a_byte(b); });
  return order;
}

std::uint64_t bytes_of(std::span<const IdleModel> idle, std::span<const std::size_t> window) {
  std::uint64_t bytes = 0;
  for (const std::size_t i : window) bytes += idle[i].bytes;
  return bytes;
}

}  // namespace

double cost_of_leaving(const IdleModel& model) {
  const double seconds = std::chrono::duration<double>(model.idle).count();
  const double cost = static_cast<double>(model.reload_bytes) + kLoadBytes;
  return (model.rests ? cost / kCopiesFaster : cost) / (std::max(seconds, 0.0) + kRecentSeconds);
}

std::optional<std::vector<std::size_t>> choose_leaving(std::span<const IdleModel> idle,
                                                       std::uint64_t needed_bytes) {
  const std::vector<std::size_t> order = by_cost_of_a_byte(idle);
  std::span<const std::size_t> left = order;
  std::vector<std::size_t> leaving;
  while (needed_bytes > 0) {
    if (left.empty()) return std::nullopt;
    const auto window = left.first(std::min(left.size(), kExactModels));
    left = left.subspan(window.size());
    const std::uint64_t window_bytes = bytes_of(idle, window);
    const bool is_enough = window_bytes >= needed_bytes;
    const unsigned members = is_enough ? cheapest(idle, window, needed_bytes) : ~0u;
    for (std::size_t i = 0; i < window.size(); ++i)
      if ((members >> i & 1) != 0) leaving.push_back(window[i]);
    needed_bytes = is_enough ? 0 : needed_bytes - window_bytes;
  }
  std::sort(leaving.begin(), leaving.end());
  return leaving;
}

}  // namespace hearth::broker
