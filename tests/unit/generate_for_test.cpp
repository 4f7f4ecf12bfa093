#include "tests/unit/generate_for_test.h"

#include <algorithm>
#include <cstring>

namespace hearth::generate {

void Recorder::token(contract::Token piece) {
  EXPECT_EQ(ends, 0);
  if (piece.answer > 0) {
    other_texts.resize(std::max<std::size_t>(other_texts.size(), piece.answer));
    other_texts[piece.answer - 1] += piece.text;
    return;
  }
  const std::vector<std::int32_t> ids = ids_in(piece.token_ids);
  (piece.thinking ? streamed_thoughts : streamed) += piece.text;
  streamed_ids.insert(streamed_ids.end(), ids.begin(), ids.end());
}
void Recorder::progress(std::string_view stage, std::uint64_t, std::uint64_t) {
  EXPECT_EQ(ends, 0);
  if (stages.empty() || stages.back() != stage) stages.emplace_back(stage);
}
void Recorder::done(contract::Generated generated) {
  ++ends;
  reply = std::move(generated);
}
void Recorder::encoded(models::Encoding made) {
  ++ends;
  encoding = std::move(made);
}
void Recorder::failed(Error failure) {
  ++ends;
  error = std::move(failure);
}

std::vector<std::int32_t> ids_in(const std::string& bytes) {
  std::vector<std::int32_t> ids(bytes.size() / sizeof(std::int32_t));
  std::memcpy(ids.data(), bytes.data(), bytes.size());
  return ids;
}

contract::Generate chat(std::string text) {
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

contract::Generate greedy(std::string text) {
  contract::Generate request = chat(std::move(text));
  request.temperature = 0.0;
  return request;
}

contract::Encode encode(std::string text, std::vector<std::int32_t> layers) {
  contract::Encode request;
  request.messages = chat(std::move(text)).messages;
  request.layers = std::move(layers);
  return request;
}

std::vector<float> floats_in(const models::HostTensor& tensor) {
  EXPECT_EQ(tensor.dtype, DType::kF32);
  std::vector<float> values(tensor.bytes.size() / sizeof(float));
  std::memcpy(values.data(), tensor.bytes.data(), values.size() * sizeof(float));
  return values;
}

namespace {

template <class Request>
std::unique_ptr<TokenPrompt> read(const Request& request, std::span<const TensorView> tensors,
                                  const fake::Config& config) {
  auto prompt = fake::read_prompt(request, tensors, config);
  EXPECT_TRUE(prompt) << (prompt ? "" : prompt.error().what);
  return *std::move(prompt);
}

}  // namespace

BatchRun::BatchRun(fake::Config config, std::unique_ptr<fake::Decoder> decoder)
    : config_(std::move(config)),
      decoder_(std::move(decoder)),
      batch_(*decoder_, {"test device", "float32"}) {}

Running BatchRun::submit(const contract::Generate& request, std::span<const TensorView> tensors,
                         std::uint32_t user) {
  return submit(read(request, tensors, config_), user);
}
Running BatchRun::submit(const contract::Encode& request, std::span<const TensorView> tensors,
                         std::uint32_t user) {
  return submit(read(request, tensors, config_), user);
}
Running BatchRun::submit(std::unique_ptr<TokenPrompt> prompt, std::uint32_t user) {
  Running running{std::make_shared<models::Job>(++submitted_, user), std::make_shared<Recorder>()};
  batch_.submit(on_, running.job, std::move(prompt), running.heard);
  return running;
}

void BatchRun::finish() {
  for (int steps = 0; steps < 100000; ++steps) {
    const auto remaining = advance();
    ASSERT_TRUE(remaining) << remaining.error().what;
    if (!*remaining) return;
  }
  FAIL() << "the batch never ends";
}

Running BatchRun::run(const contract::Generate& request, std::span<const TensorView> tensors,
                      std::uint32_t user) {
  const Running running = submit(request, tensors, user);
  finish();
  return running;
}

Result<void> Watched::begin(models::OnEngine on, const Place& place, const PageCopy& copy,
                            const TokenPrompt& prompt) {
  begun.push_back(prompt.ids.size());
  return fake::Decoder::begin(on, place, copy, prompt);
}
Result<void> Watched::prefill(models::OnEngine on, const Chunk& chunk) {
  chunks.push_back(chunk);
  return fake::Decoder::prefill(on, chunk);
}
Result<void> Watched::step(models::OnEngine on, std::span<const std::int32_t> slots) {
  most_rows = std::max(most_rows, slots.size());
  return fake::Decoder::step(on, slots);
}

Result<void> LateDecoder::prefill(models::OnEngine on, const Chunk& chunk) {
  CHECK_OK(fake::Decoder::prefill(on, chunk));
  return keep_back(on, false);
}
Result<void> LateDecoder::step(models::OnEngine on, std::span<const std::int32_t> slots) {
  CHECK_OK(fake::Decoder::step(on, slots));
  return keep_back(on, true);
}
Result<std::span<const Sampled>> LateDecoder::collect(models::OnEngine, std::int32_t in_flight) {
  told_.clear();
  while (!drawn_.empty() && (steps_ > in_flight || !drawn_.front().by_step)) {
    const Drawn& first = drawn_.front();
    told_.insert(told_.end(), first.tokens.begin(), first.tokens.end());
    steps_ -= first.by_step ? 1 : 0;
    drawn_.pop_front();
  }
  return std::span<const Sampled>(told_);
}

Result<void> LateDecoder::keep_back(models::OnEngine on, bool by_step) {
  TRY(const auto tokens, fake::Decoder::collect(on, 0));
  drawn_.push_back({by_step, {tokens.begin(), tokens.end()}});
  steps_ += by_step ? 1 : 0;
  return {};
}

}  // namespace hearth::generate
