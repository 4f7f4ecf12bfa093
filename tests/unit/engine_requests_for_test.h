// A whole model behind the interface the worker uses: load, prepare, submit, advance.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include <ATen/Parallel.h>
#include <gtest/gtest.h>

#include "models/decoder/media_prompt.h"
#include "models/model.h"
#include "tests/unit/engine_for_test.h"
#include "tests/unit/folder_for_test.h"
#include "tests/unit/generate_for_test.h"

namespace hearth::models {

// A picture in memory, as a client's arena would hold it.
struct StoredPicture {
  std::vector<std::int64_t> shape;  // [height, width, channels]
  std::vector<std::uint8_t> bytes;

  TensorView view() const { return {DType::kU8, shape, std::as_bytes(std::span(bytes))}; }
};

inline StoredPicture plain_picture(std::int64_t height, std::int64_t width,
                                   std::int64_t channels = 3, std::uint8_t value = 90) {
  return {{height, width, channels},
          std::vector<std::uint8_t>(static_cast<std::size_t>(height * width * channels), value)};
}

// One user turn: `pictures` pictures, then text. Greedy.
inline contract::Generate ask(const std::string& text, std::size_t pictures = 0) {
  contract::Generate request = generate::chat(text);
  contract::ContentPart part;
  part.kind = "image";
  part.tensor = contract::Tensor{};
  auto& content = request.messages[0].content;
  content.insert(content.begin(), pictures, part);
  request.temperature = 0.0;
  request.max_tokens = 64;
  return request;
}

// The same turn to encode.
inline contract::Encode encode(const contract::Generate& chat, std::vector<std::int32_t> layers) {
  contract::Encode request;
  request.messages = chat.messages;
  request.layers = std::move(layers);
  return request;
}

class LoadedModel {
 public:
  explicit LoadedModel(const ModelFiles& files, const std::string& dtype = "float32",
                       std::uint32_t slots = 2) {
    at::set_num_threads(1);
    LoadOptions options;
    options.dtype = dtype;
    options.slots = slots;
    auto loaded = load(files, options);
    if (!loaded) throw std::runtime_error(loaded.error().what);
    model_ = *std::move(loaded);
    warm_up();
  }
  // One that was loaded elsewhere.
  explicit LoadedModel(std::shared_ptr<Model> model) : model_(std::move(model)) {
    at::set_num_threads(1);
    warm_up();
  }

  Model& model() { return *model_; }

  Result<std::unique_ptr<Prompt>> prepare(const contract::Generate& request,
                                          const std::vector<StoredPicture>& pictures = {}) {
    return model_->generates()->prepare(request, views_of(pictures), Job(1, user));
  }
  Result<std::unique_ptr<Prompt>> prepare(const contract::Encode& request,
                                          const std::vector<StoredPicture>& pictures = {}) {
    return model_->encodes()->prepare(request, views_of(pictures), Job(1, user));
  }

  template <class Request>
  std::shared_ptr<generate::Recorder> submit(const Request& request,
                                             const std::vector<StoredPicture>& pictures = {}) {
    auto heard = std::make_shared<generate::Recorder>();
    auto prompt = prepare(request, pictures);
    if (prompt)
      model_->submit(on_, job = std::make_shared<Job>(++submitted_, user), *std::move(prompt),
                     heard);
    else
      heard->failed(prompt.error());
    return heard;
  }

  void finish() {
    for (int steps = 0; steps < 100'000; ++steps) {
      const auto remaining = model_->advance(on_);
      ASSERT_TRUE(remaining) << remaining.error().what;
      if (!*remaining) return;
    }
    FAIL() << "the model never ends";
  }

  Result<bool> advance() { return model_->advance(on_); }

  template <class Request>
  std::shared_ptr<generate::Recorder> answer(const Request& request,
                                             const std::vector<StoredPicture>& pictures = {}) {
    auto heard = submit(request, pictures);
    finish();
    return heard;
  }

  std::shared_ptr<Job> job;  // of the last submit
  std::uint32_t user = 0;    // who asks from now on

 private:
  void warm_up() {
    const auto warmed = model_->warm_up(on_);
    if (!warmed) throw std::runtime_error(warmed.error().what);
  }
  static std::vector<TensorView> views_of(const std::vector<StoredPicture>& pictures) {
    std::vector<TensorView> views;
    for (const StoredPicture& picture : pictures) views.push_back(picture.view());
    return views;
  }

  const OnEngine on_ = EngineThreadForTest::on_engine();
  std::shared_ptr<Model> model_;
  std::uint32_t submitted_ = 0;
};

}  // namespace hearth::models
