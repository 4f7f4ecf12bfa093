// The step executor: prompts fed in pieces, company, page tables, and that a step allocates
// nothing.

#include <atomic>
#include <cmath>
#include <cstdlib>
#include <map>
#include <new>
#include <numeric>

#include "tests/unit/decoder_for_test.h"

namespace {
std::atomic<std::size_t> allocations{0};
}

// Counts every allocation of this program.
[[gnu::noinline]] void* operator new(std::size_t bytes) {
  ++allocations;
  if (void* memory = std::malloc(bytes == 0 ? 1 : bytes)) return memory;
  throw std::bad_alloc();
}
[[gnu::noinline]] void operator delete(void* memory) noexcept {
  std::free(memory);
}
[[gnu::noinline]] void operator delete(void* memory, std::size_t) noexcept {
  std::free(memory);
}

namespace hearth::decoder {
namespace {

constexpr StepLimits kLimits{.slots = 16, .context_tokens = 256, .pages = 80};

generate::TokenPrompt prompt_of(std::vector<std::int32_t> ids, std::int32_t max_tokens = 8) {
  generate::TokenPrompt prompt;
  prompt.ids = std::move(ids);
  prompt.sampling.max_tokens = max_tokens;
  return prompt;
}

std::vector<std::int32_t> some_ids(std::int32_t count, std::int32_t first) {
  std::vector<std::int32_t> ids(static_cast<std::size_t>(count));
  for (std::size_t i = 0; i < ids.size(); ++i)
    ids[i] = (first + 7 * static_cast<std::int32_t>(i)) % 300;
  return ids;
}

// A decoder at work: prompts in, tokens out.
class Running {
 public:
  Running(const TinyDecoder& decoder, const HearthKernels& kernels) : memory(host_memory(kernels)) {
    auto made = Step::create(decoder.description, decoder.weights, *memory, kLimits);
    EXPECT_TRUE(made);
    step = std::move(*made);
  }

  // Page n of a slot is 5 slot + stride n, so that pages of a slot are apart.
  static std::vector<std::int32_t> pages_of(std::int32_t slot) {
    return {5 * slot + 4, 5 * slot, 5 * slot + 3, 5 * slot + 1, 5 * slot + 2};
  }

  void begin(std::int32_t slot, const generate::TokenPrompt& prompt) {
    const auto pages = pages_of(slot);
    const generate::Place place{slot, 100U + static_cast<std::uint32_t>(slot), pages, 0};
    ASSERT_TRUE(step->begin(place, {}, prompt, 0));
  }

  // Tokens [first, last) of the prompt, `piece` at a time.
  void feed(std::int32_t slot, const std::vector<std::int32_t>& ids, std::size_t first,
            std::size_t piece) {
    for (std::size_t at = first; at < ids.size(); at += piece) {
      const std::size_t count = std::min(piece, ids.size() - at);
      std::vector<std::int32_t> positions;
      for (int axis = 0; axis < 3; ++axis)
        for (std::size_t i = 0; i < count; ++i)
          positions.push_back(static_cast<std::int32_t>(at + i));
      ASSERT_TRUE(step->feed(
          {slot, static_cast<std::int32_t>(at), std::span(ids).subspan(at, count), positions}));
    }
  }

  void prefill(std::int32_t slot, const generate::TokenPrompt& prompt, std::size_t piece = 16) {
    begin(slot, prompt);
    feed(slot, prompt.ids, 0, piece);
    ASSERT_TRUE(step->draw_first(slot));
    take();
  }

  void run(std::vector<std::int32_t> slots) {
    ASSERT_TRUE(step->run(slots));
    take();
  }

  void take() {
    const auto sampled = step->collect(0);
    ASSERT_TRUE(sampled);
    for (const generate::Sampled& each : *sampled) tokens[each.slot].push_back(each.token);
  }

  const std::unique_ptr<DeviceMemory> memory;  // outlives the step
  std::unique_ptr<Step> step;
  std::map<std::int32_t, std::vector<std::int32_t>> tokens;
};

struct Case {
  HearthType type;
  HearthFormat format;
  double tolerance;  // of logits around 1, between ref and cpu
  std::int32_t experts = 0;
};

std::ostream& operator<<(std::ostream& out, const Case& c) {
  constexpr const char* kNames[] = {"f32", "bf16", "fp8", "int8", "int4"};
  return out << kNames[c.format] << (c.type == HEARTH_F32 ? " in f32" : " in bf16") << ", "
             << c.experts << " experts";
}

class StepOf : public testing::TestWithParam<Case> {
 protected:
  TinyDecoder decoder_{Shape{.experts = GetParam().experts}, GetParam().type, GetParam().format};
};

TEST_P(StepOf, CpuAndPlainLoopsGiveTheSameLogits) {
  Running plain(decoder_, *hearth_kernels_ref());
  Running fast(decoder_, *hearth_kernels_cpu());
  const auto prompt = prompt_of(some_ids(40, 11));
  plain.prefill(0, prompt);
  fast.prefill(0, prompt);
  const auto expected = plain.step->logits(0);
  const auto given = fast.step->logits(0);
  ASSERT_TRUE(expected && given);
  double error = 0.0, size = 0.0;
  for (std::size_t i = 0; i < expected->size(); ++i) {
    error += std::pow((*given)[i] - (*expected)[i], 2);
    size += std::pow((*expected)[i], 2);
  }
  EXPECT_LE(std::sqrt(error / size), GetParam().tolerance);
}

TEST_P(StepOf, APromptInPiecesIsThePromptAtOnce) {
  const auto prompt = prompt_of(some_ids(40, 5));
  std::vector<float> expected;
  for (const std::size_t piece : {16U, 1U, 5U}) {
    Running running(decoder_, *hearth_kernels_cpu());
    running.prefill(3, prompt, piece);
    const auto logits = running.step->logits(0);
    ASSERT_TRUE(logits);
    if (expected.empty()) expected = *logits;
    EXPECT_EQ(*logits, expected) << "pieces of " << piece;  // to the bit
  }
}

TEST_P(StepOf, AnAnswerDoesNotDependOnItsCompany) {
  const auto prompt = prompt_of(some_ids(37, 9), 12);
  Running alone(decoder_, *hearth_kernels_cpu());
  alone.prefill(2, prompt);
  std::vector<std::vector<float>> expected;
  for (int i = 0; i < 10; ++i) {
    alone.run({2});
    expected.push_back(*alone.step->logits(0));
  }
  Running together(decoder_, *hearth_kernels_cpu());
  for (const std::int32_t slot : {0, 5, 9, 11})
    together.prefill(slot, prompt_of(some_ids(3 + slot, slot), 64));
  together.prefill(7, prompt);
  // Others come and go; the row moves.
  const std::vector<std::vector<std::int32_t>> steps = {
      {7}, {0, 7}, {0, 5, 7, 9}, {7, 11}, {11, 9, 7, 5, 0}, {9, 7}, {7, 0}, {5, 7}, {7}, {0, 7}};
  for (std::size_t i = 0; i < steps.size(); ++i) {
    together.run(steps[i]);
    const auto row = std::find(steps[i].begin(), steps[i].end(), 7) - steps[i].begin();
    EXPECT_EQ(*together.step->logits(static_cast<std::int32_t>(row)), expected[i]) << "step " << i;
  }
  EXPECT_EQ(together.tokens[7], alone.tokens[2]);
}

TEST_P(StepOf, ATokenThatWasDrawnCountsLikeATokenOfThePrompt) {
  const auto prompt = prompt_of(some_ids(20, 2), 6);
  Running answering(decoder_, *hearth_kernels_cpu());
  answering.prefill(0, prompt);
  for (int i = 0; i < 5; ++i) answering.run({0});
  const auto expected = answering.step->logits(0);
  auto whole = prompt;
  const auto& answer = answering.tokens[0];
  whole.ids.insert(whole.ids.end(), answer.begin(), answer.end() - 1);
  Running reading(decoder_, *hearth_kernels_cpu());
  reading.prefill(0, whole);
  EXPECT_EQ(*reading.step->logits(0), *expected);
}

INSTANTIATE_TEST_SUITE_P(Formats, StepOf,
                         testing::Values(Case{HEARTH_F32, HEARTH_FORMAT_F32, 1e-5},
                                         Case{HEARTH_BF16, HEARTH_FORMAT_BF16, 2e-2},
                                         Case{HEARTH_BF16, HEARTH_FORMAT_FP8, 2e-2},
                                         Case{HEARTH_BF16, HEARTH_FORMAT_INT8, 2e-2},
                                         Case{HEARTH_BF16, HEARTH_FORMAT_INT4, 2e-2},
                                         Case{HEARTH_F32, HEARTH_FORMAT_INT8, 2e-2}));
INSTANTIATE_TEST_SUITE_P(Experts, StepOf,
                         testing::Values(Case{HEARTH_F32, HEARTH_FORMAT_F32, 1e-5, 8},
                                         Case{HEARTH_BF16, HEARTH_FORMAT_BF16, 2e-2, 8},
                                         Case{HEARTH_BF16, HEARTH_FORMAT_INT8, 3e-2, 5},
                                         Case{HEARTH_BF16, HEARTH_FORMAT_INT4, 3e-2, 5}));

class StepF32 : public testing::Test {
 protected:
  TinyDecoder decoder_{Shape{}, HEARTH_F32, HEARTH_FORMAT_F32};
};

TEST_F(StepF32, AStepAllocatesNothing) {
  const TinyDecoder decoder{Shape{.experts = 8}, HEARTH_F32, HEARTH_FORMAT_F32};
  Running running(decoder, *hearth_kernels_cpu());
  for (const std::int32_t slot : {0, 1, 2})
    running.prefill(slot, prompt_of(some_ids(40, slot), 200));
  const std::vector<std::int32_t> slots = {0, 1, 2};
  running.run(slots);
  const std::size_t before = allocations.load();
  for (int i = 0; i < 100; ++i) {
    ASSERT_TRUE(running.step->run(slots));
    ASSERT_TRUE(running.step->collect(0));
  }
  EXPECT_EQ(allocations.load(), before);
}

TEST_F(StepF32, APrefixInASharedPageIsNotComputedAgain) {
  const auto first = prompt_of(some_ids(75, 4));
  auto second = first;
  second.ids.resize(70);
  second.ids.push_back(123);
  second.ids.push_back(17);
  Running fresh(decoder_, *hearth_kernels_cpu());
  fresh.prefill(0, second);
  Running sharing(decoder_, *hearth_kernels_cpu());
  sharing.prefill(0, first);
  // Two whole pages are the first sequence's; of the third, six tokens are copied.
  const auto of_first = Running::pages_of(0);
  const std::vector<std::int32_t> pages = {of_first[0], of_first[1], 60};
  const generate::Place place{1, 7, pages, 70};
  ASSERT_TRUE(sharing.step->begin(place, {of_first[2], 60, 6}, second, 0));
  sharing.feed(1, second.ids, 70, 16);
  ASSERT_TRUE(sharing.step->draw_first(1));
  sharing.take();
  EXPECT_EQ(*sharing.step->logits(0), *fresh.step->logits(0));
  EXPECT_EQ(sharing.tokens[1], fresh.tokens[0]);
}

TEST_F(StepF32, ASlotThatDrewItsLastTokenIsSkipped) {
  Running running(decoder_, *hearth_kernels_cpu());
  running.prefill(0, prompt_of(some_ids(10, 1), 3));
  running.prefill(1, prompt_of(some_ids(10, 2), 30));
  for (int i = 0; i < 6; ++i) running.run({0, 1});
  EXPECT_EQ(running.tokens[0].size(), 3U);
  EXPECT_EQ(running.tokens[1].size(), 7U);
}

TEST_F(StepF32, AnEndIdIsTheLastToken) {
  auto prompt = prompt_of(some_ids(10, 1), 30);
  Running running(decoder_, *hearth_kernels_cpu());
  running.prefill(0, prompt);
  for (int i = 0; i < 4; ++i) running.run({0});
  const auto answer = running.tokens[0];
  const auto last = std::find(answer.begin(), answer.end(), answer[2]);
  prompt.end_ids = {answer[2]};
  Running ending(decoder_, *hearth_kernels_cpu());
  ending.prefill(0, prompt);
  for (int i = 0; i < 4; ++i) ending.run({0});
  EXPECT_EQ(ending.tokens[0], std::vector<std::int32_t>(answer.begin(), last + 1));
}

TEST_F(StepF32, LogitsThatAreNotFiniteGiveNoToken) {
  decoder_.spoil();
  Running running(decoder_, *hearth_kernels_cpu());
  const auto prompt = prompt_of(some_ids(10, 1));
  running.begin(0, prompt);
  running.feed(0, prompt.ids, 0, 16);
  ASSERT_TRUE(running.step->draw_first(0));
  const auto sampled = running.step->collect(0);
  ASSERT_TRUE(sampled);
  ASSERT_EQ(sampled->size(), 1U);
  EXPECT_FALSE(sampled->front().finite);
  EXPECT_EQ(sampled->front().sequence, 100U);
}

TEST_F(StepF32, WhatDoesNotFitIsRefused) {
  const auto memory = host_memory(*hearth_kernels_ref());
  StepLimits limits = kLimits;
  limits.slots = HEARTH_MAX_ROWS + 1;
  const auto refused = Step::create(decoder_.description, decoder_.weights, *memory, limits);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, Code::kUnsupported);

  Running running(decoder_, *hearth_kernels_ref());
  const auto prompt = prompt_of(some_ids(10, 1));
  running.begin(0, prompt);
  const auto pages = Running::pages_of(0);
  EXPECT_FALSE(running.step->begin({0, 1, pages, 0}, {}, prompt, 0));  // the slot is taken
  running.step->end(0);
  const std::vector<std::int32_t> too_many(9, 0);
  EXPECT_FALSE(running.step->begin({0, 1, too_many, 0}, {}, prompt, 0));
}

TEST(KvPages, AreChosenByBudgetButHoldOneSequence) {
  Description description = description_of(Shape{});
  const std::uint64_t bytes = page_bytes(description, HEARTH_BF16);
  EXPECT_EQ(bytes, 3U * 2 * 2 * 16 * 2 * HEARTH_PAGE_TOKENS);  // layers, k and v, heads, dim, bf16
  EXPECT_EQ(choose_pages(description, HEARTH_BF16, 4, 0), 128);
  EXPECT_EQ(choose_pages(description, HEARTH_BF16, 4, 300 * bytes), 300);
  EXPECT_EQ(choose_pages(description, HEARTH_BF16, 4, 100'000 * bytes), 4 * 128);
  EXPECT_EQ(context_of_pages(description, 300), 4096);
  EXPECT_EQ(context_of_pages(description, 100), 3200);
  description.context_tokens = 100;
  EXPECT_EQ(choose_pages(description, HEARTH_BF16, 1, 0), 4);
  EXPECT_EQ(context_of_pages(description, 4), 100);
}

}  // namespace
}  // namespace hearth::decoder
