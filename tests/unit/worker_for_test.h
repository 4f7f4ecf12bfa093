// The broker's end of a worker's link, with a watchdog on every wait.
#pragma once

#include <cstring>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/time.h>

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

inline SocketPair make_sockets() {
  int fds[2] = {-1, -1};
  EXPECT_EQ(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
  const timeval limit{kWatchdogSeconds, 0};
  ::setsockopt(fds[0], SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
  return {Fd(fds[0]), Fd(fds[1])};
}

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
  void read_until(const std::function<bool()>& enough) {
    while (!enough()) {
      ASSERT_TRUE(read_one()) << "the worker closed the link, or says nothing any more";
    }
  }
  Heard& end_of(std::uint32_t id) {
    read_until([&] { return heard[id].replies > 0; });
    return heard[id];
  }
  bool read_one() {
    auto frame = link_.read();
    if (!frame || !*frame) return false;
    note(**frame);
    return true;
  }

  Heard& attach(std::uint32_t id, const std::string& model, const models::ModelFiles& files) {
    contract::AttachModel message;
    message.model = message.name = model;
    std::vector<int> fds;
    for (const models::ModelFile& file : files) {
      message.labels.push_back(file.label);
      fds.push_back(file.fd->get());
    }
    send(id, message, fds);
    return end_of(id);
  }
  Heard& attach_fake(std::uint32_t id, const std::string& model, const std::string& more = "") {
    const std::string config = R"({"model_type": "hearth_fake")" + more + "}";
    return attach(id, model, {models::file_with("config.json", config)});
  }
  Heard& load(std::uint32_t id, const std::string& model) {
    send(id, contract::LoadModel{model});
    return end_of(id);
  }

  // An out arena, mapped as a client does.
  struct Lent {
    contract::LendArena message;
    Mapping mapping;
  };

  std::map<std::uint32_t, Heard> heard;
  std::optional<contract::WorkerReady> ready;
  std::map<std::uint32_t, Lent> lent;  // also those that were taken back
  std::vector<std::uint32_t> taken_back;
  std::vector<contract::CacheReport> cache_reports;

 private:
  void send_bytes(std::uint32_t id, std::uint8_t type, const std::string& body,
                  const std::vector<int>& fds) {
    const auto header = encode({static_cast<std::uint32_t>(body.size()), id, type, 0,
                                static_cast<std::uint16_t>(fds.size())});
    iovec part{const_cast<std::byte*>(header.data()), header.size()};
    msghdr message{};
    message.msg_iov = &part;
    message.msg_iovlen = 1;
    alignas(cmsghdr) std::byte control[CMSG_SPACE(sizeof(int) * 16)] = {};
    if (!fds.empty()) {
      message.msg_control = control;
      message.msg_controllen = CMSG_SPACE(sizeof(int) * fds.size());
      cmsghdr* rights = CMSG_FIRSTHDR(&message);
      rights->cmsg_level = SOL_SOCKET;
      rights->cmsg_type = SCM_RIGHTS;
      rights->cmsg_len = CMSG_LEN(sizeof(int) * fds.size());
      std::memcpy(CMSG_DATA(rights), fds.data(), sizeof(int) * fds.size());
    }
    ASSERT_EQ(::sendmsg(raw_, &message, MSG_NOSIGNAL), static_cast<ssize_t>(header.size()));
    ASSERT_EQ(::send(raw_, body.data(), body.size(), MSG_NOSIGNAL),
              static_cast<ssize_t>(body.size()));
  }

  void note(Frame& frame) {
    using namespace contract;
    Heard& about = heard[frame.header.request_id];
    if (kind_of_type(frame.header.type) == Kind::kReply) {
      ++about.replies;
    } else {
      EXPECT_EQ(about.replies, 0) << "an event after the reply";
    }
    switch (frame.header.type) {
      case WorkerReady::kType:
        take(frame, ready);
        break;
      case Generated::kType:
        take(frame, about.generated);
        break;
      case Encoded::kType:
        take(frame, about.encoded);
        break;
      case LendArena::kType:
        take(frame);
        break;
      case CacheReport::kType:
        cache_reports.push_back(*unpack<CacheReport>(frame.body));
        break;
      case TakeBackArena::kType:
        taken_back.push_back(unpack<TakeBackArena>(frame.body)->arena);
        break;
      case contract::Error::kType:
        take(frame, about.error);
        break;
      case ModelLoaded::kType:
        take(frame, about.loaded);
        break;
      case ModelOffered::kType:
        take(frame, about.offered);
        break;
      case ModelUnloaded::kType:
        take(frame, about.unloaded);
        break;
      case Computed::kType:
        ++about.computed;
        break;
      case InputsDone::kType:
        ++about.inputs_done;
        break;
      case Token::kType:
        about.text += unpack<Token>(frame.body)->text;
        break;
      case Progress::kType:
        about.stages.push_back(unpack<Progress>(frame.body)->stage);
        break;
      default:
        FAIL() << "an unexpected " << name_of_type(frame.header.type);
    }
  }

  template <class Message>
  void take(const Frame& frame, std::optional<Message>& into) {
    auto message = contract::unpack<Message>(frame.body);
    ASSERT_TRUE(message) << message.error().what;
    into = *std::move(message);
  }

  void take(Frame& frame) {
    const auto message = contract::unpack<contract::LendArena>(frame.body);
    ASSERT_TRUE(message && frame.fds.size() == 1);
    ASSERT_TRUE(check_segment(frame.fds[0], message->nbytes, Direction::kOut));
    auto mapping = Mapping::map(frame.fds[0], message->nbytes, Access::kReadOnly);
    ASSERT_TRUE(mapping) << mapping.error().what;
    EXPECT_TRUE(lent.emplace(message->arena, Lent{*message, *std::move(mapping)}).second);
  }

  int raw_ = -1;
  Link link_;
};

}  // namespace hearth::worker
