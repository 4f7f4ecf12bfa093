// The worker's end of the socketpair: frames in with their descriptors, frames out without
// blocking.
//
// wait() and read() belong to one thread. The senders may be called by any: what the socket does
// not take at once waits in a queue that one writer thread empties. While it waits, the pieces of
// an answer's text grow together, up to 64 KiB a frame, those of its thoughts as well, and a
// request's older progress is replaced; every other frame is kept as it is. A sender is never
// blocked by a slow broker.
#pragma once

#include <chrono>
#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include <sys/types.h>

#include "shm/base/fd.h"
#include "shm/base/result.h"
#include "shm/contract/messages.h"
#include "shm/frame.h"

namespace hearth::worker {

struct Frame {
  FrameHeader header;
  std::vector<std::byte> body;
  std::vector<Fd> fds;
};

class Link {
 public:
  explicit Link(Fd socket);
  ~Link();
  Link(const Link&) = delete;
  Link& operator=(const Link&) = delete;

  // Whether there is something to read, or the other side is gone; waits for it at most `limit`.
  bool wait(std::chrono::milliseconds limit);
  // Blocks for the next frame. Absent: the broker is gone. Errors: bad_request for a broken frame;
  // nothing can be read after it.
  Result<std::optional<Frame>> read();

  // The descriptors in `fds` are closed when they are sent.
  template <class Message>
  void send(std::uint32_t request_id, const Message& message, std::vector<Fd> fds = {}) {
    post({request_id, Message::kType, contract::pack(message), {}, std::move(fds)});
  }
  void send_token(std::uint32_t request_id, contract::Token piece);
  // `wants_room`: out_of_memory that ends when others leave the device; said as `retryable`.
  void send_error(std::uint32_t request_id, const Error& error, bool wants_room = false);

  // Waits until everything sent is in the socket, at most `limit`.
  void flush(std::chrono::milliseconds limit);

 private:
  struct Outgoing {
    std::uint32_t request_id = 0;
    std::uint8_t type = 0;
    std::string body;       // packed; of a token made when it is written
    contract::Token token;  // of type token only
    std::vector<Fd> fds;
  };

  Result<bool> read_bytes(std::span<std::byte> bytes, std::vector<Fd>& fds);
  void post(Outgoing frame);
  bool merge(Outgoing& frame);
  void write_what_fits();
  bool load_next();
  ssize_t write_some();
  void write_when_ready();

  const Fd socket_;
  std::mutex mutex_;  // of all below
  std::condition_variable changed_;
  std::deque<Outgoing> queue_;   // whole frames that nothing was written of
  std::string writing_;          // the frame being written
  std::size_t written_ = 0;      // bytes of it
  std::vector<Fd> writing_fds_;  // go with its first byte
  bool closed_ = false;          // the socket takes nothing more, or we end
  std::thread writer_;
};

}  // namespace hearth::worker
