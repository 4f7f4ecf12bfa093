#include "daemon/broker/net/channel.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <utility>

#include <sys/socket.h>

#include "shm/base/descriptors.h"

namespace hearth::broker {
namespace {

constexpr std::size_t kBodyStepBytes = 64 * 1024;

Error closed() {
  return fail(Code::kNotReachable, "the connection is closed");
}

enum class Took { kSome, kNothing, kClosed };

Took outcome(ssize_t n) {
  if (n > 0) return Took::kSome;
  if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR)) return Took::kNothing;
  return Took::kClosed;
}

// Descriptors come with header bytes only. `cut`: more of them came than there was room for.
ssize_t receive(int socket, std::span<std::byte> into, std::vector<Fd>& fds, bool& cut) {
  alignas(cmsghdr) std::array<std::byte, control_bytes(kMaxFrameFds)> control;
  iovec bytes{into.data(), into.size()};
  msghdr message = {};
  message.msg_iov = &bytes;
  message.msg_iovlen = 1;
  message.msg_control = control.data();
  message.msg_controllen = control.size();
  const ssize_t n = recvmsg(socket, &message, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
  if (n < 0) return n;
  take_descriptors(message, fds);
  cut = (message.msg_flags & MSG_CTRUNC) != 0 || fds.size() > kMaxFrameFds;
  return n;
}

ssize_t transmit(int socket, Outbox::Entry& entry) {
  const std::size_t header_sent = std::min(entry.sent_bytes, entry.header.size());
  const std::size_t body_sent = entry.sent_bytes - header_sent;
  std::array<iovec, 2> bytes = {
      iovec{entry.header.data() + header_sent, entry.header.size() - header_sent},
      iovec{entry.frame.body.data() + body_sent, entry.frame.body.size() - body_sent}};
  alignas(cmsghdr) std::array<std::byte, control_bytes(kMaxFrameFds)> control;
  msghdr message = {};
  message.msg_iov = bytes.data();
  message.msg_iovlen = bytes.size();
  if (entry.sent_bytes == 0 && !entry.frame.fds.empty()) {
    control.fill(std::byte{0});
    std::vector<int> fds;
    for (const SharedFd& fd : entry.frame.fds) fds.push_back(fd->get());
    attach_descriptors(message, control, fds);
  }
  return sendmsg(socket, &message, MSG_DONTWAIT | MSG_NOSIGNAL);
}

}  // namespace

Channel::Channel(UnixStream stream, std::chrono::milliseconds patience)
    : stream_(std::move(stream)),
      patience_(patience),
      to_send_(stream_.get_executor(), asio::steady_timer::time_point::max()),
      room_(stream_.get_executor(), asio::steady_timer::time_point::max()),
      deadline_(stream_.get_executor()),
      token_pause_(stream_.get_executor(), asio::steady_timer::time_point::min()) {}

asio::awaitable<Result<void>> Channel::read(InFrame& frame) {
  const auto end_with = [&](Result<void> result) {
    frame = std::exchange(incoming_, {}).frame;
    return result;
  };
  co_await wait_for_room();
  if (closing_) co_return end_with(closed());
  Result<void> got = co_await read_header();
  if (!got) co_return end_with(got);
  const Result<FrameHeader> header = decode_header(incoming_.header, max_body_bytes_);
  if (!header) co_return end_with(header.error());
  if (header->n_fds != incoming_.frame.fds.size())
    co_return end_with(
        fail(Code::kBadRequest, "n_fds is not the number of descriptors that came."));
  incoming_.frame.type = header->type;
  incoming_.frame.request_id = header->request_id;
  got = co_await read_body(header->body_len);
  co_return end_with(got);
}

asio::awaitable<void> Channel::wait_for_room() {
  if (++burst_ >= kBurstFrames) {
    burst_ = 0;
    co_await asio::post(stream_.get_executor(), asio::use_awaitable);
  }
  while (is_open() && !closing_ && (outbox_.full() || paused_)) {
    SystemError cancelled;
    co_await room_.async_wait(asio::redirect_error(asio::use_awaitable, cancelled));
  }
}

// `take()` reads once, without waiting, what comes after the first `have` bytes.
template <class Take>
asio::awaitable<Result<void>> Channel::read_all(std::size_t n_bytes, std::size_t& have,
                                                Take& take) {
  while (have < n_bytes) {
    if (!is_open()) co_return closed();
    const ssize_t n = take();
    switch (outcome(n)) {
      case Took::kSome:
        have += static_cast<std::size_t>(n);
        break;
      case Took::kNothing:
        co_await wait_readable();
        break;
      case Took::kClosed:
        co_return closed();
    }
  }
  co_return Result<void>();
}

asio::awaitable<Result<void>> Channel::read_header() {
  bool cut = false;
  auto take = [&]() -> ssize_t {
    const auto rest = std::span(incoming_.header).subspan(incoming_.header_bytes);
    const ssize_t n = receive(stream_.native_handle(), rest, incoming_.frame.fds, cut);
    return cut ? 0 : n;
  };
  const Result<void> got = co_await read_all(incoming_.header.size(), incoming_.header_bytes, take);
  if (cut) co_return fail(Code::kBadRequest, "Too many descriptors came with one frame.");
  co_return got;
}

asio::awaitable<Result<void>> Channel::read_body(std::size_t n_bytes) {
  auto take = [&]() -> ssize_t {
    std::string& body = incoming_.frame.body;
    const std::size_t have = incoming_.body_bytes;
    // Grows with what arrives: a promise of a megabyte costs nobody a megabyte.
    body.resize(std::min(n_bytes, have + kBodyStepBytes));
    return recv(stream_.native_handle(), body.data() + have, body.size() - have, MSG_DONTWAIT);
  };
  const Result<void> got = co_await read_all(n_bytes, incoming_.body_bytes, take);
  co_return got;
}

asio::awaitable<void> Channel::wait_readable() {
  burst_ = 0;
  SystemError ended;
  co_await stream_.async_wait(UnixStream::wait_read,
                              asio::redirect_error(asio::use_awaitable, ended));
  while (is_open() && !closing_ && paused_)
    co_await room_.async_wait(asio::redirect_error(asio::use_awaitable, ended));
}

void Channel::pause_reading(bool paused) {
  paused_ = paused;
  if (!paused) room_.cancel();
}

void Channel::send(OutFrame frame) {
  if (!is_open() || closing_) return;
  const bool was_idle = outbox_.empty() || holding_tokens_;
  const bool was_full = outbox_.full();
  const bool is_token = frame.type == contract::Token::kType;
  const bool may_wait = is_token || frame.type == contract::Progress::kType;
  outbox_.push(std::move(frame));
  if (!was_full && outbox_.full()) await_progress();
  if (holding_tokens_ && may_wait) return;
  if (!may_wait) token_pause_.expires_at(asio::steady_timer::time_point::min());
  if (was_idle && !(is_token && hold_tokens())) start_sending();
}

// Whether tokens that were queued just now shall wait for more of them. The first ones after a
// pause or after another frame never do.
bool Channel::hold_tokens() {
  if (token_pause_.expiry() <= asio::steady_timer::clock_type::now()) {
    token_pause_.expires_after(kTokenPause);
    return false;
  }
  holding_tokens_ = true;
  token_pause_.async_wait([this, alive = std::weak_ptr<void>(alive_)](SystemError cancelled) {
    if (cancelled || alive.expired() || !holding_tokens_) return;
    token_pause_.expires_after(kTokenPause);
    start_sending();
  });
  return true;
}

void Channel::start_sending() {
  holding_tokens_ = false;
  flush();
  if (!outbox_.empty()) to_send_.cancel();
}

void Channel::flush() {
  while (is_open() && !outbox_.empty() && send_some()) {
  }
}

bool Channel::send_some() {
  const ssize_t n = transmit(stream_.native_handle(), outbox_.front());
  switch (outcome(n)) {
    case Took::kSome:
      break;
    case Took::kNothing:
      return false;
    case Took::kClosed:
      close();
      return false;
  }
  const bool was_full = outbox_.full();
  outbox_.sent(static_cast<std::size_t>(n));
  if (!was_full) return true;
  if (outbox_.full()) {
    await_progress();
  } else {
    if (!closing_) deadline_.cancel();  // the end keeps its own deadline
    room_.cancel();
  }
  return true;
}

asio::awaitable<void> Channel::write() {
  SystemError cancelled;
  while (is_open()) {
    if (outbox_.empty()) {
      if (closing_) break;
      co_await to_send_.async_wait(asio::redirect_error(asio::use_awaitable, cancelled));
      continue;
    }
    co_await stream_.async_wait(UnixStream::wait_write,
                                asio::redirect_error(asio::use_awaitable, cancelled));
    flush();
  }
  close();
}

// The outbox is full: from now the peer has `patience_` to take some more.
void Channel::await_progress() {
  if (closing_) return;  // close_when_sent() has set a deadline of its own
  deadline_.expires_after(patience_);
  deadline_.async_wait([this, alive = std::weak_ptr<void>(alive_)](SystemError cancelled) {
    if (!cancelled && !alive.expired() && outbox_.full()) close();
  });
}

void Channel::close_when_sent() {
  if (!is_open() || std::exchange(closing_, true)) return;
  shutdown(stream_.native_handle(), SHUT_RD);  // the reader sees an end
  room_.cancel();
  to_send_.cancel();
  deadline_.expires_after(kFarewell);
  deadline_.async_wait([this, alive = std::weak_ptr<void>(alive_)](SystemError cancelled) {
    if (!cancelled && !alive.expired()) close();
  });
}

SavedChannel Channel::save() {
  SavedChannel saved;
  if (!is_open()) return saved;
  saved.stream.fd = native_handle();
  saved.large_frames = max_body_bytes_ == kMaxFrameBytes;
  saved.closing = closing_;
  for (const Outbox::Entry& entry : outbox_.entries()) {
    const OutFrame& frame = entry.frame;
    saved.outgoing.push_back(
        {frame.type, frame.request_id, frame.body, frame.fds, entry.sent_bytes});
  }
  const auto* header = reinterpret_cast<const char*>(incoming_.header.data());
  saved.header.assign(header, incoming_.header_bytes);
  saved.body = incoming_.frame.body.substr(0, incoming_.body_bytes);
  for (const Fd& fd : incoming_.frame.fds) saved.fds.push_back({fd.get()});
  return saved;
}

void Channel::restore(SavedChannel saved) {
  if (saved.large_frames) allow_large_frames();
  for (SavedFrame& frame : saved.outgoing)
    outbox_.restore({frame.type, frame.request_id, std::move(frame.body), std::move(frame.fds)},
                    frame.sent_bytes);
  incoming_.header_bytes = std::min(saved.header.size(), incoming_.header.size());
  std::memcpy(incoming_.header.data(), saved.header.data(), incoming_.header_bytes);
  incoming_.body_bytes = saved.body.size();
  incoming_.frame.body = std::move(saved.body);
  for (const handover::Number number : saved.fds) incoming_.frame.fds.emplace_back(number.fd);
  if (outbox_.full()) await_progress();
  if (saved.closing) close_when_sent();
}

void Channel::close() {
  if (!is_open()) return;
  SystemError ignored;
  stream_.close(ignored);
  outbox_.clear();
  to_send_.cancel();
  room_.cancel();
  deadline_.cancel();
  token_pause_.cancel();
}

}  // namespace hearth::broker
