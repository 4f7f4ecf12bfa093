// A listener that remembers, and a batch over the fake model.
#pragma once

#include <cstring>
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

class FakeBatch {
 public:
  explicit FakeBatch(std::int32_t slots, fake::Config config = {})
      : config_(config), decoder_(config_, slots), batch_(decoder_, {"test device", "float32"}) {}

  Running submit(const contract::Generate& request) { return submit_read(request); }
  Running submit(const contract::Encode& request) { return submit_read(request); }
  Running submit(std::unique_ptr<TokenPrompt> prompt) {
    Running running{std::make_shared<models::Job>(++submitted_), std::make_shared<Recorder>()};
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
  const fake::Config& config() const { return config_; }

 private:
  template <class Request>
  Running submit_read(const Request& request) {
    auto prompt = fake::read_prompt(request, {}, config_);
    EXPECT_TRUE(prompt) << (prompt ? "" : prompt.error().what);
    return submit(*std::move(prompt));
  }

  const models::OnEngine on_ = models::EngineThreadForTest::on_engine();
  const fake::Config config_;
  fake::Decoder decoder_;
  Batch batch_;
  std::uint32_t submitted_ = 0;
};

}  // namespace hearth::generate
