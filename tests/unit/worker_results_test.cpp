// Results on their way into shared memory, with a clock of the test's own.

#include <cstring>
#include <random>

#include <gtest/gtest.h>

#include "daemon/worker/results.h"
#include "shm/segment.h"
#include "tests/unit/worker_for_test.h"

namespace hearth::worker {
namespace {

constexpr std::uint64_t kMiB = std::uint64_t{1} << 20;
constexpr std::uint64_t kClient = 5;
constexpr std::uint64_t kPlenty = std::uint64_t{1} << 40;

// How one delivery ended.
struct Ending {
  int ends = 0;
  std::optional<contract::Encoded> reply;
  std::optional<Error> error;
  std::vector<std::byte> content;  // of all tensors, as they were given

  std::string code() const { return error ? std::string(name_of(error->code)) : ""; }
};
using SharedEnding = std::shared_ptr<Ending>;

// What the worker lent, mapped as a client does.
struct Lent {
  contract::LendArena message;
  Mapping mapping;
};

ResultLimits small_limits() {
  ResultLimits limits;
  limits.smallest_segment_bytes = kMiB;
  limits.waiting_bytes = 3 * kMiB;
  return limits;
}

class ResultsTest : public testing::Test {
 protected:
  ResultsTest() : ResultsTest(make_sockets()) {}
  explicit ResultsTest(SocketPair sockets)
      : link_(std::move(sockets.worker)),
        broker_(std::move(sockets.broker)),
        results(link_, pinned_, small_limits(), [this] { return now; }) {}

  SharedEnding deliver(std::uint64_t nbytes, std::uint64_t client = kClient) {
    return deliver_all({nbytes}, client);
  }
  SharedEnding deliver_all(const std::vector<std::uint64_t>& sizes,
                           std::uint64_t client = kClient) {
    auto ending = std::make_shared<Ending>();
    models::Encoding encoding;
    for (const std::uint64_t nbytes : sizes) encoding.hidden.push_back(tensor(nbytes, *ending));
    encoding.reply.receipt.prompt_tokens = 17;
    job = std::make_shared<models::Job>(++last_job_);
    job->cancelled = next_is_cancelled;
    results.deliver({client, job, std::move(encoding), [ending](Result<contract::Encoded> reply) {
                       ++ending->ends;
                       if (reply)
                         ending->reply = *std::move(reply);
                       else
                         ending->error = reply.error();
                     }});
    return ending;
  }
  void release(const Ending& ending) {
    for (const contract::Tensor& tensor : ending.reply->tensors) {
      const std::uint64_t offset = tensor.offset;
      results.release(tensor.arena, {&offset, 1});
    }
  }
  // Reads the frames that are there.
  void read() {
    link_.send(kMark, contract::InputsDone{});
    for (;;) {
      auto frame = broker_.read();
      ASSERT_TRUE(frame && *frame);
      if ((*frame)->header.request_id == kMark) return;
      take(**frame);
    }
  }
  // Whether a client finds in shared memory what was delivered.
  void expect_whole(const Ending& ending) {
    read();
    ASSERT_TRUE(ending.reply) << (ending.error ? ending.error->what : "no end");
    std::vector<std::byte> found;
    for (const contract::Tensor& tensor : ending.reply->tensors) {
      ASSERT_TRUE(lent.contains(tensor.arena));
      const auto view = checked_view(tensor, lent.at(tensor.arena).mapping.bytes());
      ASSERT_TRUE(view) << view.error().what;
      found.insert(found.end(), view->bytes.begin(), view->bytes.end());
    }
    EXPECT_EQ(ending.ends, 1);
    EXPECT_TRUE(found == ending.content);
  }

  Results::Clock::time_point now = Results::Clock::now();
  std::map<std::uint32_t, Lent> lent;
  std::vector<std::uint32_t> taken_back;
  std::shared_ptr<models::Job> job;  // of the last delivery
  bool next_is_cancelled = false;    // before its result comes

 private:
  static constexpr std::uint32_t kMark = 12345;

  models::HostTensor tensor(std::uint64_t nbytes, Ending& ending) {
    auto bytes = std::make_shared<std::vector<std::byte>>(nbytes);
    for (std::byte& byte : *bytes) byte = static_cast<std::byte>(random_());
    ending.content.insert(ending.content.end(), bytes->begin(), bytes->end());
    return {DType::kU8, {static_cast<std::int64_t>(nbytes)}, *bytes, bytes};
  }
  void take(Frame& frame) {
    if (frame.header.type == contract::TakeBackArena::kType) {
      taken_back.push_back(contract::unpack<contract::TakeBackArena>(frame.body)->arena);
      EXPECT_EQ(lent.erase(taken_back.back()), 1U);
      return;
    }
    const auto message = contract::unpack<contract::LendArena>(frame.body);
    ASSERT_TRUE(message) << message.error().what;
    ASSERT_EQ(frame.fds.size(), 1U);
    ASSERT_TRUE(check_segment(frame.fds[0], message->nbytes, Direction::kOut));
    auto mapping = Mapping::map(frame.fds[0], message->nbytes, Access::kReadOnly);
    ASSERT_TRUE(mapping) << mapping.error().what;
    lent.emplace(message->arena, Lent{*message, *std::move(mapping)});
  }

  std::minstd_rand random_;
  std::uint32_t last_job_ = 0;
  Link link_;
  Link broker_;
  PinnedMemory pinned_{{}, 0};

 protected:
  Results results;
};

TEST_F(ResultsTest, ReachTheClientThroughASegmentThatIsLentBefore) {
  results.assign(kClient, kPlenty);
  const SharedEnding ending = deliver_all({5000, 1, 70'000});
  expect_whole(*ending);
  ASSERT_EQ(lent.size(), 1U);
  EXPECT_EQ(lent.begin()->second.message.client, kClient);
  EXPECT_EQ(lent.begin()->second.message.nbytes, kMiB);
  EXPECT_EQ(ending->reply->receipt.prompt_tokens, 17U);
  EXPECT_FALSE(ending->reply->receipt.pinned);
}

TEST_F(ResultsTest, DescribeTypeAndShape) {
  results.assign(kClient, kPlenty);
  const std::vector<float> values(6, 1.5F);
  models::Encoding encoding;
  encoding.hidden.push_back({DType::kF32, {2, 3}, std::as_bytes(std::span(values)), nullptr});
  std::optional<contract::Encoded> reply;
  results.deliver({kClient, std::make_shared<models::Job>(1), std::move(encoding),
                   [&](Result<contract::Encoded> end) { reply = *std::move(end); }});
  ASSERT_TRUE(reply);
  EXPECT_EQ(reply->tensors[0].dtype, "f32");
  EXPECT_EQ(reply->tensors[0].shape, (std::vector<std::int64_t>{2, 3}));
  EXPECT_EQ(reply->tensors[0].nbytes, 24U);
}

TEST_F(ResultsTest, GiveATensorWithoutElementsAPlaceToo) {
  results.assign(kClient, kPlenty);
  const SharedEnding ending = deliver_all({0, 100, 0});
  expect_whole(*ending);
  EXPECT_NE(ending->reply->tensors[0].offset, ending->reply->tensors[2].offset);
  release(*ending);
  now += small_limits().idle_time;
  results.check();
  read();
  EXPECT_EQ(taken_back.size(), 1U) << "all three were released";
}

TEST_F(ResultsTest, ShareASegmentWhileItHasRoomAndThenGetAnother) {
  results.assign(kClient, kPlenty);
  const SharedEnding first = deliver(400'000);
  const SharedEnding second = deliver(400'000);
  const SharedEnding third = deliver(400'000);
  for (const SharedEnding& ending : {first, second, third}) expect_whole(*ending);
  EXPECT_EQ(lent.size(), 2U);
  release(*first);
  expect_whole(*deliver(400'000));
  EXPECT_EQ(lent.size(), 2U) << "a released slot is used again";
  expect_whole(*second);
}

TEST_F(ResultsTest, GetSegmentsOfUsualSizesOrExactlyTheirOwn) {
  results.assign(kClient, kPlenty);
  const std::pair<std::uint64_t, std::uint64_t> cases[] = {
      {kMiB / 2, kMiB}, {kMiB, 4 * kMiB}, {5 * kMiB, 16 * kMiB}};
  std::uint64_t client = 100;
  for (const auto& [nbytes, segment_bytes] : cases) {
    lent.clear();
    results.assign(++client, kPlenty);
    expect_whole(*deliver(nbytes, client));
    EXPECT_EQ(lent.begin()->second.message.nbytes, segment_bytes);
  }
  lent.clear();
  expect_whole(*deliver(17 * kMiB));
  EXPECT_EQ(lent.begin()->second.message.nbytes, OutArena::bytes_for(std::vector{17 * kMiB}));
}

TEST_F(ResultsTest, GetASmallerSegmentWhereTheBudgetDoesNotReachAUsualOne) {
  results.assign(kClient, 800'000);
  expect_whole(*deliver(700'000));
  EXPECT_LE(lent.begin()->second.message.nbytes, 800'000U);
}

TEST_F(ResultsTest, FailAtOnceWhenTheyCanNeverFit) {
  results.assign(kClient, kMiB);
  const SharedEnding ending = deliver(2 * kMiB);
  EXPECT_EQ(ending->code(), "out_of_arena");
  EXPECT_EQ(ending->ends, 1);
  EXPECT_NE(ending->error->what.find(std::to_string(2 * kMiB)), std::string::npos);
  EXPECT_NE(ending->error->what.find(std::to_string(kMiB) + " bytes of shared"), std::string::npos);
  results.assign(kClient, 0);
  EXPECT_EQ(deliver(10)->code(), "out_of_arena");
}

TEST_F(ResultsTest, WaitForRoomInTheOrderInWhichTheyCame) {
  results.assign(kClient, kMiB);
  const SharedEnding held = deliver(900'000);
  const SharedEnding second = deliver(900'000);
  const SharedEnding small = deliver(100);
  EXPECT_EQ(second->ends + small->ends, 0) << "the small one would fit, but it is not its turn";
  release(*held);
  expect_whole(*second);
  expect_whole(*small);
  EXPECT_EQ(lent.size(), 1U);
}

TEST_F(ResultsTest, DoNotWaitForAnotherClient) {
  results.assign(kClient, kMiB);
  results.assign(6, kMiB);
  deliver(900'000);
  const SharedEnding waiting = deliver(900'000);
  expect_whole(*deliver(900'000, 6));
  EXPECT_EQ(waiting->ends, 0);
}

TEST_F(ResultsTest, WaitUntilTheirTimeIsOver) {
  results.assign(kClient, kMiB);
  deliver(900'000);
  const SharedEnding early = deliver(900'000);
  now += std::chrono::seconds(20);
  const SharedEnding late = deliver(900'000);
  now += std::chrono::seconds(10) - std::chrono::milliseconds(1);
  results.check();
  EXPECT_EQ(early->ends, 0);
  now += std::chrono::milliseconds(1);
  results.check();
  EXPECT_EQ(early->code(), "out_of_arena");
  EXPECT_NE(early->error->what.find("30 s"), std::string::npos) << early->error->what;
  EXPECT_EQ(late->ends, 0);
  now += std::chrono::seconds(20);
  results.check();
  results.check();
  EXPECT_EQ(late->code(), "out_of_arena");
  EXPECT_EQ(early->ends + late->ends, 2);
}

TEST_F(ResultsTest, WaitOnlyWhileThereIsRoomToWait) {
  results.assign(kClient, 2 * kMiB);
  deliver(1'500'000);
  const SharedEnding first = deliver(1'500'000);
  const SharedEnding second = deliver(1'500'000);
  const SharedEnding third = deliver(1'500'000);
  EXPECT_EQ(first->ends + second->ends, 0);
  EXPECT_EQ(third->code(), "out_of_arena");
  results.cancel(2);
  EXPECT_EQ(first->code(), "cancelled");
  EXPECT_EQ(deliver(1'500'000)->ends, 0) << "the room to wait is free again";
}

TEST_F(ResultsTest, GiveTheRoomToWaitBackWhenTheyAreDelivered) {
  results.assign(kClient, kMiB);
  SharedEnding held = deliver(900'000);
  for (int round = 0; round < 5; ++round) {
    const SharedEnding waiting = deliver(900'000);
    EXPECT_EQ(waiting->ends, 0);
    release(*held);
    expect_whole(*waiting);
    ASSERT_TRUE(waiting->reply);
    held = waiting;
  }
}

TEST_F(ResultsTest, FollowWhenALaterJobBringsMoreBudget) {
  results.assign(kClient, kMiB);
  deliver(900'000);
  const SharedEnding waiting = deliver(900'000);
  results.assign(kClient, 0);
  EXPECT_EQ(waiting->ends, 0);
  results.assign(kClient, kMiB);
  expect_whole(*waiting);
  EXPECT_EQ(lent.size(), 2U);
}

TEST_F(ResultsTest, NeverMakeMoreThanTheBudget) {
  results.assign(kClient, 3 * kMiB);
  std::vector<SharedEnding> endings;
  for (int count = 0; count < 6; ++count) endings.push_back(deliver(900'000));
  read();
  std::uint64_t lent_bytes = 0;
  for (const auto& [id, one] : lent) lent_bytes += one.message.nbytes;
  EXPECT_EQ(lent_bytes, 3 * kMiB);
  EXPECT_EQ(endings[2]->ends, 1);
  EXPECT_EQ(endings[3]->ends, 0);
}

TEST_F(ResultsTest, TakeThePlaceOfEmptySegmentsThatAreTooSmall) {
  results.assign(kClient, 3 * kMiB);
  const SharedEnding first = deliver(900'000);
  const SharedEnding second = deliver(900'000);
  const SharedEnding large = deliver(1'900'000);
  EXPECT_EQ(large->ends, 0);
  release(*first);
  expect_whole(*large);
  EXPECT_EQ(taken_back, std::vector<std::uint32_t>{1});
  expect_whole(*second);
}

TEST_F(ResultsTest, OfACancelledJobAreNotCopied) {
  results.assign(kClient, kMiB);
  deliver(900'000);
  const SharedEnding waiting = deliver(900'000);
  const SharedEnding behind = deliver(100);
  results.cancel(99);
  EXPECT_EQ(waiting->ends, 0);
  results.cancel(2);
  EXPECT_EQ(waiting->code(), "cancelled");
  expect_whole(*behind);
  results.cancel(2);
  EXPECT_EQ(waiting->ends, 1);
}

TEST_F(ResultsTest, OfAJobCancelledBeforeTheyCameTakeNoRoom) {
  results.assign(kClient, kMiB);
  deliver(900'000);
  const SharedEnding waiting = deliver(900'000);
  job->cancelled = true;
  results.check();
  EXPECT_EQ(waiting->code(), "cancelled");
  EXPECT_EQ(waiting->ends, 1);
}

TEST_F(ResultsTest, OfAJobCancelledWhileItWasComputedDoNotWaitBehindOthers) {
  results.assign(kClient, kMiB);
  deliver(900'000);
  const SharedEnding waiting = deliver(900'000);
  next_is_cancelled = true;
  const SharedEnding behind = deliver(900'000);
  EXPECT_EQ(behind->code(), "cancelled");
  EXPECT_EQ(behind->ends, 1);
  EXPECT_EQ(waiting->ends, 0);
}

TEST_F(ResultsTest, OfAForgottenClientEndAndFreeEverything) {
  results.assign(kClient, kMiB);
  const SharedEnding held = deliver(900'000);
  const SharedEnding waiting = deliver(900'000);
  read();
  results.forget(kClient);
  EXPECT_EQ(waiting->code(), "cancelled");
  EXPECT_FALSE(results.ages());
  EXPECT_EQ(deliver(10)->code(), "cancelled");
  release(*held);  // crossed with forget_client: nothing happens
  results.forget(kClient);
  EXPECT_EQ(waiting->ends, 1);
  read();
  EXPECT_TRUE(taken_back.empty()) << "the broker has forgotten these arenas";
}

TEST_F(ResultsTest, AreReleasedOnceAndOnlyWhereTheyAre) {
  results.assign(kClient, kMiB);
  const SharedEnding first = deliver(400'000);
  const SharedEnding second = deliver(400'000);
  release(*first);
  release(*first);
  const std::uint64_t nowhere[] = {0, 64, ~std::uint64_t{0}};
  results.release(second->reply->tensors[0].arena, nowhere);
  results.release(777, nowhere);
  expect_whole(*second);
  expect_whole(*deliver(400'000));
  expect_whole(*second);
}

TEST_F(ResultsTest, ThatAreHeldDoNotWakeAnIdleWorker) {
  results.assign(kClient, kMiB);
  const SharedEnding held = deliver(900'000);
  EXPECT_FALSE(results.ages());
  const SharedEnding waiting = deliver(900'000);
  EXPECT_TRUE(results.ages()) << "it waits only so long";
  release(*held);
  EXPECT_FALSE(results.ages());
  release(*waiting);
  EXPECT_TRUE(results.ages()) << "an empty segment goes";
}

TEST_F(ResultsTest, LeaveSegmentsThatGoWhenTheyAreEmptyForLong) {
  results.assign(kClient, kPlenty);
  const SharedEnding first = deliver(900'000);
  const SharedEnding second = deliver(900'000);
  read();
  now += std::chrono::minutes(10);
  results.check();
  release(*first);
  now += std::chrono::seconds(59);
  results.check();
  read();
  EXPECT_TRUE(taken_back.empty());
  now += std::chrono::seconds(1);
  results.check();
  read();
  EXPECT_EQ(taken_back, std::vector<std::uint32_t>{1});
  expect_whole(*second);
  release(*second);
  now += std::chrono::seconds(60);
  results.check();
  read();
  EXPECT_TRUE(lent.empty());
  EXPECT_FALSE(results.ages());
  expect_whole(*deliver(900'000));
  EXPECT_EQ(lent.begin()->first, 3U) << "an id is never used again";
}

TEST_F(ResultsTest, GiveTheBudgetOfADroppedSegmentBack) {
  results.assign(kClient, kMiB);
  for (int round = 0; round < 5; ++round) {
    const SharedEnding ending = deliver(900'000);
    expect_whole(*ending);
    EXPECT_EQ(lent.begin()->second.message.nbytes, kMiB) << "there is room for the usual size";
    release(*ending);
    now += std::chrono::seconds(60);
    results.check();
  }
  read();
  EXPECT_EQ(taken_back.size(), 5U);
  results.assign(kClient, kMiB);
  EXPECT_EQ(deliver(1'900'000)->code(), "out_of_arena") << "what was dropped is no budget";
}

TEST_F(ResultsTest, OfADroppedSegmentCannotBeReleased) {
  results.assign(kClient, kMiB);
  const SharedEnding dropped = deliver(900'000);
  release(*dropped);
  now += std::chrono::seconds(60);
  results.check();
  release(*dropped);
  expect_whole(*deliver(900'000));
  EXPECT_EQ(taken_back, std::vector<std::uint32_t>{1});
}

// Random deliveries and releases of several clients: all that is held stays whole, and at the end
// everything has gone back.
TEST_F(ResultsTest, StayWholeWhateverTheOrder) {
  const std::uint32_t seed = std::random_device()();
  SCOPED_TRACE("seed " + std::to_string(seed));
  std::mt19937 random(seed);
  std::vector<SharedEnding> open;
  int delivered = 0;
  for (std::uint64_t client = 1; client <= 3; ++client) results.assign(client, 2 * kMiB);
  for (int step = 0; step < 2000; ++step) {
    now += std::chrono::milliseconds(random() % 2000);
    if (random() % 2 == 0)
      open.push_back(deliver_all({random() % 300'000, random() % 3000}, 1 + random() % 3));
    if (random() % 2 == 0 && !open.empty()) {
      const std::size_t at = random() % open.size();
      if (open[at]->reply) {
        expect_whole(*open[at]);
        release(*open[at]);
        ++delivered;
      }
      if (open[at]->ends > 0) open.erase(open.begin() + static_cast<std::ptrdiff_t>(at));
    }
    if (random() % 8 == 0) results.check();
  }
  EXPECT_GT(delivered, 200);
  for (std::uint64_t client = 1; client <= 3; ++client) results.forget(client);
  for (const SharedEnding& ending : open) EXPECT_EQ(ending->ends, 1);
  EXPECT_FALSE(results.ages());
}

}  // namespace
}  // namespace hearth::worker
