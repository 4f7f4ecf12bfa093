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
  if (frame.type == contract::Token::kType) return push_token(std::move(frame));
  const bool is_crowded = queued_bytes_ > kCrowdedBytes;
  if (frame.type == contract::Progress::kType && is_crowded && put_for_last_progress(frame)) return;
  append(std::move(frame));
}

void Outbox::push_token(OutFrame frame) {
  const auto token = contract::unpack<contract::Token>(bytes_of(frame.body));
  if (!token) return append(std::move(frame)), void();
  const Voice voice{frame.request_id, token->answer, token->thinking};
  if (!joined_to_last(voice, *token)) last_token_[voice] = &append(std::move(frame));
}

bool Outbox::joined_to_last(const Voice& voice, const contract::Token& later) {
  const auto last = last_token_.find(voice);
  if (last == last_token_.end()) return false;
  Entry& entry = *last->second;
  if (entry.sent_bytes > 0 || entry.frame.body.size() > kJoinedTokenBytes) return false;
  auto earlier = contract::unpack<contract::Token>(bytes_of(entry.frame.body));
  if (!earlier) return false;
  earlier->text += later.text;
  earlier->token_ids += later.token_ids;
  change_body(entry, contract::pack(*earlier));
  return true;
}

bool Outbox::put_for_last_progress(OutFrame& frame) {
  const auto last = last_progress_.find(frame.request_id);
  if (last == last_progress_.end() || last->second->sent_bytes > 0) return false;
  change_body(*last->second, std::move(frame.body));
  return true;
}

void Outbox::change_body(Entry& entry, std::string body) {
  queued_bytes_ -= entry.total_bytes();
  entry.frame.body = std::move(body);
  entry.header = header_of(entry.frame);
  queued_bytes_ += entry.total_bytes();
}

Outbox::Entry& Outbox::append(OutFrame frame) {
  const std::uint8_t type = frame.type;
  const std::uint32_t request_id = frame.request_id;
  entries_.push_back(Entry{header_of(frame), std::move(frame), 0});
  queued_bytes_ += entries_.back().total_bytes();
  if (type == contract::Progress::kType) {
    last_progress_[request_id] = &entries_.back();
  } else if (type != contract::Token::kType) {
    forget_tokens(request_id);  // what comes later must not overtake this frame
    // The id may soon belong to another request.
    if (contract::kind_of_type(type) == contract::Kind::kReply) last_progress_.erase(request_id);
  }
  return entries_.back();
}

void Outbox::forget_tokens(std::uint32_t request_id) {
  std::erase_if(last_token_, [&](const auto& last) { return last.first.request_id == request_id; });
}

void Outbox::sent(std::size_t n_bytes) {
  Entry& entry = entries_.front();
  entry.sent_bytes += n_bytes;
  if (entry.sent_bytes < entry.total_bytes()) return;
  queued_bytes_ -= entry.total_bytes();
  std::erase_if(last_token_, [&](const auto& last) { return last.second == &entry; });
  std::erase_if(last_progress_, [&](const auto& last) { return last.second == &entry; });
  entries_.pop_front();
}

void Outbox::restore(OutFrame frame, std::size_t sent_bytes) {
  entries_.push_back(Entry{header_of(frame), std::move(frame), sent_bytes});
  queued_bytes_ += entries_.back().total_bytes();
}

void Outbox::clear() {
  entries_.clear();
  last_token_.clear();
  last_progress_.clear();
  queued_bytes_ = 0;
}

}  // namespace hearth::broker
