#include <string>

#include <gtest/gtest.h>

#include "shm/contract/messages.h"
#include "tests/unit/contract_for_test.h"

namespace hearth::contract {
namespace {

TEST(Contract, DecodingWhatWasEncodedGivesTheSameMessage) {
  constexpr std::uint64_t kSeed = 20240611;
  RecordProperty("seed", std::to_string(kSeed));
  RandomFiller filler(kSeed);
  for (int round = 0; round < 40; ++round) {
    each_message([&]<class Message>() {
      Message message;
      filler.fill(Rule{}, message);
      const auto back = unpack<Message>(as_bytes(pack(message)));
      ASSERT_TRUE(back) << "seed " << kSeed << ", round " << round << ": " << back.error().what;
      ASSERT_TRUE(*back == message) << Fields<Message>::kName << ", seed " << kSeed;
    });
  }
}

}  // namespace
}  // namespace hearth::contract
