// One client's connection: reads its frames for the broker, writes what the broker answers, and
// notices the end of the client's process even where a forked child keeps the socket open.
//
// Kept alive by its own coroutines; they end when the connection does.
#pragma once

#include <memory>
#include <optional>

#include "daemon/broker/broker.h"
#include "daemon/broker/net/channel.h"

namespace hearth::broker {

class Session : public ClientPort, public std::enable_shared_from_this<Session> {
 public:
  Session(UnixStream stream, Broker& broker, OffLoop& off_loop);
  void start();
  // Goes on where a session of the former process was, in place of start().
  void resume(SavedSession saved);
  // Nothing when all about it is over.
  std::optional<SavedSession> save();
  void pause_reading(bool paused) { channel_.pause_reading(paused); }
  bool is_open() const { return channel_.is_open(); }
  void close_now() { channel_.close(); }

  void send(OutFrame frame) override { channel_.send(std::move(frame)); }
  void allow_large_frames() override { channel_.allow_large_frames(); }
  void close() override { channel_.close_when_sent(); }

 private:
  static asio::awaitable<void> read(std::shared_ptr<Session> self);
  static asio::awaitable<void> write(std::shared_ptr<Session> self);
  void serve();
  void watch_process();
  void await_its_end();
  void let_process_go();

  Channel channel_;
  Broker& broker_;
  OffLoop& off_loop_;
  Peer peer_;
  asio::posix::stream_descriptor process_;  // the peer's pidfd
  asio::steady_timer return_;               // until then the peer may come back for its work
  bool process_gone_ = false;
  ConnectionId id_ = 0;
};

}  // namespace hearth::broker
