// What constrained decoding costs: compiling a grammar, and the mask of each step.
//
//   hearth-bench-grammar FOLDER    a folder with a tokenizer (Qwen's has 151,936 rows with padding)
//
// The same document is made twice with one grammar: the first time every state is found out, the
// second time it is known, as it is for the second request with the same schema.

#include "models/grammar/grammar.h"

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include <fcntl.h>

#include "models/text/tokenizer.h"

namespace {

using namespace hearth;
using Clock = std::chrono::steady_clock;

struct Subject {
  const char* name;
  grammar::Spec spec;
  const char* answer;
};

double us_since(Clock::time_point begin) {
  return std::chrono::duration<double, std::micro>(Clock::now() - begin).count();
}

models::ModelFiles files_of(const std::filesystem::path& folder) {
  models::ModelFiles files;
  for (const auto& entry : std::filesystem::directory_iterator(folder))
    if (entry.is_regular_file())
      files.push_back({entry.path().filename().string(),
                       std::make_shared<const Fd>(::open(entry.path().c_str(), O_RDONLY))});
  return files;
}

void print(const char* what, std::vector<double> us) {
  std::sort(us.begin(), us.end());
  double sum = 0;
  for (const double one : us) sum += one;
  std::printf("    %-18s %5zu steps  median %7.1f us  mean %7.1f us  worst %8.1f us\n", what,
              us.size(), us[us.size() / 2], sum / static_cast<double>(us.size()), us.back());
}

bool measure(const Subject& subject, const text::Tokenizer& tokenizer,
             const std::shared_ptr<const grammar::Vocabulary>& vocabulary) {
  const auto ids = tokenizer.encode(subject.answer, text::SpecialTokens::kAsText);
  if (!ids) return false;
  const auto begin = Clock::now();
  const auto compiled = grammar::Grammar::compile(subject.spec, vocabulary);
  if (!compiled) return std::printf("%s: %s\n", subject.name, compiled.error().what.c_str()), false;
  std::printf("%s\n    compile            %7.2f ms\n", subject.name, us_since(begin) / 1000);
  std::vector<std::uint32_t> bits(grammar::mask_words(151'936));
  for (const char* pass : {"first answer", "second answer"}) {
    grammar::Matcher matcher(*compiled, {});
    std::vector<double> us;
    for (const auto id : *ids) {
      const auto step = Clock::now();
      if (!matcher.mask(bits) || !matcher.accept(id))
        return std::printf("%s: token %d does not match\n", subject.name, id), false;
      us.push_back(us_since(step));
    }
    print(pass, std::move(us));
  }
  std::printf("    memory             %7.2f MB\n", static_cast<double>((*compiled)->bytes()) / 1e6);
  return true;
}

const std::vector<Subject>& subjects() {
  using grammar::Syntax;
  static const std::vector<Subject> all = {
      {"caption with tags and people",
       {Syntax::kJsonSchema,
        R"({"type":"object","properties":{"title":{"type":"string","maxLength":80},
            "tags":{"type":"array","items":{"type":"string"},"maxItems":10},
            "count":{"type":"integer","minimum":0,"maximum":1000},
            "mood":{"enum":["happy","sad","neutral"]},"people":{"type":"array","items":{
            "type":"object","properties":{"name":{"type":"string"},"age":{"type":["integer","null"]}},
            "required":["name"]}}},"required":["title","tags","mood"]})",
        {}},
       "{\"title\": \"A cat on a red mat beside an open window\", \"tags\": [\"cat\", \"mat\", "
       "\"window\", \"indoor scene\"], \"count\": 37, \"mood\": \"happy\", \"people\": [\n  {\n    "
       "\"name\": \"Zoë\", \"age\": 31\n  }, {\"name\": \"an old man\", \"age\": null}]}"},
      {"any JSON",
       {Syntax::kJsonSchema, "{}", {}},
       "{\"a\": [1, 2.5, {\"b\": null}], \"text\": \"some words in a row\"}"},
      {"regular expression of sentences",
       {Syntax::kRegularExpression, "([A-Z][a-z]*( [a-z]+){2,8}[.!?] ?){1,4}", {}},
       "The cat sits on the mat. Nobody knows what it waits for. It is asleep!"}};
  return all;
}

}  // namespace

int main(int count, char** arguments) {
  if (count != 2) return std::printf("usage: %s FOLDER\n", arguments[0]), 1;
  const auto tokenizer = text::Tokenizer::load(files_of(arguments[1]));
  if (!tokenizer) return std::printf("%s\n", tokenizer.error().what.c_str()), 1;
  std::vector<std::string> tokens;
  for (std::int32_t id = 0; id < (*tokenizer)->size(); ++id)
    tokens.push_back((*tokenizer)->bytes_of(id));
  const auto begin = Clock::now();
  const auto vocabulary = grammar::Vocabulary::build(std::move(tokens));
  if (!vocabulary) return std::printf("%s\n", vocabulary.error().what.c_str()), 1;
  std::printf("vocabulary of %zu tokens: %.1f ms, once a tokenizer\n", (*vocabulary)->size(),
              us_since(begin) / 1000);
  bool good = true;
  for (const auto& subject : subjects()) good = measure(subject, **tokenizer, *vocabulary) && good;
  return good ? 0 : 1;
}
