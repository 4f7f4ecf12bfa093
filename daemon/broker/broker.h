// The broker's core: what happened goes in, frames go out through the ports.
//
// One thread, no sockets, no clock of its own: a test drives it exactly as net/ does.
#pragma once

#include <functional>
#include <set>
#include <string>

#include "daemon/broker/core.h"
#include "daemon/broker/handover/archive.h"

namespace hearth::broker {

class Broker {
 public:
  Broker(Config config, Ports ports);

  // Publishes a folder under its name before start(). Errors: bad_model.
  Result<void> publish(const NamedFolder& folder);
  void start();

  // `port` must live until disconnect(), which may also be called after the broker closed it.
  ConnectionId connect(ClientPort& port, const Peer& peer);
  void receive(ConnectionId client, InFrame frame);
  // The client's frames broke the rules of the wire; it is told and the connection ends.
  void violated(ConnectionId client, const Error& error);
  void disconnect(ConnectionId client);

  // Work of a lost connection may wait for its process to come back for it, as long as that lives.
  bool awaits_return(ConnectionId client) const;
  void process_gone(ConnectionId client);

  void receive_from_worker(InFrame frame);
  // Why the process that ends could not start, where it cannot say so itself; before worker_gone().
  void worker_cannot_start(const Error& why);
  void worker_gone(const std::string& how);

  void tick();

  // Says goodbye to the clients and lets open requests end; is_stopped() soon after.
  void stop(const std::string& reason);
  bool is_stopped() const { return core_.stopped; }
  // Reads the configuration again, soon; the log says what came of it.
  void reload();
  bool is_reloading() const { return core_.reload.has_value() || core_.reload_again; }
  // For a watchdog that asks from the loop: whether the engine is looked after as it should be. An
  // engine that hangs is the broker's business and no reason to end the broker.
  bool is_healthy();
  // How the service is and what it does, in one line for people.
  std::string status_line();

  // Another process goes on with what this one saves: restore() before anything else, publish()
  // what is to be public, attach() the client of every connection, then resume() in place of
  // start(). Nothing may be under way off the loop when a broker is saved. Errors: internal.
  void save(handover::Saver& saver);
  Result<void> restore(handover::Loader& loader);
  void attach(ConnectionId client, ClientPort& port);
  void resume();

  // `replace` is called when somebody wants this process to be replaced; it does that later, or
  // calls upgrade_failed().
  void on_upgrade(std::function<void()> replace) { replace_ = std::move(replace); }
  void want_upgrade();
  void upgrade_failed(const Error& error);

  // `listener` is told of every worker that becomes ready.
  void on_worker_ready(std::function<void(const contract::WorkerReady&)> listener) {
    worker_ready_ = std::move(listener);
  }
  // `listener` is told once, when an administrator has the service end; stop() has been called.
  void on_stop(std::function<void()> listener) { stop_ = std::move(listener); }
  const Core& core() const { return core_; }

 private:
  Result<void> check_connection(const Peer& peer) const;
  void end_engine_work(const Error& error);
  void remove_if_ended(ConnectionId client);
  void greetings_tick();
  void heartbeats_tick();
  void stop_tick();
  void settle();
  void upgrade_if_wanted();
  bool is_idle() const;
  void let_unpublished_go();

  Core core_;
  std::function<void(const contract::WorkerReady&)> worker_ready_;
  std::function<void()> stop_;
  std::function<void()> replace_;
  bool is_replacing_ = false;
  std::set<std::string> were_public_;  // ids, from restore() to resume()
};

}  // namespace hearth::broker
