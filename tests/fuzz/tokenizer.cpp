// tokenizer.json, and a text through what was read. Input: the text's length, the text, the file.
#include "models/text/tokenizer.h"

#include "tests/fuzz/fuzz.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace hearth;
  static fuzz::MemoryFile file("tokenizer.json");
  fuzz::Input input(data, size);
  const std::string_view sample = input.text(input.below(64));
  const auto tokenizer = text::Tokenizer::load({file.with(input.rest())});
  if (!tokenizer) return 0;
  for (const auto special : {text::SpecialTokens::kAsText, text::SpecialTokens::kParsed}) {
    const auto ids = (*tokenizer)->encode(sample, special);
    if (!ids) {
      fuzz::expect(ids.error().code == Code::kBadRequest, "a text is refused as bad_request");
      continue;
    }
    for (const std::int32_t id : *ids) {
      fuzz::expect(id >= 0 && id < (*tokenizer)->size(), "an id is one of the vocabulary");
      fuzz::expect(special == text::SpecialTokens::kParsed || !(*tokenizer)->is_special(id),
                   "text that stays text never becomes a special token");
    }
    const std::string text = (*tokenizer)->decode(*ids, false);
    fuzz::expect(text::valid_utf8(text) == text, "what is decoded is UTF-8");
  }
  for (const std::int32_t id : {-1, 0, (*tokenizer)->size(), 1 << 30}) {
    (void)(*tokenizer)->bytes_of(id);
    (void)(*tokenizer)->is_special(id);
  }
  return 0;
}
