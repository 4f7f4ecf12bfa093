// Sequence slots: how many jobs the engine gets, and when the next one's turn has come.
#include "tests/unit/broker_results_for_test.h"

namespace hearth::broker {
namespace {

class Slots : public ResultsTest {
 protected:
  void encode(std::uint32_t request_id) { send(client, request_id, encode_for(model)); }
  std::vector<JobId> dispatched() const {
    std::vector<JobId> jobs;
    for (const OutFrame& frame : worker.of_type(contract::Encode::kType))
      jobs.push_back(frame.request_id);
    return jobs;
  }
};

TEST_F(Slots, TheEngineGetsAsManyJobsAsItHasSlots) {
  for (std::uint32_t id = 1; id <= 3; ++id) encode(id);
  ASSERT_EQ(dispatched().size(), 2u);
  ASSERT_TRUE(lend(client.id, 7));
  from_worker(dispatched()[0], encoded({tensor_at(7, 4096)}));
  EXPECT_EQ(dispatched().size(), 3u);
}

TEST_F(Slots, AResultThatWaitsForRoomHoldsUpNobody) {
  for (std::uint32_t id = 1; id <= 3; ++id) encode(id);
  const JobId waiting = dispatched()[0];
  from_worker(waiting, contract::Computed{});
  ASSERT_EQ(dispatched().size(), 3u);          // though the first one has not ended
  EXPECT_EQ(client.of(1).size(), 0u);          // and nobody is told
  from_worker(waiting, contract::Computed{});  // said twice it counts once
  encode(4);
  EXPECT_EQ(dispatched().size(), 3u);
  ASSERT_TRUE(lend(client.id, 7));
  from_worker(waiting, encoded({tensor_at(7, 4096)}));
  EXPECT_EQ(client.answer<contract::Encoded>(1).tensors.size(), 1u);
  EXPECT_EQ(dispatched().size(), 3u);  // its slot went to the third one already
  from_worker(dispatched()[1], encoded({tensor_at(7, 8192)}));
  EXPECT_EQ(dispatched().size(), 4u);
}

TEST_F(Slots, AJobCancelledAfterItWasComputedGivesNoSecondSlotBack) {
  for (std::uint32_t id = 1; id <= 4; ++id) encode(id);
  const JobId waiting = dispatched()[0];
  from_worker(waiting, contract::Computed{});
  ASSERT_EQ(dispatched().size(), 3u);
  send(client, 1, contract::Cancel{});
  contract::Error cancelled;
  cancelled.code = "cancelled";
  from_worker(waiting, cancelled);
  EXPECT_EQ(client.error_code(1), "cancelled");
  EXPECT_EQ(dispatched().size(), 3u);
}

TEST_F(Slots, AJobOfSeveralAnswersOrBeamsCountsEach) {
  contract::Generate wide = request_for(model);
  wide.answers = 2;
  send(client, 1, wide);
  encode(2);
  EXPECT_TRUE(dispatched().empty());  // both slots are the first one's
  from_worker(worker.last<contract::Generate>().request_id, generated("a"));
  EXPECT_EQ(dispatched().size(), 1u);
}

TEST_F(Slots, AWideJobStartsInTheLastFreeSlotAndIsNotOvertaken) {
  encode(1);
  contract::Generate wide = request_for(model);
  wide.beams = 8;  // more than there are: as many as there are
  send(client, 2, wide);
  encode(3);
  ASSERT_EQ(worker.count<contract::Generate>(), 1u);
  ASSERT_EQ(dispatched().size(), 1u);
  from_worker(dispatched()[0], contract::Computed{});
  EXPECT_EQ(dispatched().size(), 1u);  // what became free is the wide job's
  from_worker(worker.last<contract::Generate>().request_id, generated("a"));
  EXPECT_EQ(dispatched().size(), 2u);
  EXPECT_EQ(broker->core().running, 1u);
}

}  // namespace
}  // namespace hearth::broker
