// A listener that remembers, and a batch over the fake model.
#pragma once

#include <algorithm>
#include <cstring>
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
  void token(std::string text, std::span<const std::int32_t> ids) override {
    EXPECT_EQ(ends, 0);
    streamed += text;
    streamed_ids.insert(streamed_ids.end(), ids.begin(), ids.end());
  }
  void progress(std::string_view stage, std::uint64_t, std::uint64_t) override {
    EXPECT_EQ(ends, 0);
    if (stages.empty() || stages.back() != stage) stages.emplace_back(stage);
  }
  void done(contract::Generated generated) override {
    ++ends;
    reply = std::move(generated);
  }
  void encoded(models::Encoding encoding) override {
    ++ends;
    this->encoding = std::move(encoding);
  }
  void failed(Error failure) override {
    ++ends;
    error = std::move(failure);
  }

  int ends = 0;  // terminal calls: must be 1 in the end
  std::string streamed;
  std::vector<std::int32_t> streamed_ids;
  std::vector<std::string> stages;
  std::optional<contract::Generated> reply;
  std::optional<models::Encoding> encoding;
  std::optional<Error> error;
};

inline std::vector<std::int32_t> ids_in(const std::string& bytes) {
  std::vector<std::int32_t> ids(bytes.size() / sizeof(std::int32_t));
  std::memcpy(ids.data(), bytes.data(), bytes.size());
  return ids;
}

inline contract::Generate chat(std::string text) {
  contract::Generate request;
  contract::ContentPart part;
  part.kind = "text";
  part.text = std::move(text);
  contract::ChatMessage message;
  message.role = "user";
  message.content = {std::move(part)};
  request.messages = {std::move(message)};
  return request;
}

inline contract::Generate greedy(std::string text) {
  contract::Generate request = chat(std::move(text));
  request.temperature = 0.0;
  return request;
}

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
inline contract::Encode encode(std::string text, std::vector<std::int32_t> layers) {
  contract::Encode request;
  request.messages = chat(std::move(text)).messages;
  request.layers = std::move(layers);
  return request;
}

// Elements of a hidden state. [tokens * width]
inline std::vector<float> floats_in(const models::HostTensor& tensor) {
  EXPECT_EQ(tensor.dtype, DType::kF32);
  std::vector<float> values(tensor.bytes.size() / sizeof(float));
  std::memcpy(values.data(), tensor.bytes.data(), values.size() * sizeof(float));
  return values;
}

// One running request of a FakeBatch.
struct Running {
  std::shared_ptr<models::Job> job;
  std::shared_ptr<Recorder> heard;
};

// A batch over the fake model, or over a decoder derived from it.
template <class DecoderType>
class BatchOver {
 public:
  explicit BatchOver(std::int32_t slots, fake::Config config = {})
      : config_(config), decoder_(config_, slots), batch_(decoder_, {"test device", "float32"}) {}

  Running submit(const contract::Generate& request, std::span<const TensorView> tensors = {},
                 std::uint32_t user = 0) {
    return submit(read(request, tensors), user);
  }
  Running submit(const contract::Encode& request, std::span<const TensorView> tensors = {},
                 std::uint32_t user = 0) {
    return submit(read(request, tensors), user);
  }
  Running submit(std::unique_ptr<TokenPrompt> prompt, std::uint32_t user = 0) {
    Running running{std::make_shared<models::Job>(++submitted_, user),
                    std::make_shared<Recorder>()};
    batch_.submit(on_, running.job, std::move(prompt), running.heard);
    return running;
  }
  Result<bool> advance() { return batch_.advance(on_); }
  // Advances until nothing is left; the watchdog is a number of steps.
  void finish() {
    for (int steps = 0; steps < 100000; ++steps) {
      const auto remaining = advance();
      ASSERT_TRUE(remaining) << remaining.error().what;
      if (!*remaining) return;
    }
    FAIL() << "the batch never ends";
  }
  // Submits one request and runs it to its end.
  Running run(const contract::Generate& request, std::span<const TensorView> tensors = {},
              std::uint32_t user = 0) {
    const Running running = submit(request, tensors, user);
    finish();
    return running;
  }
  const fake::Config& config() const { return config_; }
  DecoderType& decoder() { return decoder_; }
  const PagePool& pages() const { return batch_.pages(); }
  contract::CacheEntry prefix_cache() const { return batch_.caches(on_).at(0); }

 private:
  template <class Request>
  std::unique_ptr<TokenPrompt> read(const Request& request, std::span<const TensorView> tensors) {
    auto prompt = fake::read_prompt(request, tensors, config_);
    EXPECT_TRUE(prompt) << (prompt ? "" : prompt.error().what);
    return *std::move(prompt);
  }

  const models::OnEngine on_ = models::EngineThreadForTest::on_engine();
  const fake::Config config_;
  DecoderType decoder_;
  Batch batch_;
  std::uint32_t submitted_ = 0;
};

using FakeBatch = BatchOver<fake::Decoder>;

// Remembers which prompts began, how long their chunks were, and how many rows a step had.
class Watched : public fake::Decoder {
 public:
  using fake::Decoder::Decoder;
  Result<void> begin(models::OnEngine on, const Place& place, const PageCopy& copy,
                     const TokenPrompt& prompt) override {
    begun.push_back(prompt.ids.size());
    return fake::Decoder::begin(on, place, copy, prompt);
  }
  Result<void> prefill(models::OnEngine on, const Chunk& chunk) override {
    chunks.push_back(chunk);
    return fake::Decoder::prefill(on, chunk);
  }
  Result<void> step(models::OnEngine on, std::span<const std::int32_t> slots) override {
    most_rows = std::max(most_rows, slots.size());
    return fake::Decoder::step(on, slots);
  }
  std::vector<std::size_t> begun;  // tokens of each prompt
  std::vector<Chunk> chunks;
  std::size_t most_rows = 0;
};

// Hears of a step's tokens as late as the contract allows, as from a GPU that computes while the
// next step is begun.
class LateDecoder : public fake::Decoder {
 public:
  using fake::Decoder::Decoder;

  Result<void> prefill(models::OnEngine on, const Chunk& chunk) override {
    CHECK_OK(fake::Decoder::prefill(on, chunk));
    return keep_back(on, false);
  }
  Result<void> step(models::OnEngine on, std::span<const std::int32_t> slots) override {
    CHECK_OK(fake::Decoder::step(on, slots));
    return keep_back(on, true);
  }
  Result<std::span<const Sampled>> collect(models::OnEngine, std::int32_t in_flight) override {
    told_.clear();
    while (!drawn_.empty() && (steps_ > in_flight || !drawn_.front().by_step)) {
      const Drawn& first = drawn_.front();
      told_.insert(told_.end(), first.tokens.begin(), first.tokens.end());
      steps_ -= first.by_step ? 1 : 0;
      drawn_.pop_front();
    }
    return std::span<const Sampled>(told_);
  }

 private:
  struct Drawn {
    bool by_step = false;
    std::vector<Sampled> tokens;
  };

  Result<void> keep_back(models::OnEngine on, bool by_step) {
    TRY(const auto tokens, fake::Decoder::collect(on, 0));
    drawn_.push_back({by_step, {tokens.begin(), tokens.end()}});
    steps_ += by_step ? 1 : 0;
    return {};
  }

  std::deque<Drawn> drawn_;
  std::vector<Sampled> told_;
  std::int32_t steps_ = 0;  // in drawn_
};

}  // namespace hearth::generate
