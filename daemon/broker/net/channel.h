// Frames over one Unix stream socket, with descriptors: the wire of clients and of the worker.
//
// One coroutine reads, one writes. send() tries the socket at once and leaves to the writer only
// what the kernel does not take; but tokens within kTokenPause of the last ones wait for it to end
// or for a frame that does not wait, so that reading a fast answer wakes its client 33 times a
// second at most. One thread. There is no cancellation of single operations: close() ends both
// coroutines. The owner keeps the channel alive until both have returned.
#pragma once

#include "daemon/broker/net/asio.h"
#include "daemon/broker/net/saved.h"
#include "daemon/broker/outbox.h"

namespace hearth::broker {

class Channel {
 public:
  static constexpr std::chrono::seconds kPatience{10};

  // A peer that takes nothing of a full outbox for `patience` is given up.
  explicit Channel(UnixStream stream, std::chrono::milliseconds patience = kPatience);

  // Reads the next frame into `frame`, waiting while the outbox is full. Errors: not_reachable when
  // the connection is closed, bad_request when the peer broke the rules of the wire. After an error
  // `frame.fds` may hold descriptors that nobody wants.
  asio::awaitable<Result<void>> read(InFrame& frame);
  // Nothing is read until it is false again; what has begun to arrive stays as far as it has come.
  void pause_reading(bool paused);
  // Sends what is queued until the channel is closed.
  asio::awaitable<void> write();

  void send(OutFrame frame);
  void allow_large_frames() { max_body_bytes_ = kMaxFrameBytes; }
  // Takes nothing more from the peer, sends what is queued (for at most kFarewell), then closes.
  void close_when_sent();
  void close();
  // What it has not finished yet. Another channel over the same stream goes on with it, if it is
  // told before read() and write().
  SavedChannel save();
  void restore(SavedChannel saved);
  std::size_t queued_bytes() const { return outbox_.queued_bytes(); }
  bool is_open() const { return stream_.is_open(); }
  int native_handle() { return stream_.native_handle(); }
  UnixStream::executor_type executor() { return stream_.get_executor(); }

 private:
  static constexpr std::chrono::seconds kFarewell{1};
  static constexpr std::chrono::milliseconds kTokenPause{31};  // at most 33 times a second
  static constexpr int kBurstFrames = 8;  // then other connections get their turn

  asio::awaitable<void> wait_for_room();
  // The frame that is being read, as far as it has come.
  struct Incoming {
    FrameHeaderBytes header{};
    std::size_t header_bytes = 0;
    std::size_t body_bytes = 0;
    InFrame frame;
  };

  template <class Take>
  asio::awaitable<Result<void>> read_all(std::size_t n_bytes, std::size_t& have, Take& take);
  asio::awaitable<Result<void>> read_header();
  asio::awaitable<Result<void>> read_body(std::size_t n_bytes);
  asio::awaitable<void> wait_readable();
  bool hold_tokens();
  void start_sending();
  void flush();
  bool send_some();
  void await_progress();

  UnixStream stream_;
  const std::chrono::milliseconds patience_;
  Outbox outbox_;
  Incoming incoming_;
  asio::steady_timer to_send_;      // never expires; cancelled when there is something to send
  asio::steady_timer room_;         // never expires; cancelled when the outbox has room again
  asio::steady_timer deadline_;     // a silent or departing peer is closed when it expires
  asio::steady_timer token_pause_;  // tokens wait in the outbox until it expires
  std::uint32_t max_body_bytes_ = kMaxGreetingBytes;
  int burst_ = 0;
  bool closing_ = false;
  bool paused_ = false;
  bool holding_tokens_ = false;
  std::shared_ptr<void> alive_ = std::make_shared<int>();  // tells timers that we are gone
};

}  // namespace hearth::broker
