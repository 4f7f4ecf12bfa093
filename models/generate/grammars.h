// The grammars of a model's requests: compiled once, kept for the next equal request.
//
// Ownership: shared by a model's prompts. Threads: any; compiling holds the lock, so that equal
// requests compile once.
#pragma once

#include <compare>
#include <cstdint>
#include <functional>
#include <list>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "models/grammar/grammar.h"
#include "shm/base/result.h"
#include "shm/contract/messages.h"

namespace hearth::generate {

class Grammars {
 public:
  static constexpr std::size_t kMostKept = 32;
  static constexpr std::size_t kMostKeptBytes = std::size_t{64} << 20;

  // `tokens` gives the bytes of each id of the decoder's vocabulary, empty for those that no text
  // is made of. Called once, for the first grammar.
  explicit Grammars(std::function<std::vector<std::string>()> tokens);

  // Of request.json_schema or request.regex; null when it has neither. What one user had compiled
  // makes nobody else's request faster. Errors: as grammar::Grammar::compile.
  Result<std::shared_ptr<const grammar::Grammar>> of(const contract::Generate& request,
                                                     std::uint32_t user);

 private:
  struct Kept {
    std::uint32_t user = 0;
    grammar::Syntax syntax = grammar::Syntax::kJsonSchema;
    std::string text;
    std::shared_ptr<const grammar::Grammar> grammar;
  };

  Result<std::shared_ptr<const grammar::Grammar>> find_or_compile(Kept wanted);
  void drop_oldest();

  const std::function<std::vector<std::string>()> tokens_;
  std::mutex mutex_;  // of all below
  std::shared_ptr<const grammar::Vocabulary> vocabulary_;
  std::list<Kept> kept_;  // most recently used first
};

}  // namespace hearth::generate
