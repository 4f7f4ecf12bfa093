#include "tests/unit/worker_for_test.h"

#include <cstring>

#include <sys/socket.h>
#include <sys/time.h>

namespace hearth::worker {

SocketPair make_sockets() {
  int fds[2] = {-1, -1};
  EXPECT_EQ(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
  const timeval limit{kWatchdogSeconds, 0};
  ::setsockopt(fds[0], SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
  return {Fd(fds[0]), Fd(fds[1])};
}

void BrokerSide::read_until(const std::function<bool()>& enough) {
  while (!enough()) {
    ASSERT_TRUE(read_one()) << "the worker closed the link, or says nothing any more";
  }
}

Heard& BrokerSide::end_of(std::uint32_t id) {
  read_until([&] { return heard[id].replies > 0; });
  return heard[id];
}

bool BrokerSide::read_one() {
  auto frame = link_.read();
  if (!frame || !*frame) return false;
  note(**frame);
  return true;
}

Heard& BrokerSide::attach(std::uint32_t id, const std::string& model,
                          const models::ModelFiles& files) {
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

Heard& BrokerSide::attach_fake(std::uint32_t id, const std::string& model,
                               const std::string& more) {
  const std::string config = R"({"model_type": "hearth_fake")" + more + "}";
  return attach(id, model, {models::file_with("config.json", config)});
}

Heard& BrokerSide::load(std::uint32_t id, const std::string& model) {
  send(id, contract::LoadModel{model});
  return end_of(id);
}

void BrokerSide::send_bytes(std::uint32_t id, std::uint8_t type, const std::string& body,
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

void BrokerSide::note(Frame& frame) {
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
    case Beat::kType:
      beats.push_back(*unpack<Beat>(frame.body));
      break;
    case LastWords::kType:
      take(frame, last_words);
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
    case TokensCounted::kType:
      take(frame, about.counted);
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

void BrokerSide::take(Frame& frame) {
  const auto message = contract::unpack<contract::LendArena>(frame.body);
  ASSERT_TRUE(message && frame.fds.size() == 1);
  ASSERT_TRUE(check_segment(frame.fds[0], message->nbytes, Direction::kOut));
  auto mapping = Mapping::map(frame.fds[0], message->nbytes, Access::kReadOnly);
  ASSERT_TRUE(mapping) << mapping.error().what;
  EXPECT_TRUE(lent.emplace(message->arena, Lent{*message, *std::move(mapping)}).second);
}

}  // namespace hearth::worker
