// Regular expressions: what they match, what is refused, and what hostile ones cost.
#include <chrono>
#include <random>
#include <regex>

#include "tests/unit/grammar_for_test.h"

namespace hearth::grammar {
namespace {

class Regex : public testing::TestWithParam<Case> {};

TEST_P(Regex, TakesTheseTextsAndNoOthers) {
  check(GetParam(), regex(GetParam().text));
}

INSTANTIATE_TEST_SUITE_P(
    Dialect, Regex,
    testing::Values(
        Case{"Literal", "abc", {"abc"}, {"", "ab", "abcd", "xabc"}}, Case{"Empty", "", {""}, {"a"}},
        Case{"AnchorsAtTheEnds", "^abc$", {"abc"}, {"abcd", "^abc$"}},
        Case{"AnchorsOfEachAlternative", "^a$|^b$", {"a", "b"}, {"ab"}},
        Case{"Alternatives", "a|bc|", {"a", "bc", ""}, {"b", "abc"}},
        Case{"Group", "(ab|c)d", {"abd", "cd"}, {"ab", "abcd"}},
        Case{"GroupWithoutCapture", "(?:ab)+", {"ab", "abab"}, {"", "aba"}},
        Case{"Star", "a*b", {"b", "aaab"}, {"a", "ba"}},
        Case{"Lazy", "a*?b+?c??", {"b", "aabbc"}, {"ac"}},
        Case{"Exactly", "a{3}", {"aaa"}, {"aa", "aaaa"}},
        Case{"AtLeast", "a{2,}", {"aa", "aaaaaa"}, {"a"}},
        Case{"Between", "(ab){1,2}", {"ab", "abab"}, {"", "ababab"}},
        Case{"NoTimes", "a{0}b", {"b"}, {"ab"}},
        Case{"RepeatedNothing", "(a?){2}b", {"b", "ab", "aab"}, {"aaab"}},
        Case{"StarOfStar", "(a*)*b", {"b", "aaaab"}, {"ba"}},
        Case{"Class", "[a-c_]+", {"abc_"}, {"d", ""}},
        Case{"NegatedClass", "[^a-c]", {"d", "é", "\n", "😀"}, {"a", "dd"}},
        Case{"ClassWithDashes", "[-a]+|[b-]", {"-a", "b"}, {"c"}},
        Case{"ClassWithSigns", "[.*$^\\]\\\\]+", {".*$^]\\"}, {"a"}},
        Case{"ClassWithShorthand", "[\\d\\-x]+", {"1-x"}, {"y"}},
        Case{"Digits", "\\d{4}", {"2024"}, {"202a", "٢٠٢٤"}},
        Case{"NoDigits", "\\D", {"a", "é"}, {"1"}}, Case{"Words", "\\w+", {"a_Z0"}, {"é", "-"}},
        Case{"Spaces", "\\s+", {" \t\n\xC2\xA0"}, {"a"}}, Case{"NoSpaces", "\\S+", {"a-é"}, {" "}},
        Case{"Dot", ".", {"a", "é", "😀", " "}, {"\n", "\r", "", "ab"}},
        Case{"Escapes", "\\.\\/\\(\\n\\x41\\u00e9\\u{1F600}", {"./(\nAé😀"}, {"a/(\nAé😀"}},
        Case{"SurrogatePair", "\\uD83D\\uDE00", {"😀"}, {"\xED\xA0\xBD\xED\xB8\x80"}},
        Case{"NoHalfCharacters", ".*", {"é"}, {"\xC3", "\xA9", "\xC0\x80", "\xED\xA0\x80", "\xFF"}},
        Case{"RangesAcrossLengths", "[a-😀]+", {"aéЖ漢😀"}, {"A", "\xF0\x9F\x98\x81"}}),
    name_of);

TEST(RegexRefusals, NameTheConstruct) {
  const Refusal refusals[] = {
      {"(a)\\1", Code::kUnsupported, "back reference"},
      {"(?=a)b", Code::kUnsupported, "look-ahead"},
      {"(?!a)b", Code::kUnsupported, "look-ahead"},
      {"(?<=a)b", Code::kUnsupported, "look-behind"},
      {"(?<name>a)", Code::kUnsupported, "named group"},
      {"(?P<name>a)", Code::kUnsupported, "named group"},
      {"(?>a)", Code::kUnsupported, "atomic group"},
      {"(?i)a", Code::kUnsupported, "inline flag"},
      {"a\\b", Code::kUnsupported, "word boundary"},
      {"\\p{L}", Code::kUnsupported, "Unicode property"},
      {"\\Aab\\z", Code::kUnsupported, "\\A"},
      {"a++", Code::kUnsupported, "possessive"},
      {"[[:alpha:]]", Code::kUnsupported, "POSIX"},
      {"[a-z&&b]", Code::kUnsupported, "set operations"},
      {"a^b", Code::kUnsupported, "anchor"},
      {"(a$)", Code::kUnsupported, "anchor"},
      {"a$b", Code::kUnsupported, "$ before the end"},
      {"\\012", Code::kUnsupported, "octal"},
      {"\\y", Code::kUnsupported, "\\y"},
      {"(a", Code::kBadRequest, "without its )"},
      {"a)", Code::kBadRequest, "without its ("},
      {"[a", Code::kBadRequest, "without its ]"},
      {"[]", Code::kBadRequest, "empty class"},
      {"[b-a]", Code::kBadRequest, "range"},
      {"[\\d-z]", Code::kBadRequest, "range"},
      {"*a", Code::kBadRequest, "nothing to repeat"},
      {"a**", Code::kBadRequest, "quantifier of a quantifier"},
      {"a{2", Code::kBadRequest, "without its }"},
      {"a{3,2}", Code::kBadRequest, "below its beginning"},
      {"a{1000001}", Code::kBadRequest, "1000000"},
      {"a{99999999999999}", Code::kBadRequest, "1000000"},
      {"{", Code::kBadRequest, "repeats nothing"},
      {"a\\", Code::kBadRequest, "nothing after it"},
      {"\\x4", Code::kBadRequest, "hexadecimal"},
      {"\\uD83D", Code::kBadRequest, "hexadecimal"},
      {"\\u{110000}", Code::kBadRequest, "hexadecimal"},
      {"\xFF", Code::kBadRequest, "UTF-8"},
      {"[^\\s\\S]", Code::kBadRequest, "Nothing matches"},
  };
  for (const auto& one : refusals) check(one, regex(one.text));
}

// The same verdicts as the standard library's backtracking matcher, which shares no code with ours.
TEST(RegexOracle, AgreesWithTheStandardLibraryOnRandomTexts) {
  const char* patterns[] = {"(a|b)*abb",  "(a|ab)(c|bcd)*", "[^ab]*b?c{1,3}", "(a{2,3}b){0,2}c*",
                            "a?a?a?aaa",  "(ab*|c)+?a",     "((a|b)c){2,}",   "(a*b*){2,3}c",
                            "(|a)(b|)c*", "[a-b]+(?:c|a)"};
  const auto seed = std::random_device()();
  SCOPED_TRACE(testing::Message() << "seed " << seed);
  std::mt19937 random(seed);
  for (const auto* pattern : patterns) {
    const std::regex oracle(pattern, std::regex::ECMAScript);
    const auto ours = regex(pattern);
    ASSERT_TRUE(ours) << pattern;
    for (int i = 0; i < 400; ++i) {
      std::string text(random() % 9, ' ');
      for (auto& character : text) character = static_cast<char>('a' + random() % 3);
      EXPECT_EQ(matches(*ours, text), std::regex_match(text, oracle)) << pattern << "  " << text;
    }
  }
}

class HostileRegex : public testing::TestWithParam<std::string> {};

// Compiles or is refused with a code, and in either case soon; the masks that follow likewise.
TEST_P(HostileRegex, EndsSoon) {
  const auto begin = std::chrono::steady_clock::now();
  const auto grammar = regex(GetParam());
  if (grammar) {
    Matcher matcher(*grammar, {});
    std::vector<std::uint32_t> bits(mask_words((*grammar)->vocabulary().size()));
    for (int step = 0; step < 100; ++step)
      if (!matcher.mask(bits) || !matcher.accept('a')) break;
    EXPECT_LT((*grammar)->bytes(), std::size_t{256} << 20);
  } else {
    EXPECT_TRUE(grammar.error().code == Code::kBadRequest) << grammar.error().what;
  }
  EXPECT_LT(std::chrono::steady_clock::now() - begin, std::chrono::seconds(20));
}

std::string times(std::string_view part, int count) {
  std::string text;
  for (int i = 0; i < count; ++i) text += part;
  return text;
}

INSTANTIATE_TEST_SUITE_P(
    Costs, HostileRegex,
    testing::Values("(a+)+b", "(a|aa)+$", "(.*a.{40})", "((a{0,1000}){0,1000}){0,1000}",
                    "(a|b|ab){1,1000000}", "(a?){1000000}", "a{0,1000000}a{0,1000000}",
                    times("(", 8000) + "a" + times(")", 8000), times("a?", 4000) + times("a", 100),
                    times("(a|b", 90) + times(")*", 90), times("[^a]", 4000), times("a|", 8000),
                    times("(a*)*", 3000), times("[\\u{0}-\\u{10FFFF}]", 800)));

}  // namespace
}  // namespace hearth::grammar
