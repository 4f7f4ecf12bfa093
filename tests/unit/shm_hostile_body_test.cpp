#include <algorithm>
#include <bit>
#include <cmath>
#include <initializer_list>
#include <random>
#include <string>
#include <string_view>

#include <gtest/gtest.h>

#include "shm/contract/messages.h"
#include "tests/unit/contract_for_test.h"

namespace hearth::contract {
namespace {

// msgpack by hand: what a correct packer would never write.
std::string str(std::string_view text) {
  return std::string(1, static_cast<char>(0xA0 | text.size())).append(text);
}
std::string str16(const std::string& text) {
  return std::string("\xDA") + static_cast<char>(text.size() >> 8) +
         static_cast<char>(text.size()) + text;
}
std::string str32(const std::string& text) {
  std::string head("\xDB");
  for (int shift = 24; shift >= 0; shift -= 8)
    head += static_cast<char>(text.size() >> shift & 0xFF);
  return head + text;
}
std::string map(std::size_t entries) {
  return std::string(1, static_cast<char>(0x80 | entries));
}
std::string raw(std::initializer_list<int> bytes) {
  std::string text;
  for (const int byte : bytes) text += static_cast<char>(byte);
  return text;
}
std::string real(double value) {
  const auto bits = std::bit_cast<std::uint64_t>(value);
  std::string text("\xCB");
  for (int shift = 56; shift >= 0; shift -= 8) text += static_cast<char>(bits >> shift & 0xFF);
  return text;
}

template <class Message>
std::string problem(const std::string& body) {
  const auto message = unpack<Message>(as_bytes(body));
  if (message) return "accepted";
  EXPECT_EQ(message.error().code, Code::kBadRequest);
  return message.error().what;
}

// A generate body with its two required fields and one more.
std::string generate_with(const std::string& entry) {
  return map(3) + str("model") + str("m") + str("messages") + raw({0x90}) + entry;
}

struct Bomb {
  const char* name;
  std::string body;
};

TEST(HostileBody, HugeClaimsAreRefusedBeforeAllocating) {
  const Bomb bombs[] = {{"array of 4 Gi items", raw({0xDD, 0xFF, 0xFF, 0xFF, 0xFF})},
                        {"map of 4 Gi entries", raw({0xDF, 0xFF, 0xFF, 0xFF, 0xFF})},
                        {"string of 4 GiB", raw({0xDB, 0xFF, 0xFF, 0xFF, 0xFF})},
                        {"binary of 4 GiB", raw({0xC6, 0xFF, 0xFF, 0xFF, 0xFF})},
                        {"extension of 4 GiB", raw({0xC9, 0xFF, 0xFF, 0xFF, 0xFF, 0x01})},
                        {"map of 257 entries", raw({0xDE, 0x01, 0x01})},
                        {"array of 4097 items", raw({0xDC, 0x10, 0x01})}};
  for (const Bomb& bomb : bombs) {
    for (const std::string& prefix : {std::string(), map(1) + str("model")}) {
      const std::string what = problem<Generate>(prefix + bomb.body);
      EXPECT_NE(what.find("not msgpack within the limits"), std::string::npos)
          << bomb.name << ": " << what;
    }
  }
}

TEST(HostileBody, DepthIsLimited) {
  // In an open message an unknown key may hold anything, so only the depth limit can refuse these.
  const auto nested = [](std::size_t depth) {
    return map(1) + str("later") + std::string(depth - 1, '\x91') + raw({0x90});
  };
  const auto what = [&](std::size_t depth) { return problem<Goaway>(nested(depth)); };
  EXPECT_EQ(what(kMaxDepth - 1), "accepted");
  EXPECT_NE(what(kMaxDepth + 1).find("depth"), std::string::npos) << what(kMaxDepth + 1);
  EXPECT_NE(what(1000000).find("depth"), std::string::npos);
}

TEST(HostileBody, LongStringsAndBinariesAreRefused) {
  const std::string text(kMaxStrBytes, 'x');
  EXPECT_EQ(problem<Goaway>(map(1) + str("later") + str32(text)), "accepted");
  EXPECT_NE(problem<Goaway>(map(1) + str("later") + str32(text + "x")).find("limits"),
            std::string::npos);
  EXPECT_EQ(problem<Goaway>(map(1) + str("reason") + str16(std::string(257, 'x'))),
            "goaway.reason: must have at most 256 bytes, not 257");
}

TEST(HostileBody, LimitsAreThoseThatClientsRelyOn) {
  EXPECT_EQ(kMaxDepth, 16U);
  EXPECT_EQ(kMaxMapEntries, 256U);
  EXPECT_EQ(kMaxArrayItems, 4096U);
  EXPECT_EQ(kMaxStrBytes, 262'144U);
  EXPECT_EQ(kMaxBinBytes, 524'288U);
}

TEST(HostileBody, ListsKeepToTheirOwnLimit) {
  const auto with_stops = [](int count) {
    const std::string list = raw({0xDC, 0x00, count}) + std::string(count, '\xA0');
    return problem<Generate>(generate_with(str("stop") + list));
  };
  EXPECT_EQ(with_stops(16), "accepted");
  EXPECT_EQ(with_stops(17), "generate.stop: must have at most 16 items, not 17");
}

TEST(HostileBody, WhatNobodyReadsIsCheckedAllTheSame) {
  const auto with = [](const std::string& value) {
    return problem<Goaway>(map(1) + str("later") + value);
  };
  EXPECT_EQ(with(raw({0x91, 0x01})), "accepted");
  EXPECT_EQ(with(raw({0x91, 0xC0})), "goaway.later[0]: is nil; leave absent fields out");
  EXPECT_EQ(with(raw({0x91, 0xA1, 0xFF})), "goaway.later[0]: is not valid UTF-8");
  EXPECT_NE(with(raw({0xC7, 0x00, 0x01})).find("ext size"), std::string::npos);
}

TEST(HostileBody, OnlyOneMapIsABody) {
  EXPECT_EQ(problem<Ping>(map(0)), "accepted");
  EXPECT_NE(problem<Ping>("").find("ping"), std::string::npos);
  EXPECT_EQ(problem<Ping>(raw({0x90})), "ping: must be a map, not an array");
  EXPECT_EQ(problem<Ping>(raw({0xC0})), "ping: must be a map, not nil");
  EXPECT_EQ(problem<Ping>(map(0) + map(0)), "ping: there are bytes after the body's map");
  EXPECT_NE(problem<Ping>(raw({0xC1})).find("not msgpack"), std::string::npos);
}

TEST(HostileBody, KeysAreStringsAndUnique) {
  EXPECT_EQ(problem<Goaway>(map(1) + raw({0x01, 0x02})), "goaway: has a key that is no string");
  EXPECT_EQ(problem<Goaway>(map(2) + str("drain_ms") + raw({1}) + str("drain_ms") + raw({2})),
            "goaway: has the key \"drain_ms\" twice");
  EXPECT_EQ(
      problem<Goaway>(map(1) + str("later") + map(2) + str("a") + raw({1}) + str("a") + raw({2})),
      "goaway.later: has the key \"a\" twice");
}

TEST(HostileBody, UnknownKeysAreNamedUnlessTheMessageIsOpen) {
  const std::string what = problem<Generate>(generate_with(str("temprature") + real(0.5)));
  EXPECT_EQ(what.substr(0, 71),
            "generate: unknown key \"temprature\"; known are model, messages, max_toke");
  EXPECT_EQ(problem<Goaway>(map(1) + str("later") + raw({1})), "accepted");
  EXPECT_EQ(problem<Ping>(map(1) + str("x\n\x7f") + raw({1})),
            "ping: unknown key \"x??\"; known are ");
}

TEST(HostileBody, TextIsUtf8) {
  for (const std::string_view bad :
       {"\x80", "\xC0\x80", "\xC3", "\xE2\x82", "\xE0\x80\x80", "\xED\xA0\x80", "\xF0\x80\x80\x80",
        "\xF4\x90\x80\x80", "\xF8\x88\x80\x80\x80", "\xFF", "ok\xC3("}) {
    EXPECT_EQ(problem<Goaway>(map(1) + str("reason") + str(bad)),
              "goaway.reason: is not valid UTF-8");
    EXPECT_EQ(problem<Goaway>(map(1) + str(bad) + raw({1})), "goaway: is not valid UTF-8");
  }
  for (const std::string_view good : {"", "é", "\xE0\xA0\x80", "\xED\x9F\xBF", "\xEF\xBF\xBF",
                                      "\xF0\x90\x80\x80", "\xF4\x8F\xBF\xBF"})
    EXPECT_EQ(problem<Goaway>(map(1) + str("reason") + str(good)), "accepted");
}

TEST(HostileBody, NumbersAreFiniteAndInRange) {
  const auto with = [](const char* name, const std::string& value) {
    return problem<Generate>(generate_with(str(name) + value));
  };
  EXPECT_EQ(with("temperature", real(2.0)), "accepted");
  EXPECT_EQ(with("temperature", raw({0x01})), "accepted");
  EXPECT_EQ(with("temperature", real(std::nan(""))),
            "generate.temperature: is not a finite number");
  EXPECT_EQ(with("temperature", raw({0xCA, 0x7F, 0x80, 0x00, 0x00})),
            "generate.temperature: is not a finite number");
  EXPECT_EQ(with("temperature", real(2.5)),
            "generate.temperature: must be from 0.000000 to 2.000000, not 2.500000");
  EXPECT_EQ(with("temperature", real(-0.5)),
            "generate.temperature: must be from 0.000000 to 2.000000, not -0.500000");
  EXPECT_EQ(with("max_tokens", raw({0x00})), "generate.max_tokens: must be from 1 to 32768, not 0");
  EXPECT_EQ(with("max_tokens", raw({0xFF})),
            "generate.max_tokens: must be from 1 to 32768, not -1");
  EXPECT_EQ(with("max_tokens", raw({0xCF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF})),
            "generate.max_tokens: must be from 1 to 32768, not 18446744073709551615");
  EXPECT_EQ(with("seed", raw({0xFF})),
            "generate.seed: must be from 0 to 18446744073709551615, not -1");
  EXPECT_EQ(with("seed", raw({0xCF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF})), "accepted");
  EXPECT_EQ(problem<ArenaDrop>(map(1) + str("arena") + raw({0xCF, 0, 0, 0, 1, 0, 0, 0, 0})),
            "arena_drop.arena: must be from 0 to 4294967295, not 4294967296");
  EXPECT_EQ(problem<ArenaAsk>(map(1) + str("nbytes") + raw({0xCD, 0x10, 0x00})),
            "arena_ask.nbytes: must be from 4097 to 17179869184, not 4096");
  // Read as signed it would be -1, which is a layer.
  const std::string largest = raw({0x91, 0xCF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF});
  EXPECT_EQ(problem<Encode>(generate_with(str("layers") + largest)),
            "encode.layers[0]: must be from -1024 to 1024, not 18446744073709551615");
}

TEST(HostileBody, TypesAreExact) {
  const auto with = [](const char* name, const std::string& value) {
    return problem<Generate>(generate_with(str(name) + value));
  };
  EXPECT_EQ(with("max_tokens", real(1.0)), "generate.max_tokens: must be an integer, not a float");
  EXPECT_EQ(with("temperature", str("hot")),
            "generate.temperature: must be a number, not a string");
  EXPECT_EQ(with("model_defaults", raw({1})),
            "generate.model_defaults: must be a boolean, not an integer");
  EXPECT_EQ(with("stop", str("x")), "generate.stop: must be an array, not a string");
  EXPECT_EQ(with("stop", raw({0x91, 0xC4, 0x00})),
            "generate.stop[0]: must be a string, not binary");
  EXPECT_EQ(with("seed", raw({0xC0})), "generate.seed: is nil; leave absent fields out");
  EXPECT_EQ(problem<Token>(map(2) + str("text") + str("") + str("token_ids") + str("")),
            "token.token_ids: must be binary, not a string");
}

TEST(HostileBody, ErrorsNameThePlaceInsideAMessage) {
  const std::string part = map(2) + str("kind") + str("text") + str("fps") + real(2000);
  const std::string body = map(2) + str("model") + str("m") + str("messages") + raw({0x91}) +
                           map(2) + str("role") + str("user") + str("content") + raw({0x91}) + part;
  EXPECT_EQ(problem<Generate>(body).substr(0, 42), "generate.messages[0].content[0].fps: must ");
  EXPECT_EQ(problem<ArenaGrant>(map(1) + str("arena") + raw({1})),
            "arena_grant.nbytes: is missing");
  EXPECT_EQ(problem<ArenaAsk>(map(2) + str("direction") + str("out") + str("nbytes") +
                              raw({0xCD, 0x20, 0x00})),
            "arena_ask.direction: must be one of in, not \"out\"");
}

TEST(HostileBody, ErrorsQuoteThePeerInPlainAsciiOnly) {
  const std::string wide = str16(std::string(63, 'x') + "é" + std::string(40, 'y'));
  const std::string nan = real(std::nan(""));
  for (const std::string& body :
       {map(1) + wide + raw({1}), map(1) + wide + nan, map(1) + str("\x1b[31m") + nan}) {
    const std::string what = problem<Ping>(body);
    EXPECT_NE(what, "accepted");
    EXPECT_TRUE(std::all_of(what.begin(), what.end(), [](char c) { return c >= ' ' && c <= '~'; }))
        << what;
    EXPECT_LT(what.size(), 200u);
  }
}

TEST(HostileBody, RandomBytesNeverCrash) {
  constexpr std::uint64_t kSeed = 7;
  std::mt19937_64 random(kSeed);
  for (int round = 0; round < 20000; ++round) {
    std::string body(random() % 64, '\0');
    for (char& byte : body) byte = static_cast<char>(random());
    if (!body.empty()) body[0] = static_cast<char>(0x80 | (random() & 15));
    (void)unpack<Generate>(as_bytes(body));
    (void)unpack<StatusReport>(as_bytes(body));
  }
}

}  // namespace
}  // namespace hearth::contract
