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

OutFrame progress(std::uint32_t request_id, std::uint64_t done = 0) {
  contract::Progress message;
  message.stage = "decode";
  message.done = done;
  return make_frame(request_id, message);
}

OutFrame reply(std::uint32_t request_id, std::size_t n_bytes) {
  return OutFrame{contract::Generated::kType, request_id, std::string(n_bytes, 'r'), {}};
}

// Everything queued, in order; tokens and progress decoded.
struct Seen {
  std::uint8_t type = 0;
  std::uint32_t request_id = 0;
  std::string text;
  std::uint64_t done = 0;
};
std::vector<Seen> drain(Outbox& outbox) {
  std::vector<Seen> seen;
  while (!outbox.empty()) {
    const OutFrame& frame = outbox.front().frame;
    const auto token = contract::unpack<contract::Token>(bytes_of(frame.body));
    const auto progress = contract::unpack<contract::Progress>(bytes_of(frame.body));
    const bool is_progress = frame.type == contract::Progress::kType && progress;
    seen.push_back(
        {frame.type, frame.request_id, token ? token->text : "", is_progress ? progress->done : 0});
    outbox.sent(outbox.front().total_bytes() - outbox.front().sent_bytes);
  }
  return seen;
}

TEST(Outbox, KeepsEveryFrameWhileThereIsRoom) {
  Outbox outbox;
  outbox.push(token(1, "a"));
  outbox.push(progress(1));
  outbox.push(token(2, "b"));
  EXPECT_EQ(drain(outbox).size(), 3u);
  EXPECT_EQ(outbox.queued_bytes(), 0u);
}

TEST(Outbox, JoinsTokensThatWaitThoughProgressCameBetween) {
  Outbox outbox;
  for (const char* text : {"a", "b", "c"}) outbox.push(token(1, text));
  outbox.push(progress(1));
  outbox.push(token(1, "d"));
  const std::vector<Seen> seen = drain(outbox);
  ASSERT_EQ(seen.size(), 2u);
  EXPECT_EQ(seen[0].text, "abcd");
  EXPECT_EQ(seen[1].type, contract::Progress::kType);
}

TEST(Outbox, JoinsAnAnswersThoughtsAndItsTextEachAndNoTwoAnswers) {
  Outbox outbox;
  for (int turn = 0; turn < 100; ++turn) {
    for (std::uint32_t answer = 0; answer < 3; ++answer) {
      contract::Token piece;
      piece.text = static_cast<char>('a' + 2 * static_cast<int>(answer) + turn / 50);
      piece.answer = answer;
      piece.thinking = turn < 50;
      outbox.push(make_frame(1, piece));
    }
  }
  std::string texts;
  for (const Seen& seen : drain(outbox)) {
    EXPECT_EQ(seen.text, std::string(50, seen.text[0]));
    texts += seen.text[0];
  }
  EXPECT_EQ(texts, "acebdf") << "thoughts first";
}

TEST(Outbox, JoinsTokensAndKeepsTheLatestProgressForASlowReader) {
  Outbox outbox;
  outbox.push(reply(9, Outbox::kCrowdedBytes + 1));
  for (std::uint64_t i = 1; i <= 100; ++i) {
    outbox.push(token(1, "a"));
    outbox.push(token(2, "b"));
    outbox.push(progress(1, i));
  }
  outbox.push(reply(1, 10));
  const std::vector<Seen> seen = drain(outbox);
  ASSERT_EQ(seen.size(), 5u);
  EXPECT_EQ(seen[1].text, std::string(100, 'a'));
  EXPECT_EQ(seen[2].text, std::string(100, 'b'));
  EXPECT_EQ(seen[3].type, contract::Progress::kType);
  EXPECT_EQ(seen[3].done, 100u);
  EXPECT_EQ(seen[4].type, contract::Generated::kType);
  EXPECT_EQ(outbox.queued_bytes(), 0u);
}

TEST(Outbox, ProgressNeverTakesThePlaceOfAnEarlierRequestsUnderTheSameId) {
  Outbox outbox;
  outbox.push(reply(9, Outbox::kCrowdedBytes + 1));
  outbox.push(progress(1, 5));
  outbox.push(reply(1, 10));
  outbox.push(progress(1, 7));
  outbox.push(progress(1, 8));
  const std::vector<Seen> seen = drain(outbox);
  ASSERT_EQ(seen.size(), 4u);
  EXPECT_EQ(seen[1].done, 5u);
  EXPECT_EQ(seen[3].done, 8u);
}

TEST(Outbox, ProgressThatIsPartlySentStaysAsItIs) {
  Outbox outbox;
  outbox.push(progress(1, 5));
  outbox.sent(20);
  outbox.push(reply(9, Outbox::kCrowdedBytes + 1));
  outbox.push(progress(1, 6));
  const std::vector<Seen> seen = drain(outbox);
  ASSERT_EQ(seen.size(), 3u);
  EXPECT_EQ(seen[0].done, 5u);
  EXPECT_EQ(seen[2].done, 6u);
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

TEST(Outbox, NeverJoinsATokenToAFrameThatIsGone) {
  constexpr std::uint32_t kRequests = 64;
  Outbox outbox;
  for (std::uint32_t id = 1; id <= kRequests; ++id) {
    outbox.push(token(id, "gone"));
    drain(outbox);
  }
  for (std::uint32_t id = 1; id <= kRequests; ++id) outbox.push(token(1000 + id, "other"));
  for (std::uint32_t id = 1; id <= kRequests; ++id) outbox.push(token(id, "next"));
  const std::vector<Seen> seen = drain(outbox);
  ASSERT_EQ(seen.size(), 2 * kRequests);
  for (const Seen& one : seen) EXPECT_EQ(one.text, one.request_id > 1000 ? "other" : "next");
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
  for (const Seen& one : drain(outbox)) EXPECT_LE(one.text.size(), Outbox::kJoinedTokenBytes);
}

}  // namespace
}  // namespace hearth::broker
