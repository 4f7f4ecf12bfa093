// The broker's end of a worker's link, with a watchdog on every wait.
#pragma once

#include <functional>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include "daemon/worker/link.h"
#include "shm/contract/messages.h"
#include "shm/frame.h"
#include "shm/segment.h"
#include "tests/unit/model_files_for_test.h"

namespace hearth::worker {

// Before any test runs, as main does before any thread does.
inline const bool kServesFake = (models::serve_test_families(), true);

inline constexpr int kWatchdogSeconds = 60;

struct SocketPair {
  Fd broker;
  Fd worker;
};

// The broker's end gives up reading after kWatchdogSeconds.
SocketPair make_sockets();

// All that was heard under one request id.
struct Heard {
  std::string text;  // of token events
  std::vector<std::string> stages;
  int inputs_done = 0;
  int computed = 0;
  int replies = 0;  // terminal frames
  std::optional<contract::Generated> generated;
  std::optional<contract::Encoded> encoded;
  std::optional<contract::Error> error;
  std::optional<contract::ModelLoaded> loaded;
  std::optional<contract::ModelOffered> offered;
  std::optional<contract::ModelUnloaded> unloaded;
  std::optional<contract::TokensCounted> counted;

  std::string code() const { return error ? error->code : ""; }
};

class BrokerSide {
 public:
  explicit BrokerSide(Fd socket) : raw_(socket.get()), link_(std::move(socket)) {}

  int socket() const { return raw_; }

  template <class Message>
  void send(std::uint32_t id, const Message& message, const std::vector<int>& fds = {}) {
    const std::string body = contract::pack(message);
    send_bytes(id, Message::kType, body, fds);
  }

  // Reads frames until `enough` says so; fails the test at the watchdog or the end of the link.
  void read_until(const std::function<bool()>& enough);
  Heard& end_of(std::uint32_t id);
  bool read_one();

  Heard& attach(std::uint32_t id, const std::string& model, const models::ModelFiles& files);
  Heard& attach_fake(std::uint32_t id, const std::string& model, const std::string& more = "");
  Heard& load(std::uint32_t id, const std::string& model);

  // An out arena, mapped as a client does.
  struct Lent {
    contract::LendArena message;
    Mapping mapping;
  };

  std::map<std::uint32_t, Heard> heard;
  std::optional<contract::WorkerReady> ready;
  std::optional<contract::LastWords> last_words;
  std::vector<contract::Beat> beats;
  std::map<std::uint32_t, Lent> lent;  // also those that were taken back
  std::vector<std::uint32_t> taken_back;
  std::vector<contract::CacheReport> cache_reports;

 private:
  void send_bytes(std::uint32_t id, std::uint8_t type, const std::string& body,
                  const std::vector<int>& fds);

  void note(Frame& frame);

  template <class Message>
  void take(const Frame& frame, std::optional<Message>& into) {
    auto message = contract::unpack<Message>(frame.body);
    ASSERT_TRUE(message) << message.error().what;
    into = *std::move(message);
  }

  void take(Frame& frame);

  int raw_ = -1;
  Link link_;
};

}  // namespace hearth::worker
