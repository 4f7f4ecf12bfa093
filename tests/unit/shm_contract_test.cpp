#include <string>
#include <vector>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "shm/contract/messages.h"
#include "tests/unit/contract_for_test.h"

namespace hearth::contract {
namespace {

TEST(Golden, DecodesToTheFieldsOfTheJsonFile) {
  int messages = 0;
  each_message([&]<class Message>() {
    const std::string name(Fields<Message>::kName);
    SCOPED_TRACE(name);
    const auto message = unpack<Message>(as_bytes(read_golden(name, ".bin")));
    ASSERT_TRUE(message) << message.error().what;
    EXPECT_EQ(to_json(Rule{}, *message), nlohmann::json::parse(read_golden(name, ".json")));
    ++messages;
  });
  EXPECT_GT(messages, 25);
}

TEST(Golden, EncodesToTheSameBytes) {
  each_message([]<class Message>() {
    const std::string name(Fields<Message>::kName);
    SCOPED_TRACE(name);
    const std::string golden = read_golden(name, ".bin");
    const auto message = unpack<Message>(as_bytes(golden));
    ASSERT_TRUE(message) << message.error().what;
    EXPECT_EQ(hex(pack(*message)), hex(golden));
  });
}

TEST(Golden, EveryTruncationIsAnError) {
  each_message([]<class Message>() {
    const std::string name(Fields<Message>::kName);
    const std::string golden = read_golden(name, ".bin");
    for (std::size_t length = 0; length < golden.size(); ++length) {
      // A copy of exactly this length, so that a sanitizer sees any read beyond it.
      const std::vector<char> cut(golden.begin(), golden.begin() + static_cast<long>(length));
      const auto message = unpack<Message>(std::as_bytes(std::span(cut)));
      ASSERT_FALSE(message) << name << " cut to " << length << " bytes";
      ASSERT_EQ(message.error().code, Code::kBadRequest);
    }
  });
}

TEST(Golden, NoChangedByteCrashes) {
  each_message([]<class Message>() {
    std::string body = read_golden(Fields<Message>::kName, ".bin");
    for (char& byte : body) {
      const char kept = byte;
      for (const int other : {0x00, 0x7F, 0x80, 0xC0, 0xC1, 0xC7, 0xDD, 0xDF, 0xFF}) {
        byte = static_cast<char>(other);
        if (const auto message = unpack<Message>(as_bytes(body))) (void)pack(*message);
      }
      byte = kept;
    }
  });
}

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

TEST(Contract, NamesTypesAndKinds) {
  EXPECT_EQ(name_of_type(Generate::kType), "generate");
  EXPECT_EQ(name_of_type(255), "unknown");
  EXPECT_EQ(kind_of_type(Token::kType), Kind::kEvent);
  EXPECT_EQ(kind_of_type(255), Kind::kUnknown);
  EXPECT_TRUE(may_carry_descriptors(OfferModel::kType));
  EXPECT_FALSE(may_carry_descriptors(Generate::kType));
}

TEST(Contract, CodesAndWordsAreOneToOne) {
  for (std::size_t i = 0; i < std::size(kCodeTexts); ++i)
    EXPECT_EQ(parse_code(name_of(static_cast<Code>(i))), static_cast<Code>(i));
  EXPECT_EQ(parse_code("no_such_code"), std::nullopt);
  EXPECT_TRUE(retryable(Code::kBusy));
  EXPECT_FALSE(retryable(Code::kBadRequest));
}

}  // namespace
}  // namespace hearth::contract
