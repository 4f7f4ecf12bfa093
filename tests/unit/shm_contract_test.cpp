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

// Every message behind one signature: the tests below are compiled once, not once a message.
struct Recoder {
  std::string name;
  std::string golden;
  Result<std::string> (*recode)(std::span<const std::byte>);  // unpacks, then packs
};

std::vector<Recoder> recoders() {
  std::vector<Recoder> all;
  each_message([&]<class Message>() {
    const std::string name(Fields<Message>::kName);
    all.push_back({name, read_golden(name, ".bin"), [](std::span<const std::byte> body) {
                     const auto message = unpack<Message>(body);
                     return message ? Result(pack(*message)) : message.error();
                   }});
  });
  return all;
}

TEST(Golden, EncodesToTheSameBytes) {
  for (const Recoder& message : recoders()) {
    SCOPED_TRACE(message.name);
    const auto again = message.recode(as_bytes(message.golden));
    ASSERT_TRUE(again) << again.error().what;
    EXPECT_EQ(hex(*again), hex(message.golden));
  }
}

TEST(Golden, EveryTruncationIsAnError) {
  for (const Recoder& message : recoders()) {
    const std::string& golden = message.golden;
    for (std::size_t length = 0; length < golden.size(); ++length) {
      // A copy of exactly this length, so that a sanitizer sees any read beyond it.
      const std::vector<char> cut(golden.begin(), golden.begin() + static_cast<long>(length));
      const auto again = message.recode(std::as_bytes(std::span(cut)));
      ASSERT_FALSE(again) << message.name << " cut to " << length << " bytes";
      ASSERT_EQ(again.error().code, Code::kBadRequest);
    }
  }
}

TEST(Golden, NoChangedByteCrashes) {
  for (const Recoder& message : recoders()) {
    std::string body = message.golden;
    for (char& byte : body) {
      const char kept = byte;
      for (const int other : {0x00, 0x7F, 0x80, 0xC0, 0xC1, 0xC7, 0xDD, 0xDF, 0xFF}) {
        byte = static_cast<char>(other);
        (void)message.recode(as_bytes(body));
      }
      byte = kept;
    }
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
