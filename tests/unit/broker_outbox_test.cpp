// Frames that wait for a slow reader.
#include <gtest/gtest.h>

#include "daemon/broker/outbox.h"

namespace hearth::broker {
namespace {

OutFrame token(std::uint32_t request_id, const std::string& text) {
  contract::Token message;
  message.text = text;
  message.token_ids = std::string("\1\0\0\0", 4);
  return make_frame(request_id, message);
}

OutFrame progress(std::uint32_t request_id) {
  contract::Progress message;
  message.stage = "decode";
  return make_frame(request_id, message);
}

OutFrame reply(std::uint32_t request_id, std::size_t n_bytes) {
  return OutFrame{contract::Generated::kType, request_id, std::string(n_bytes, 'r'), {}};
}

// Everything queued, in order; tokens decoded.
struct Seen {
  std::uint8_t type;
  std::uint32_t request_id;
  std::string text;
};
std::vector<Seen> drain(Outbox& outbox) {
  std::vector<Seen> seen;
  while (!outbox.empty()) {
    const OutFrame& frame = outbox.front().frame;
    const auto message = contract::unpack<contract::Token>(bytes_of(frame.body));
    seen.push_back({frame.type, frame.request_id, message ? message->text : ""});
    outbox.sent(outbox.front().total_bytes() - outbox.front().sent_bytes);
  }
  return seen;
}

TEST(Outbox, KeepsEveryFrameWhileThereIsRoom) {
  Outbox outbox;
  outbox.push(token(1, "a"));
  outbox.push(progress(1));
  outbox.push(token(1, "b"));
  EXPECT_EQ(drain(outbox).size(), 3u);
  EXPECT_EQ(outbox.queued_bytes(), 0u);
}

TEST(Outbox, JoinsTokensThatWaitAndKeepsProgressWhileThereIsRoom) {
  Outbox outbox;
  for (const char* text : {"a", "b", "c"}) outbox.push(token(1, text));
  outbox.push(progress(1));
  outbox.push(token(1, "d"));
  const std::vector<Seen> seen = drain(outbox);
  ASSERT_EQ(seen.size(), 3u);
  EXPECT_EQ(seen[0].text, "abc");
  EXPECT_EQ(seen[2].text, "d");
}

TEST(Outbox, JoinsTokensAndDropsProgressOfASlowReader) {
  Outbox outbox;
  outbox.push(reply(9, Outbox::kCrowdedBytes + 1));
  for (int i = 0; i < 100; ++i) {
    outbox.push(token(1, "a"));
    outbox.push(token(2, "b"));
    outbox.push(progress(1));
  }
  outbox.push(reply(1, 10));
  const std::vector<Seen> seen = drain(outbox);
  ASSERT_EQ(seen.size(), 4u);
  EXPECT_EQ(seen[1].text, std::string(100, 'a'));
  EXPECT_EQ(seen[2].text, std::string(100, 'b'));
  EXPECT_EQ(seen[3].type, contract::Generated::kType);
}

TEST(Outbox, NeverJoinsATokenToOneBeforeTheReply) {
  Outbox outbox;
  outbox.push(reply(9, Outbox::kCrowdedBytes + 1));
  outbox.push(token(1, "first"));
  outbox.push(reply(1, 10));
  outbox.push(token(1, "second"));
  const std::vector<Seen> seen = drain(outbox);
  ASSERT_EQ(seen.size(), 4u);
  EXPECT_EQ(seen[1].text, "first");
  EXPECT_EQ(seen[3].text, "second");
}

TEST(Outbox, NeverChangesAFrameThatIsPartlySent) {
  Outbox outbox;
  outbox.push(token(1, std::string(1000, 'x')));
  outbox.sent(20);
  outbox.push(reply(9, Outbox::kCrowdedBytes + 1));
  outbox.push(token(1, "y"));
  const std::vector<Seen> seen = drain(outbox);
  ASSERT_EQ(seen.size(), 3u);
  EXPECT_EQ(seen[0].text.size(), 1000u);
  EXPECT_EQ(seen[2].text, "y");
}

TEST(Outbox, AcceptsRepliesBeyondItsLimit) {
  Outbox outbox;
  for (std::uint32_t id = 1; id <= 64; ++id) outbox.push(reply(id, 100'000));
  EXPECT_TRUE(outbox.full());
  EXPECT_EQ(drain(outbox).size(), 64u);
  EXPECT_FALSE(outbox.full());
}

TEST(Outbox, StaysBoundedWhileTokensKeepComing) {
  Outbox outbox;
  outbox.push(reply(9, Outbox::kCrowdedBytes + 1));
  for (int i = 0; i < 20'000; ++i) outbox.push(token(1, "word "));
  EXPECT_LT(outbox.queued_bytes(), Outbox::kFullBytes);
  EXPECT_LT(outbox.frames(), 32u);
}

}  // namespace
}  // namespace hearth::broker
