// Steps that were recorded once and are made again: the same tokens as steps launched one by one.

#include <map>

#include "tests/unit/decoder_for_test.h"
#include "tests/unit/recording_for_test.h"

namespace hearth::decoder {
namespace {

constexpr StepLimits kLimits{.slots = 5, .context_tokens = 96, .pages = 20};

class Capture : public testing::Test {
 protected:
  // Five prompts that come and go over twelve steps; the tokens of each.
  std::map<std::int32_t, std::vector<std::int32_t>> answers(DeviceMemory& memory, bool capture) {
    auto step = Step::create(decoder_.description, decoder_.weights, memory, kLimits);
    EXPECT_TRUE(step);
    if (capture) {
      EXPECT_TRUE((*step)->capture_graphs());
      remarks_ = (*step)->remarks();
    }
    std::map<std::int32_t, std::vector<std::int32_t>> tokens;
    for (std::int32_t slot = 0; slot < kLimits.slots; ++slot) begin(**step, slot);
    const std::vector<std::vector<std::int32_t>> steps = {
        {0}, {0, 3}, {0, 1, 2, 3, 4}, {4, 2}, {1, 2, 3}, {0}, {2, 3, 4, 1}, {0, 4}, {1}, {0, 1, 2}};
    for (const auto& slots : steps) {
      EXPECT_TRUE((*step)->run(slots));
      const auto sampled = (*step)->collect(0);
      EXPECT_TRUE(sampled);
      for (const auto& each : *sampled) tokens[each.slot].push_back(each.token);
    }
    return tokens;
  }

  void begin(Step& step, std::int32_t slot) {
    generate::TokenPrompt prompt;
    for (std::int32_t i = 0; i < 7 + 9 * slot; ++i) prompt.ids.push_back((31 * slot + 7 * i) % 300);
    prompt.sampling.max_tokens = 20;
    prompt.sampling.temperature = slot % 2 == 0 ? 0.0 : 0.9;
    prompt.sampling.repetition_penalty = 1.1;
    prompt.sampling.seed = static_cast<std::uint64_t>(slot);
    const std::vector<std::int32_t> pages = {3 * slot + 2, 3 * slot, 3 * slot + 1};
    prompts_[slot] = prompt;
    ASSERT_TRUE(step.begin({slot, static_cast<std::uint32_t>(slot), pages, 0}, {}, prompt, 0));
    for (std::size_t at = 0; at < prompt.ids.size(); at += 16) {
      const std::size_t count = std::min<std::size_t>(16, prompt.ids.size() - at);
      std::vector<std::int32_t> positions;
      for (int axis = 0; axis < 3; ++axis)
        for (std::size_t i = 0; i < count; ++i)
          positions.push_back(static_cast<std::int32_t>(at + i));
      ASSERT_TRUE(step.feed({slot, static_cast<std::int32_t>(at),
                             std::span(prompt.ids).subspan(at, count), positions}));
    }
    ASSERT_TRUE(step.draw_first(slot));
    ASSERT_TRUE(step.collect(0));
  }

  TinyDecoder decoder_{Shape{}, HEARTH_F32, HEARTH_FORMAT_F32};
  std::map<std::int32_t, generate::TokenPrompt> prompts_;
  std::vector<std::string> remarks_;
};

TEST_F(Capture, RecordedStepsGiveTheTokensOfStepsLaunchedOneByOne) {
  const auto plain = host_memory(*hearth_kernels_ref());
  const auto expected = answers(*plain, false);
  RecordingMemory memory;
  const auto given = answers(memory, true);
  EXPECT_EQ(given, expected);
  EXPECT_EQ(remarks_, std::vector<std::string>());
  EXPECT_GE(memory.replays, 10);  // the steps, and the proof of each graph
}

TEST_F(Capture, WithoutRecordingNothingIsCaptured) {
  const auto plain = host_memory(*hearth_kernels_ref());
  auto step = Step::create(decoder_.description, decoder_.weights, *plain, kLimits);
  ASSERT_TRUE(step);
  EXPECT_TRUE((*step)->capture_graphs());
  EXPECT_TRUE((*step)->remarks().empty());
}

}  // namespace
}  // namespace hearth::decoder
