// A tokenizer's files, read and checked, before anything is built from them. Internal to text/.
#pragma once

#include <cstdint>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#include "models/model.h"
#include "shm/base/result.h"

namespace hearth::text {

struct AddedToken {
  std::string text;
  std::int32_t id = 0;
  bool special = false;
  bool normalized = false;  // sought in the text after normalisation, not before
};

struct Vocabulary {
  std::unordered_map<std::string, std::int32_t> ids;        // by written form: "Ġhello"
  std::vector<std::pair<std::string, std::string>> merges;  // by rank, in written form
  std::vector<AddedToken> added;
  std::string split_pattern;
  bool normalize = true;       // to form C
  bool ignore_merges = false;  // a word that is an entry is that entry, merges or not
};

// From tokenizer.json, else vocab.json and merges.txt; added tokens of tokenizer_config.json
// besides. Errors: bad_model (naming file and key, or the files that are wanted), unsupported.
Result<Vocabulary> read_vocabulary(const models::ModelFiles& files);

}  // namespace hearth::text
