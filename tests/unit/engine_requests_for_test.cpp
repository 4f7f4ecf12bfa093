#include "tests/unit/engine_requests_for_test.h"

#include <stdexcept>

#include <ATen/Parallel.h>

namespace hearth::models {

StoredPicture plain_picture(std::int64_t height, std::int64_t width, std::int64_t channels,
                            std::uint8_t value) {
  return {{height, width, channels},
          std::vector<std::uint8_t>(static_cast<std::size_t>(height * width * channels), value)};
}

contract::Generate ask(const std::string& text, std::size_t pictures) {
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

contract::Encode encode(const contract::Generate& chat, std::vector<std::int32_t> layers) {
  contract::Encode request;
  request.messages = chat.messages;
  request.layers = std::move(layers);
  return request;
}

LoadedModel::LoadedModel(const ModelFiles& files, const std::string& dtype, std::uint32_t slots) {
  at::set_num_threads(1);
  LoadOptions options;
  options.dtype = dtype;
  options.slots = slots;
  auto loaded = load(files, options);
  if (!loaded) throw std::runtime_error(loaded.error().what);
  model_ = *std::move(loaded);
  warm_up();
}
LoadedModel::LoadedModel(std::shared_ptr<Model> model) : model_(std::move(model)) {
  at::set_num_threads(1);
  warm_up();
}

void LoadedModel::warm_up() {
  const auto warmed = model_->warm_up(on_);
  if (!warmed) throw std::runtime_error(warmed.error().what);
}

namespace {

std::vector<TensorView> views_of(const std::vector<StoredPicture>& pictures) {
  std::vector<TensorView> views;
  for (const StoredPicture& picture : pictures) views.push_back(picture.view());
  return views;
}

}  // namespace

Result<std::unique_ptr<Prompt>> LoadedModel::prepare(const contract::Generate& request,
                                                     const std::vector<StoredPicture>& pictures) {
  return model_->generates()->prepare(request, views_of(pictures), Job(1, user));
}
Result<std::unique_ptr<Prompt>> LoadedModel::prepare(const contract::Encode& request,
                                                     const std::vector<StoredPicture>& pictures) {
  return model_->encodes()->prepare(request, views_of(pictures), Job(1, user));
}

std::shared_ptr<generate::Recorder> LoadedModel::submit_prompt(
    Result<std::unique_ptr<Prompt>> prompt) {
  auto heard = std::make_shared<generate::Recorder>();
  if (prompt) {
    job = std::make_shared<Job>(++submitted_, user);
    model_->submit(on_, job, *std::move(prompt), heard);
  } else {
    heard->failed(prompt.error());
  }
  return heard;
}

void LoadedModel::finish() {
  for (int steps = 0; steps < 100'000; ++steps) {
    const auto remaining = model_->advance(on_);
    ASSERT_TRUE(remaining) << remaining.error().what;
    if (!*remaining) return;
  }
  FAIL() << "the model never ends";
}

}  // namespace hearth::models
