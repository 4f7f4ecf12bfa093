// A JSON schema or a regular expression, and an answer made with it. Input: which of them, the
// number of choices, the choices, the text.
#include "models/grammar/grammar.h"

#include <nlohmann/json.hpp>

#include "tests/fuzz/fuzz.h"

namespace hearth::grammar {
namespace {

constexpr std::int32_t kEnd = 256;
constexpr std::size_t kMaxBytes = std::size_t{128} << 20;

std::shared_ptr<const Vocabulary> vocabulary() {
  std::vector<std::string> tokens;
  for (int byte = 0; byte < 256; ++byte) tokens.emplace_back(1, static_cast<char>(byte));
  tokens.emplace_back();  // kEnd
  for (const auto* more : {"\": \"", "\", \"", "\"}", "{\"", "]}", "ab", "abc", "0.", "\xC3"})
    tokens.emplace_back(more);
  return *Vocabulary::build(std::move(tokens));
}

bool has(const std::vector<std::uint32_t>& bits, std::int32_t token) {
  return bits[static_cast<std::size_t>(token) / 32] >> (token % 32) & 1;
}

// The allowed token at or after `wish`, around the end of the vocabulary.
std::int32_t allowed(const std::vector<std::uint32_t>& bits, std::int32_t wish, std::int32_t size) {
  for (std::int32_t i = 0; i < size; ++i)
    if (has(bits, (wish + i) % size)) return (wish + i) % size;
  return -1;
}

void answer(const std::shared_ptr<const Grammar>& grammar, std::string_view choices, bool json) {
  Matcher matcher(grammar, {kEnd});
  const auto size = static_cast<std::int32_t>(grammar->vocabulary().size());
  std::vector<std::uint32_t> bits(mask_words(grammar->vocabulary().size()));
  std::string text;
  for (const char choice : choices) {
    if (!matcher.mask(bits)) return;  // too ambiguous
    fuzz::expect(has(bits, kEnd) == matcher.can_end(),
                 "an end id is allowed where the text may end");
    const auto tried = static_cast<unsigned char>(choice);
    fuzz::expect(static_cast<bool>(Matcher(matcher).accept(tried)) == has(bits, tried),
                 "a token is in the mask when it is accepted, and only then");
    const auto token = allowed(bits, tried * 7 % size, size);
    fuzz::expect(token >= 0, "every mask has a token");
    fuzz::expect(static_cast<bool>(matcher.accept(token)), "what the mask allows is accepted");
    if (matcher.ended()) break;
    text += grammar->vocabulary().bytes_of(token);
  }
  fuzz::expect(!json || !matcher.can_end() || nlohmann::json::accept(text),
               "what a schema allows is JSON");
  fuzz::expect(grammar->bytes() < kMaxBytes, "what is found out stays bounded");
}

}  // namespace
}  // namespace hearth::grammar

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace hearth;
  static const auto vocabulary = grammar::vocabulary();
  fuzz::Input input(data, size);
  const auto flags = input.byte();
  const auto choices = input.text(input.below(64));
  grammar::Spec spec;
  spec.syntax = flags & 1 ? grammar::Syntax::kRegularExpression : grammar::Syntax::kJsonSchema;
  spec.whitespace = flags & 2 ? grammar::Whitespace::kCompact : grammar::Whitespace::kFlexible;
  spec.text = input.rest();
  const auto compiled = grammar::Grammar::compile(spec, vocabulary);
  if (compiled) {
    grammar::answer(*compiled, choices, !(flags & 1));
  } else {
    const auto code = compiled.error().code;
    fuzz::expect(code == Code::kBadRequest || code == Code::kUnsupported,
                 "a grammar is refused as bad_request or unsupported");
  }
  return 0;
}
