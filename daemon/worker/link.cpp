#include "daemon/worker/link.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

#include <fmt/format.h>
#include <poll.h>
#include <pthread.h>
#include <sys/socket.h>

#include "shm/base/descriptors.h"
#include "shm/base/text.h"

namespace hearth::worker {
namespace {

constexpr int kPollMs = 100;                     // how soon the writer notices that the worker ends
constexpr std::size_t kJoinedBytes = 64 * 1024;  // of one token frame; the contract allows more

std::string header_bytes(const FrameHeader& header) {
  const FrameHeaderBytes bytes = encode(header);
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

std::size_t bytes_in(const contract::Token& token) {
  return token.text.size() + token.token_ids.size();
}

}  // namespace

Link::Link(Fd socket) : socket_(std::move(socket)) {
  writer_ = std::thread([this] { write_when_ready(); });
  ::pthread_setname_np(writer_.native_handle(), "link-out");
}

Link::~Link() {
  {
    const std::lock_guard lock(mutex_);
    closed_ = true;
  }
  changed_.notify_all();
  writer_.join();
}

bool Link::wait(std::chrono::milliseconds limit) {
  pollfd waiting{socket_.get(), POLLIN, 0};
  return ::poll(&waiting, 1, static_cast<int>(limit.count())) > 0;
}

Result<std::optional<Frame>> Link::read() {
  Frame frame;
  FrameHeaderBytes header;
  TRY(const bool open, read_bytes(header, frame.fds));
  if (!open) return std::optional<Frame>();
  TRY(frame.header, decode_header(header, kMaxFrameBytes));
  if (frame.header.n_fds != frame.fds.size())
    return fail(Code::kBadRequest, fmt::format("A frame announces {} descriptors and carries {}.",
                                               frame.header.n_fds, frame.fds.size()));
  frame.body.resize(frame.header.body_len);
  TRY(const bool whole, read_bytes(frame.body, frame.fds));
  if (!whole) return std::optional<Frame>();
  return std::optional<Frame>(std::move(frame));
}

// False: the other side closed. Descriptors come with the header's bytes only, but are taken, and
// so closed, wherever they come.
Result<bool> Link::read_bytes(std::span<std::byte> bytes, std::vector<Fd>& fds) {
  alignas(cmsghdr) std::byte control[control_bytes(kMaxFrameFds)];
  for (std::size_t done = 0; done < bytes.size();) {
    iovec part{bytes.data() + done, bytes.size() - done};
    msghdr message{};
    message.msg_iov = &part;
    message.msg_iovlen = 1;
    message.msg_control = control;
    message.msg_controllen = sizeof(control);
    const ssize_t count = ::recvmsg(socket_.get(), &message, MSG_CMSG_CLOEXEC);
    if (count < 0 && errno == EINTR) continue;
    if (count <= 0) return false;
    take_descriptors(message, fds);
    if ((message.msg_flags & MSG_CTRUNC) != 0)
      return fail(Code::kBadRequest, "A frame's descriptors were cut off.",
                  "Raise the limit of open files of the service.");
    done += static_cast<std::size_t>(count);
  }
  return true;
}

void Link::send_token(std::uint32_t request_id, contract::Token piece) {
  post({request_id, contract::Token::kType, {}, std::move(piece), {}});
}

void Link::send_error(std::uint32_t request_id, const Error& error, bool wants_room) {
  contract::Error message;
  message.code = name_of(error.code);
  message.what = cut(error.what, 4096);
  message.hint = cut(error.hint.empty() ? std::string(hint_of(error.code)) : error.hint, 1024);
  message.retryable = retryable(error.code) || wants_room;
  send(request_id, message);
}

void Link::post(Outgoing frame) {
  const std::lock_guard lock(mutex_);
  if (closed_) return;
  if (!merge(frame)) queue_.push_back(std::move(frame));
  write_what_fits();
  if (!writing_.empty()) changed_.notify_all();
}

// Appends tokens to the waiting frame of the same answer's text or thoughts, or replaces the
// request's waiting progress.
bool Link::merge(Outgoing& frame) {
  const bool token = frame.type == contract::Token::kType;
  if (!token && frame.type != contract::Progress::kType) return false;
  const auto waiting = std::find_if(queue_.rbegin(), queue_.rend(), [&](const Outgoing& other) {
    return other.request_id == frame.request_id && other.type == frame.type &&
           other.token.answer == frame.token.answer && other.token.thinking == frame.token.thinking;
  });
  if (waiting == queue_.rend()) return false;
  if (token && bytes_in(waiting->token) + bytes_in(frame.token) > kJoinedBytes) return false;
  if (token) {
    waiting->token.text += frame.token.text;
    waiting->token.token_ids += frame.token.token_ids;
  } else {
    waiting->body = std::move(frame.body);
  }
  return true;
}

// With the mutex held: writes until the queue is empty or the socket is full.
void Link::write_what_fits() {
  while (!closed_ && (!writing_.empty() || load_next())) {
    const ssize_t count = write_some();
    if (count < 0 && errno == EINTR) continue;
    if (count < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) return;
    if (count < 0) {
      closed_ = true;
      return;
    }
    writing_fds_.clear();
    written_ += static_cast<std::size_t>(count);
    if (written_ == writing_.size()) writing_.clear();
  }
}

ssize_t Link::write_some() {
  iovec rest{writing_.data() + written_, writing_.size() - written_};
  msghdr message{};
  message.msg_iov = &rest;
  message.msg_iovlen = 1;
  std::vector<int> fds;
  for (const Fd& fd : writing_fds_) fds.push_back(fd.get());
  alignas(cmsghdr) std::byte control[control_bytes(kMaxFrameFds)] = {};
  if (!fds.empty()) attach_descriptors(message, control, fds);
  return ::sendmsg(socket_.get(), &message, MSG_DONTWAIT | MSG_NOSIGNAL);
}

bool Link::load_next() {
  if (queue_.empty()) return false;
  Outgoing frame = std::move(queue_.front());
  queue_.pop_front();
  if (frame.type == contract::Token::kType) frame.body = contract::pack(frame.token);
  const FrameHeader header{static_cast<std::uint32_t>(frame.body.size()), frame.request_id,
                           frame.type, 0, static_cast<std::uint16_t>(frame.fds.size())};
  writing_ = header_bytes(header) + frame.body;
  writing_fds_ = std::move(frame.fds);
  written_ = 0;
  return true;
}

void Link::write_when_ready() {
  std::unique_lock lock(mutex_);
  while (!closed_) {
    changed_.wait(lock, [&] { return closed_ || !writing_.empty(); });
    lock.unlock();
    pollfd waiting{socket_.get(), POLLOUT, 0};
    ::poll(&waiting, 1, kPollMs);
    lock.lock();
    write_what_fits();
    if (writing_.empty()) changed_.notify_all();
  }
}

void Link::flush(std::chrono::milliseconds limit) {
  std::unique_lock lock(mutex_);
  changed_.wait_for(lock, limit, [&] { return closed_ || (writing_.empty() && queue_.empty()); });
}

}  // namespace hearth::worker
