// The threads for system calls that can block, one for each lane.
//
// A thread that a hostile file system holds fast is left behind and replaced, at most kMaxStuck of
// a lane at once; after that its lane takes no more until one of them returns. The other lanes go
// on.
#pragma once

#include <set>

#include "daemon/broker/net/asio.h"
#include "daemon/broker/ports.h"

namespace hearth::broker {

class OffLoopThreads : public OffLoop {
 public:
  explicit OffLoopThreads(asio::io_context& loop);
  ~OffLoopThreads() override;  // waits for threads that are not stuck

  Ticket run(Lane lane, Work work) override;
  void abandon(Ticket ticket) override;
  SharedFd adopt(Fd fd) override;
  // Nothing is waiting or under way, stuck threads included, and every continuation has run.
  bool is_idle() const;
  // Threads that are left behind and have not returned yet, of all lanes. While there are any, the
  // process must not execve(): that waits for them, be they ever so stuck.
  int stuck() const;

  static constexpr int kMaxStuck = 8;

 private:
  struct Shared;
  static void serve(std::shared_ptr<Shared> shared, Lane lane, unsigned generation);
  void start_thread(Lane lane, unsigned generation);
  void finish(Ticket ticket, const Continuation& continuation);

  std::shared_ptr<Shared> shared_;
  std::set<Ticket> expected_;  // loop's thread only
  Ticket last_ticket_ = 0;
};

}  // namespace hearth::broker
