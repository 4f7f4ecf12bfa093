#include "models/weights/share_out.h"

#include <atomic>
#include <exception>
#include <mutex>
#include <system_error>
#include <thread>
#include <utility>
#include <vector>

namespace hearth::weights {
namespace {

struct Shared {
  std::atomic<std::size_t> next{0};
  std::atomic<bool> stopped{false};
  std::mutex mutex;  // guards what follows
  Result<void> outcome;
  std::exception_ptr thrown;
};

void take_pieces(Shared& shared, std::size_t pieces, const std::function<TakePiece()>& hire,
                 const std::function<void()>& on_progress) {
  const TakePiece take = hire();
  while (!shared.stopped.load()) {
    const std::size_t piece = shared.next.fetch_add(1);
    if (piece >= pieces) return;
    if (auto taken = take(piece); !taken) {
      const std::lock_guard lock(shared.mutex);
      if (!shared.stopped.exchange(true)) shared.outcome = std::move(taken);
      return;
    }
    if (on_progress) on_progress();
  }
}

}  // namespace

Result<void> share_out(std::size_t pieces, std::size_t threads,
                       const std::function<TakePiece()>& hire,
                       const std::function<void()>& on_progress) {
  Shared shared;
  const auto work = [&](const std::function<void()>& progress) {
    try {
      take_pieces(shared, pieces, hire, progress);
    } catch (...) {
      const std::lock_guard lock(shared.mutex);
      shared.stopped = true;
      shared.thrown = std::current_exception();
    }
  };
  std::vector<std::thread> others;
  others.reserve(threads);
  try {
    while (others.size() + 1 < threads) others.emplace_back([&] { work({}); });
  } catch (const std::system_error&) {
    // Fewer threads take longer, and that is all.
  }
  work(on_progress);
  for (std::thread& other : others) other.join();
  if (shared.thrown) std::rethrow_exception(shared.thrown);
  return std::move(shared.outcome);
}

}  // namespace hearth::weights
