// Frames that wait until a peer reads: bounded by coalescing, never by losing an answer.
//
// Token events that wait are joined, an answer's text and its thoughts each. Over kCrowdedBytes, of
// a request's progress events only the latest is kept. Over kFullBytes the owner must stop reading
// from the peer; replies and errors are still accepted.
#pragma once

#include <compare>
#include <cstddef>
#include <deque>
#include <map>
#include <unordered_map>

#include "daemon/broker/message.h"

namespace hearth::broker {

class Outbox {
 public:
  static constexpr std::size_t kCrowdedBytes = 256 * 1024;
  static constexpr std::size_t kFullBytes = 4 * 1024 * 1024;
  static constexpr std::size_t kJoinedTokenBytes = 16 * 1024;  // a joined event grows no further

  struct Entry {
    FrameHeaderBytes header;
    OutFrame frame;
    std::size_t sent_bytes = 0;
    std::size_t total_bytes() const { return header.size() + frame.body.size(); }
  };

  void push(OutFrame frame);

  bool empty() const { return entries_.empty(); }
  bool full() const { return queued_bytes_ >= kFullBytes; }
  std::size_t queued_bytes() const { return queued_bytes_; }
  std::size_t frames() const { return entries_.size(); }

  // The frame to go on with; valid until the next call of push() or sent().
  Entry& front() { return entries_.front(); }
  // `n_bytes` more of front() are gone; removes it when complete.
  void sent(std::size_t n_bytes);
  void clear();

  // What waits, in order, and how it was before an upgrade: nothing is joined to it any more.
  const std::deque<Entry>& entries() const { return entries_; }
  void restore(OutFrame frame, std::size_t sent_bytes);

 private:
  // Whose words a token event carries.
  struct Voice {
    std::uint32_t request_id = 0;
    std::uint32_t answer = 0;
    bool thinking = false;
    auto operator<=>(const Voice&) const = default;
  };

  void push_token(OutFrame frame);
  bool joined_to_last(const Voice& voice, const contract::Token& later);
  bool put_for_last_progress(OutFrame& frame);
  void change_body(Entry& entry, std::string body);
  Entry& append(OutFrame frame);
  void forget_tokens(std::uint32_t request_id);

  std::deque<Entry> entries_;
  // The newest token event of a voice while more may be joined to it, and a request's newest
  // progress event until the request ends. They point into entries_, whose elements stay in place
  // until removed from the front.
  std::map<Voice, Entry*> last_token_;
  std::unordered_map<std::uint32_t, Entry*> last_progress_;
  std::size_t queued_bytes_ = 0;
};

}  // namespace hearth::broker
