// A chat made ready for the fake model: bytes as tokens, and the answer it will give.
//
// Prepare thread; the result belongs to the sequence.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "models/fake/script.h"
#include "models/generate/decoder.h"
#include "shm/tensor.h"

namespace hearth::fake {

// Ids 0 to 255 are bytes.
inline constexpr std::int32_t kBegin = 256;    // before each message
inline constexpr std::int32_t kEnd = 257;      // after each message and after the answer
inline constexpr std::int32_t kPicture = 258;  // one for each 32 x 32 pixels begun
inline constexpr std::int32_t kThink = 259;    // "<think>" of the answer
inline constexpr std::int32_t kThinkEnd = 260;
inline constexpr std::int32_t kVocabularySize = 261;

class ByteVocabulary : public generate::TokenBytes {
 public:
  std::string bytes_of(std::int32_t id) const override;
};

// As of a model with four layers.
inline constexpr std::int32_t kHiddenStates = 5;

struct Prompt : generate::TokenPrompt {
  Script script;
  // The tokens to come: bytes, and <think> and </think> where the script's words have them. Empty
  // with script.random_letters.
  std::vector<std::int32_t> answer;
};

// What the model is told in its config.json.
struct Config {
  std::string script;  // commands that come before those of every prompt
  std::string prefix;  // begins every answer
  std::int32_t context_tokens = 8192;
  std::int32_t prefill_chunk_tokens = 512;
  std::int32_t page_tokens = 32;
  std::int32_t pages = 0;           // 0: enough for the context of every slot
  std::uint64_t weights_bytes = 0;  // that it claims to take
  std::uint64_t image_bytes = 0;    // that it claims to rest in; 0: it cannot
};

// `tensors`: those of the messages in order. The answer: `prefix`, each picture's type, shape and
// CRC-32 ("image 1: u8 [48, 64, 3] crc32 1a2b3c4d;"), then the last user message's script. With
// thinking on the prompt opens thoughts, else the answer does as it likes. Errors: bad_picture for
// an empty tensor, too_long, bad_request.
Result<std::unique_ptr<Prompt>> read_prompt(const contract::Generate& request,
                                            std::span<const TensorView> tensors,
                                            const Config& config);

// The same chat to encode: no answer. Hidden state i holds i * 1000 + token id + column / 1024.
Result<std::unique_ptr<Prompt>> read_prompt(const contract::Encode& request,
                                            std::span<const TensorView> tensors,
                                            const Config& config);

// What read_prompt() would make of the chat; only the tensors' shapes count. Errors: bad_picture
// for a shape that is no picture's.
Result<contract::TokensCounted> count_tokens(const contract::CountTokens& request,
                                             std::int32_t context_tokens);

// CRC-32 as zlib computes it.
std::uint32_t crc32(std::span<const std::byte> bytes);

}  // namespace hearth::fake
