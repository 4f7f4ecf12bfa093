#include "daemon/broker/net/saved.h"

#include "daemon/broker/handover/fields.h"

namespace hearth::broker {

void SavedFrame::list(auto& archive, auto& value) {
  auto& [type, request_id, body, fds, sent_bytes] = value;
  HANDOVER(archive, type, request_id, body, fds, sent_bytes);
}

void SavedChannel::list(auto& archive, auto& value) {
  auto& [stream, large_frames, closing, outgoing, header, body, fds] = value;
  HANDOVER(archive, stream, large_frames, closing, outgoing, header, body, fds);
}

void SavedSession::list(auto& archive, auto& value) {
  auto& [id, channel, process, process_gone] = value;
  HANDOVER(archive, id, channel, process, process_gone);
}

void SavedLink::list(auto& archive, auto& value) {
  auto& [pid, channel, how, not_loaded, reaped, reported] = value;
  HANDOVER(archive, pid, channel, how, not_loaded, reaped, reported);
}

void SavedStart::list(auto& archive, auto& value) {
  auto& [boot_id, socket, lock, path, announced] = value;
  HANDOVER(archive, boot_id, socket, lock, path, announced);
}

void SavedTraffic::list(auto& archive, auto& value) {
  auto& [sessions, links] = value;
  HANDOVER(archive, sessions, links);
}

void save(handover::Saver& saver, const SavedStart& start) {
  saver.value(start);
}

void save(handover::Saver& saver, const SavedTraffic& traffic) {
  saver.value(traffic);
}

void load(handover::Loader& loader, SavedStart& start) {
  loader.value(start);
  loader.give_numbers();
}

void load(handover::Loader& loader, SavedTraffic& traffic) {
  loader.value(traffic);
  loader.give_numbers();
}

}  // namespace hearth::broker
