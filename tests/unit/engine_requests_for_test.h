// A whole model behind the interface the worker uses: load, prepare, submit, advance.
#pragma once

#include <memory>
#include <string>
#include <vector>

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

StoredPicture plain_picture(std::int64_t height, std::int64_t width, std::int64_t channels = 3,
                            std::uint8_t value = 90);

// One user turn: `pictures` pictures, then text. Greedy.
contract::Generate ask(const std::string& text, std::size_t pictures = 0);

// The same turn to encode.
contract::Encode encode(const contract::Generate& chat, std::vector<std::int32_t> layers);

class LoadedModel {
 public:
  explicit LoadedModel(const ModelFiles& files, const std::string& dtype = "float32",
                       std::uint32_t slots = 2);
  // One that was loaded elsewhere.
  explicit LoadedModel(std::shared_ptr<Model> model);

  Model& model() { return *model_; }

  Result<std::unique_ptr<Prompt>> prepare(const contract::Generate& request,
                                          const std::vector<StoredPicture>& pictures = {});
  Result<std::unique_ptr<Prompt>> prepare(const contract::Encode& request,
                                          const std::vector<StoredPicture>& pictures = {});

  template <class Request>
  std::shared_ptr<generate::Recorder> submit(const Request& request,
                                             const std::vector<StoredPicture>& pictures = {}) {
    return submit_prompt(prepare(request, pictures));
  }

  std::shared_ptr<generate::Recorder> submit_prompt(Result<std::unique_ptr<Prompt>> prompt);

  // Advances until nothing is left; the watchdog is a number of steps.
  void finish();

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
  void warm_up();

  const OnEngine on_ = EngineThreadForTest::on_engine();
  std::shared_ptr<Model> model_;
  std::uint32_t submitted_ = 0;
};

}  // namespace hearth::models
