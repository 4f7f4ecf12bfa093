// What net/ hands over in an upgrade, as values: where the former process was with every
// connection.
//
// Descriptors are bare numbers: the process that saves goes on owning them, and the one that loads
// owns them from then on.
#pragma once

#include <string>
#include <vector>

#include "daemon/broker/handover/archive.h"

namespace hearth::broker {

struct SavedFrame {
  std::uint8_t type = 0;
  std::uint32_t request_id = 0;
  std::string body;
  std::vector<SharedFd> fds;
  std::uint64_t sent_bytes = 0;  // of header and body; the descriptors go with the first
  static void list(auto& archive, auto& value);
};

struct SavedChannel {
  handover::Number stream;  // -1: closed, and nothing else counts
  bool large_frames = false;
  bool closing = false;  // once it has sent what is left
  std::vector<SavedFrame> outgoing;
  // The frame that has begun to arrive, as far as it has come.
  std::string header;
  std::string body;
  std::vector<handover::Number> fds;
  static void list(auto& archive, auto& value);
};

struct SavedSession {
  ConnectionId id = 0;
  SavedChannel channel;
  handover::Number process;  // its pidfd
  bool process_gone = false;
  static void list(auto& archive, auto& value);
};

// An engine process. A new pidfd is as good as the old: nobody has waited for it yet.
struct SavedLink {
  pid_t pid = 0;
  SavedChannel channel;
  std::string how;
  bool not_loaded = false;
  bool reaped = false;
  bool reported = false;
  static void list(auto& archive, auto& value);
};

// What a process needs before it has a broker.
struct SavedStart {
  std::string boot_id;
  handover::Number socket;
  handover::Number lock;  // -1: the socket is systemd's
  std::string path;
  bool announced = false;
  static void list(auto& archive, auto& value);
};

struct SavedTraffic {
  std::vector<SavedSession> sessions;
  std::vector<SavedLink> links;  // the present process last
  static void list(auto& archive, auto& value);
};

void save(handover::Saver& saver, const SavedStart& start);
void save(handover::Saver& saver, const SavedTraffic& traffic);
void load(handover::Loader& loader, SavedStart& start);
void load(handover::Loader& loader, SavedTraffic& traffic);

}  // namespace hearth::broker
