#include "daemon/broker/outbox.h"

namespace hearth::broker {
namespace {

FrameHeaderBytes header_of(const OutFrame& frame) {
  FrameHeader header;
  header.body_len = static_cast<std::uint32_t>(frame.body.size());
  header.request_id = frame.request_id;
  header.type = frame.type;
  header.n_fds = static_cast<std::uint16_t>(frame.fds.size());
  return encode(header);
}

}  // namespace

void Outbox::push(OutFrame frame) {
  if (frame.type == contract::Token::kType && joined_to_last_token(frame)) return;
  if (frame.type == contract::Progress::kType && queued_bytes_ > kCrowdedBytes) return;
  append(std::move(frame));
}

bool Outbox::joined_to_last_token(const OutFrame& frame) {
  const auto last = last_token_.find(frame.request_id);
  if (last == last_token_.end()) return false;
  Entry& entry = *last->second;
  if (entry.sent_bytes > 0 || entry.frame.body.size() > kJoinedTokenBytes) return false;
  auto earlier = contract::unpack<contract::Token>(bytes_of(entry.frame.body));
  auto later = contract::unpack<contract::Token>(bytes_of(frame.body));
  if (!earlier || !later) return false;
  earlier->text += later->text;
  earlier->token_ids += later->token_ids;
  queued_bytes_ -= entry.total_bytes();
  entry.frame.body = contract::pack(*earlier);
  entry.header = header_of(entry.frame);
  queued_bytes_ += entry.total_bytes();
  return true;
}

void Outbox::append(OutFrame frame) {
  const bool is_token = frame.type == contract::Token::kType;
  const std::uint32_t request_id = frame.request_id;
  entries_.push_back(Entry{header_of(frame), std::move(frame), 0});
  queued_bytes_ += entries_.back().total_bytes();
  if (is_token) {
    last_token_[request_id] = &entries_.back();
  } else {
    last_token_.erase(request_id);  // what comes later must not overtake this frame
  }
}

void Outbox::sent(std::size_t n_bytes) {
  Entry& entry = entries_.front();
  entry.sent_bytes += n_bytes;
  if (entry.sent_bytes < entry.total_bytes()) return;
  queued_bytes_ -= entry.total_bytes();
  const auto last = last_token_.find(entry.frame.request_id);
  if (last != last_token_.end() && last->second == &entry) last_token_.erase(last);
  entries_.pop_front();
}

void Outbox::clear() {
  entries_.clear();
  last_token_.clear();
  queued_bytes_ = 0;
}

}  // namespace hearth::broker
