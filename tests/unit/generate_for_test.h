// A listener that remembers, and a batch over the fake model.
#pragma once

#include <deque>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "models/fake/decoder.h"
#include "models/fake/prompt.h"
#include "models/generate/batch.h"
#include "tests/unit/engine_for_test.h"

namespace hearth::generate {

class Recorder : public models::Listener {
 public:
  void token(contract::Token piece) override;
  void progress(std::string_view stage, std::uint64_t, std::uint64_t) override;
  void done(contract::Generated generated) override;
  void encoded(models::Encoding encoding) override;
  void failed(Error failure) override;

  int ends = 0;          // terminal calls: must be 1 in the end
  std::string streamed;  // of the first answer, as the next two
  std::string streamed_thoughts;
  std::vector<std::int32_t> streamed_ids;
  std::vector<std::string> other_texts;  // streamed, of the second answer and those after it
  std::vector<std::string> stages;
  std::optional<contract::Generated> reply;
  std::optional<models::Encoding> encoding;
  std::optional<Error> error;
};

std::vector<std::int32_t> ids_in(const std::string& bytes);

contract::Generate chat(std::string text);

contract::Generate greedy(std::string text);

// The chat begins with a picture.
template <class Request>
Request with_picture(Request request) {
  contract::ContentPart picture;
  picture.kind = "image";
  picture.tensor.emplace();
  auto& content = request.messages[0].content;
  content.insert(content.begin(), picture);
  return request;
}

// The same chat to encode.
contract::Encode encode(std::string text, std::vector<std::int32_t> layers);

// Elements of a hidden state. [tokens * width]
std::vector<float> floats_in(const models::HostTensor& tensor);

// One running request of a FakeBatch.
struct Running {
  std::shared_ptr<models::Job> job;
  std::shared_ptr<Recorder> heard;
};

// A batch over the fake model.
class BatchRun {
 public:
  Running submit(const contract::Generate& request, std::span<const TensorView> tensors = {},
                 std::uint32_t user = 0);
  Running submit(const contract::Encode& request, std::span<const TensorView> tensors = {},
                 std::uint32_t user = 0);
  Running submit(std::unique_ptr<TokenPrompt> prompt, std::uint32_t user = 0);
  Result<bool> advance() { return batch_.advance(on_); }
  // Advances until nothing is left; the watchdog is a number of steps.
  void finish();
  // Submits one request and runs it to its end.
  Running run(const contract::Generate& request, std::span<const TensorView> tensors = {},
              std::uint32_t user = 0);
  const fake::Config& config() const { return config_; }
  const PagePool& pages() const { return batch_.pages(); }
  contract::CacheEntry prefix_cache() const { return batch_.caches(on_).at(0); }

 protected:
  BatchRun(fake::Config config, std::unique_ptr<fake::Decoder> decoder);

  const models::OnEngine on_ = models::EngineThreadForTest::on_engine();
  const fake::Config config_;
  const std::unique_ptr<fake::Decoder> decoder_;
  Batch batch_;
  std::uint32_t submitted_ = 0;
};

// The same over a decoder derived from the fake one.
template <class DecoderType>
class BatchOver : public BatchRun {
 public:
  explicit BatchOver(std::int32_t slots, fake::Config config = {})
      : BatchRun(config, std::make_unique<DecoderType>(config, slots)) {}

  DecoderType& decoder() { return static_cast<DecoderType&>(*decoder_); }
};

using FakeBatch = BatchOver<fake::Decoder>;

// Remembers which prompts began, how long their chunks were, and how many rows a step had.
class Watched : public fake::Decoder {
 public:
  using fake::Decoder::Decoder;
  Result<void> begin(models::OnEngine on, const Place& place, const PageCopy& copy,
                     const TokenPrompt& prompt) override;
  Result<void> prefill(models::OnEngine on, const Chunk& chunk) override;
  Result<void> step(models::OnEngine on, std::span<const std::int32_t> slots) override;

  std::vector<std::size_t> begun;  // tokens of each prompt
  std::vector<Chunk> chunks;
  std::size_t most_rows = 0;
};

// Hears of a step's tokens as late as the contract allows, as from a GPU that computes while the
// next step is begun.
class LateDecoder : public fake::Decoder {
 public:
  using fake::Decoder::Decoder;

  Result<void> prefill(models::OnEngine on, const Chunk& chunk) override;
  Result<void> step(models::OnEngine on, std::span<const std::int32_t> slots) override;
  Result<std::span<const Sampled>> collect(models::OnEngine, std::int32_t in_flight) override;

 private:
  struct Drawn {
    bool by_step = false;
    std::vector<Sampled> tokens;
  };

  Result<void> keep_back(models::OnEngine on, bool by_step);

  std::deque<Drawn> drawn_;
  std::vector<Sampled> told_;
  std::int32_t steps_ = 0;  // in drawn_
};

}  // namespace hearth::generate
