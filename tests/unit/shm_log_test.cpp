// Log lines as programs read them, and what is taken out of texts that people look at.

#include <cstdlib>
#include <limits>

#include <gtest/gtest.h>

#include "shm/base/log.h"
#include "shm/base/text.h"

namespace hearth {
namespace {

std::string json(log::Fields fields, std::string_view line) {
  return log::as_json(log::Level::kWarning, "model_loaded", fields, line, "hearthd",
                      1'700'000'000'042);
}

TEST(LogTest, AnObjectHasTimeLevelEventProgramTextAndFields) {
  const std::string line =
      json({{"model", "ember"}, {"ms", 1.5}, {"request", 7u}, {"n", -1}}, "hi");
  EXPECT_TRUE(
      line.starts_with("{\"ts\":\"2023-11-14T22:13:20.042Z\",\"level\":\"warning\","
                       "\"event\":\"model_loaded\",\"program\":\"hearthd\",\"process\":"))
      << line;
  EXPECT_TRUE(
      line.ends_with(",\"msg\":\"hi\",\"model\":\"ember\",\"ms\":1.5,\"request\":7,\"n\":-1}"))
      << line;
}

TEST(LogTest, QuotesControlCharactersAndBrokenUtf8DoNotEndAnObject) {
  const std::string line = json({{"model", "a\"b\\c\nd\x01"}}, "x\xFFy \xC3\xA9");
  EXPECT_NE(line.find("\"msg\":\"x\xEF\xBF\xBDy \xC3\xA9\""), std::string::npos) << line;
  EXPECT_NE(line.find("\"model\":\"a\\\"b\\\\c\\u000ad\\u0001\""), std::string::npos) << line;
}

TEST(LogTest, NumbersThatJsonCannotSayAreNull) {
  EXPECT_TRUE(json({{"ms", 0.0}}, "").ends_with("\"ms\":0}"));
  EXPECT_TRUE(
      json({{"ms", std::numeric_limits<double>::infinity()}}, "").ends_with("\"ms\":null}"));
}

TEST(LogTest, WordsOfTheConfigurationAreUnderstood) {
  EXPECT_EQ(log::level_named("debug"), log::Level::kDebug);
  EXPECT_EQ(log::level_named("error"), log::Level::kError);
  EXPECT_EQ(log::level_named("anything"), log::Level::kInfo);
  EXPECT_EQ(log::format_named("json"), log::Format::kJson);
  EXPECT_EQ(log::format_named("auto"), log::Format::kAuto);
}

TEST(TextTest, EveryByteThatBelongsToNoCharacterIsReplaced) {
  const std::string mark = "\xEF\xBF\xBD";
  EXPECT_EQ(whole_utf8("caf\xC3\xA9 \xF0\x9F\x98\x80"), "caf\xC3\xA9 \xF0\x9F\x98\x80");
  EXPECT_EQ(whole_utf8("\xC3"), mark);                                // ends early
  EXPECT_EQ(whole_utf8("\xC0\x80"), mark + mark);                     // overlong
  EXPECT_EQ(whole_utf8("\xED\xA0\x80"), mark + mark + mark);          // a surrogate
  EXPECT_EQ(whole_utf8("\xF4\x90\x80\x80").size(), 4 * mark.size());  // above U+10FFFF
  EXPECT_EQ(whole_utf8("\xE2\x82"
                       "a"),
            mark + mark + "a");
}

TEST(TextTest, PathsBelowAHomeAreHidden) {
  setenv("HOME", "/root", 1);
  const std::string dots = "~/\xE2\x80\xA6";
  EXPECT_EQ(redacted("/home/anna/models/x.safetensors: cut off", false), dots + ": cut off");
  EXPECT_EQ(redacted("in \"/Users/bob\" and /root/secret/y", false),
            "in \"" + dots + "\" and " + dots);
  EXPECT_EQ(redacted("/rootless and /var/lib/x and /homeward", false),
            "/rootless and /var/lib/x and /homeward");
}

TEST(TextTest, QuotedWordsAreHiddenOnlyWhereAskedFor) {
  EXPECT_EQ(redacted("No model \"my secret\" was offered.", true),
            "No model \"\xE2\x80\xA6\" was offered.");
  EXPECT_EQ(redacted("No model \"my secret\" was offered.", false),
            "No model \"my secret\" was offered.");
  EXPECT_EQ(redacted("an open \"quote", true), "an open \"\xE2\x80\xA6\"");
  EXPECT_EQ(redacted("", true), "");
}

}  // namespace
}  // namespace hearth
