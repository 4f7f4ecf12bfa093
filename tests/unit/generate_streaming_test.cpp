// Bytes to characters, and the stop rules on them: nothing of either may depend on where tokens
// end.

#include <random>

#include <gtest/gtest.h>

#include "models/text/stop.h"
#include "models/text/utf8_stream.h"

namespace hearth::text {
namespace {

std::string unhex(std::string_view hex) {
  std::string bytes;
  for (std::size_t at = 0; at < hex.size(); at += 2)
    bytes.push_back(static_cast<char>(std::stoi(std::string(hex.substr(at, 2)), nullptr, 16)));
  return bytes;
}

struct Decoding {
  const char* bytes;     // hex
  const char* expected;  // hex of bytes.decode("utf-8", errors="replace"), by CPython 3.11
};

constexpr Decoding kDecodings[] = {
    {"706c61696e", "706c61696e"},
    {"c3a9e282acf09f9880", "c3a9e282acf09f9880"},
    {"e28261", "efbfbd61"},
    {"e282", "efbfbd"},
    {"f09f98", "efbfbd"},
    {"f0808080", "efbfbdefbfbdefbfbdefbfbd"},
    {"eda080", "efbfbdefbfbdefbfbd"},
    {"c0af", "efbfbdefbfbd"},
    {"f4908080", "efbfbdefbfbdefbfbdefbfbd"},
    {"f580", "efbfbdefbfbd"},
    {"80bf", "efbfbdefbfbd"},
    {"e09fbf", "efbfbdefbfbdefbfbd"},
    {"f18080e282ac", "efbfbde282ac"},
    {"f09fe282", "efbfbdefbfbd"},
    {"61ff62fe", "61efbfbd62efbfbd"},
    {"c3c3a9", "efbfbdc3a9"},
    {"efbfbd", "efbfbd"},
    {"f48fbfbf", "f48fbfbf"},
    {"e180e2f09192f1bf41", "efbfbdefbfbdefbfbdefbfbd41"},
    {"f0a08fc2908f8ff4ed41e290", "efbfbdc290efbfbdefbfbdefbfbdefbfbd41efbfbd"},
    {"9f418f9fe0a0bf90e0bf9090", "efbfbd41efbfbdefbfbde0a0bfefbfbde0bf90efbfbd"},
    {"e0a041c2e0bfbfa080c2a0f0", "efbfbd41efbfbde0bfbfefbfbdefbfbdc2a0efbfbd"},
    {"41ed90e0c2e0f041e2418fbf", "41efbfbdefbfbdefbfbdefbfbdefbfbd41efbfbd41efbfbdefbfbd"},
    {"c2edf0c2bfc2a08fed80a0f4", "efbfbdefbfbdefbfbdc2bfc2a0efbfbded80a0efbfbd"},
    {"e2a0a0e2e0bf80e0edbff4e2", "e2a0a0efbfbde0bf80efbfbdefbfbdefbfbdefbfbdefbfbd"},
};

TEST(Utf8Stream, ReplacesInvalidBytesAsPythonDoesInOnePiece) {
  for (const Decoding& decoding : kDecodings) {
    Utf8Stream stream;
    const std::string text = stream.feed(unhex(decoding.bytes));
    EXPECT_EQ(text + stream.finish(), unhex(decoding.expected)) << decoding.bytes;
  }
}

TEST(Utf8Stream, ReplacesInvalidBytesAsPythonDoesByteByByte) {
  for (const Decoding& decoding : kDecodings) {
    Utf8Stream stream;
    std::string text;
    for (const char byte : unhex(decoding.bytes)) text += stream.feed(std::string(1, byte));
    EXPECT_EQ(text + stream.finish(), unhex(decoding.expected)) << decoding.bytes;
  }
}

TEST(Utf8Stream, HoldsBackACharacterUntilItIsWhole) {
  Utf8Stream stream;
  EXPECT_EQ(stream.feed("a\xF0\x9F"), "a");
  EXPECT_EQ(stream.feed("\x98"), "");
  EXPECT_EQ(stream.feed("\x80z"), "\xF0\x9F\x98\x80z");
  EXPECT_EQ(stream.finish(), "");
}

// Feeds `text` in the given pieces; what was shown, and whether it stopped.
struct Shown {
  std::string text;
  bool stopped = false;
  bool operator==(const Shown&) const = default;
};

Shown show(const std::vector<std::string>& stops, const std::vector<std::string>& pieces) {
  StopStrings rules(stops);
  Shown shown;
  for (const std::string& piece : pieces) shown.text += rules.feed(piece);
  shown.text += rules.finish();
  shown.stopped = rules.stopped();
  return shown;
}

TEST(StopStrings, EndBeforeTheFirstOne) {
  EXPECT_EQ(show({"END"}, {"one END two"}), (Shown{"one ", true}));
}

TEST(StopStrings, AreFoundAcrossPieces) {
  EXPECT_EQ(show({"<stop>"}, {"one <s", "to", "p> two"}), (Shown{"one ", true}));
}

TEST(StopStrings, ShowAtTheEndWhatOnlyBeganOne) {
  EXPECT_EQ(show({"<stop>"}, {"one <sto", "ve>"}), (Shown{"one <stove>", false}));
  EXPECT_EQ(show({"<stop>"}, {"one <sto"}), (Shown{"one <sto", false}));
}

TEST(StopStrings, HoldBackOnlyWhatCouldBecomeOne) {
  StopStrings rules({"aab"});
  EXPECT_EQ(rules.feed("xaaa"), "xa");
  EXPECT_EQ(rules.feed("c"), "aac");
  EXPECT_EQ(rules.feed("aab"), "");
  EXPECT_TRUE(rules.stopped());
  EXPECT_EQ(rules.feed("more"), "");
  EXPECT_EQ(rules.finish(), "");
}

TEST(StopStrings, TakeTheOneThatIsCompleteFirst) {
  EXPECT_EQ(show({"abcd", "b"}, {"abcd"}), (Shown{"a", true}));
  EXPECT_EQ(show({"bc", "abc"}, {"xabc"}), (Shown{"x", true}));
}

TEST(StopStrings, GiveTheSameTextHoweverItIsCut) {
  constexpr unsigned kSeed = 11;
  std::mt19937 random(kSeed);
  SCOPED_TRACE(testing::Message() << "seed " << kSeed);
  const std::vector<std::string> stops = {"abab", "ba", "cc", "abcabc"};
  for (int round = 0; round < 500; ++round) {
    std::string text;
    while (text.size() < 24) text.push_back(static_cast<char>('a' + random() % 3));
    if (round % 2 == 0) std::erase(text, 'b');
    std::vector<std::string> pieces;
    for (std::size_t at = 0; at < text.size();) {
      const std::size_t count = 1 + random() % 4;
      pieces.push_back(text.substr(at, count));
      at += count;
    }
    EXPECT_EQ(show(stops, pieces), show(stops, {text})) << text;
  }
}

}  // namespace
}  // namespace hearth::text
