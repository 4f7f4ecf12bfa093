// Starts the engine process and talks to it over a socketpair.
//
// One process at a time; what a former one still sends is not heard. Its end is noticed by the end
// of the stream and by its pidfd, whichever comes first and, briefly, both: then its last frames
// and its exit status are known.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "daemon/broker/net/asio.h"
#include "daemon/broker/net/saved.h"
#include "daemon/broker/ports.h"

namespace hearth::broker {

class Broker;

struct WorkerCommand {
  std::string program;
  std::vector<std::string> arguments;  // "--link-fd N" is put in front
};

class WorkerProcess : public WorkerPort {
 public:
  WorkerProcess(asio::io_context& loop, WorkerCommand command);
  ~WorkerProcess() override;  // ends the process
  // Whom it reports to; once, before start().
  void report_to(Broker& broker) { broker_ = &broker; }

  Result<pid_t> start() override;
  void send(OutFrame frame) override;
  void kill() override;
  bool is_running() const;

  // Of the process, and of those before it that have not been waited for yet.
  std::vector<SavedLink> save();
  void resume(std::vector<SavedLink> saved);

 private:
  class Link;

  asio::io_context& loop_;
  const WorkerCommand command_;
  Broker* broker_ = nullptr;
  std::shared_ptr<Link> link_;
  std::vector<std::weak_ptr<Link>> former_;
};

}  // namespace hearth::broker
