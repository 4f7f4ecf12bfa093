#include "models/generate/grammars.h"

#include <algorithm>
#include <utility>

namespace hearth::generate {
namespace {

using grammar::Grammar;
using grammar::Syntax;

// Names the field before what is wrong with it.
Error in_field(Error error, const char* field) {
  error.what = std::string(field) + ": " + error.what;
  return error;
}

}  // namespace

Grammars::Grammars(std::function<std::vector<std::string>()> tokens) : tokens_(std::move(tokens)) {}

Result<std::shared_ptr<const Grammar>> Grammars::of(const contract::Generate& request,
                                                    std::uint32_t user) {
  const bool is_schema = !request.json_schema.empty();
  if (!is_schema && request.regex.empty()) return std::shared_ptr<const Grammar>();
  auto found = find_or_compile({user, is_schema ? Syntax::kJsonSchema : Syntax::kRegularExpression,
                                is_schema ? request.json_schema : request.regex, nullptr});
  if (!found) return in_field(std::move(found).error(), is_schema ? "json_schema" : "regex");
  return found;
}

Result<std::shared_ptr<const Grammar>> Grammars::find_or_compile(Kept wanted) {
  const std::lock_guard lock(mutex_);
  const auto found = std::find_if(kept_.begin(), kept_.end(), [&](const Kept& kept) {
    return kept.user == wanted.user && kept.syntax == wanted.syntax && kept.text == wanted.text;
  });
  if (found != kept_.end()) {
    kept_.splice(kept_.begin(), kept_, found);
    return kept_.front().grammar;
  }
  if (vocabulary_ == nullptr) {
    TRY(vocabulary_, grammar::Vocabulary::build(tokens_()));
  }
  TRY(wanted.grammar, Grammar::compile({wanted.syntax, wanted.text}, vocabulary_));
  kept_.push_front(std::move(wanted));
  drop_oldest();
  return kept_.front().grammar;
}

// What answers have found out makes a grammar grow, so all are measured anew.
void Grammars::drop_oldest() {
  std::size_t bytes = 0;
  std::size_t count = 0;
  const auto is_too_much = [&](const Kept& kept) {
    bytes += kept.text.size() + kept.grammar->bytes();
    return ++count > 1 && (count > kMostKept || bytes > kMostKeptBytes);
  };
  kept_.erase(std::find_if(kept_.begin(), kept_.end(), is_too_much), kept_.end());
}

}  // namespace hearth::generate
