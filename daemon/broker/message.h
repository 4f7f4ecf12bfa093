// A frame on its way through the broker: header fields, msgpack body, descriptors.
//
// Descriptors that arrive have one owner. Descriptors that leave are shared: the broker keeps
// an arena's or a model's file open while it sends it to several peers.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "shm/base/fd.h"
#include "shm/base/result.h"
#include "shm/contract/messages.h"
#include "shm/frame.h"

namespace hearth::broker {

using SharedFd = std::shared_ptr<const Fd>;

struct InFrame {
  std::uint8_t type = 0;
  std::uint32_t request_id = 0;
  std::string body;
  std::vector<Fd> fds;
};

struct OutFrame {
  std::uint8_t type = 0;
  std::uint32_t request_id = 0;
  std::string body;
  std::vector<SharedFd> fds;
};

inline std::span<const std::byte> bytes_of(const std::string& body) {
  return std::as_bytes(std::span(body.data(), body.size()));
}

template <class M>
OutFrame make_frame(std::uint32_t request_id, const M& message, std::vector<SharedFd> fds = {}) {
  return OutFrame{M::kType, request_id, contract::pack(message), std::move(fds)};
}

template <class M>
Result<M> read_body(const InFrame& frame) {
  return contract::unpack<M>(bytes_of(frame.body));
}

// `error` as the peer sees it: the code's own hint where there is no better one, both texts cut to
// what the contract allows. `retry_after_ms` 0: no advice.
contract::Error to_message(const Error& error, std::uint32_t retry_after_ms);

// Text of a peer made fit for a log line: control characters become '?', at most 128 bytes.
std::string printable(const std::string& text);
// The same at any length.
std::string one_line(std::string text);

}  // namespace hearth::broker
