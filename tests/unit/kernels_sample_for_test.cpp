#include "tests/unit/kernels_sample_for_test.h"

#include <bit>

namespace hearth::kernels {

HearthSlot Sampling::plain_slot() {
  HearthSlot slot{};
  slot.token = 3;
  slot.length = 10;
  slot.most_steps = 1 << 30;
  slot.step = 2;
  slot.top_p = slot.typical_p = slot.repetition_penalty = 1.0F;
  return slot;
}

Sampled::Sampled(Memory& memory, const std::vector<Sampling>& rows) {
  const std::size_t vocabulary = rows.front().logits.size();
  Floats logits;
  std::vector<std::int32_t> numbers;
  std::vector<HearthSlot> slots;
  std::vector<std::uint16_t> counts(rows.size() * vocabulary);
  const std::size_t words = (vocabulary + 31) / 32;
  std::vector<std::uint32_t> masks(rows.size() * words);
  for (std::size_t row = 0; row < rows.size(); ++row) {
    const Sampling& sampling = rows[row];
    logits.insert(logits.end(), sampling.logits.begin(), sampling.logits.end());
    numbers.push_back(static_cast<std::int32_t>(row));
    slots.push_back(sampling.slot);
    slots.back().sequence = static_cast<std::uint32_t>(100 + row);
    slots.back().masked = sampling.out.empty() ? 0 : 1;
    for (std::size_t id = 0; id < sampling.out.size(); ++id)
      if (!sampling.out[id]) masks[row * words + id / 32] |= 1U << id % 32;
    for (const std::int32_t id : sampling.prompt)
      counts[row * vocabulary + static_cast<std::size_t>(id)] |= 0x8000;
    for (const std::int32_t id : sampling.answer)
      ++counts[row * vocabulary + static_cast<std::size_t>(id)];
  }
  const auto size = static_cast<std::int64_t>(rows.size());
  call = {.rows = size,
          .vocabulary = static_cast<std::int64_t>(vocabulary),
          .logits = memory.copy(logits),
          .logits_stride = static_cast<std::int64_t>(vocabulary),
          .slot = memory.copy(numbers),
          .slots = memory.copy(slots),
          .counts = memory.copy(counts),
          .masks = memory.copy(masks),
          .first = 0,
          .ring = nullptr,
          .ring_size = static_cast<std::int64_t>(std::bit_ceil(rows.size())),
          .ring_head = static_cast<std::uint64_t*>(memory.allocate(8)),
          .workspace = memory.allocate(
              hearth_sample_workspace_bytes(size, static_cast<std::int64_t>(vocabulary)))};
  call.ring = static_cast<HearthSampled*>(
      memory.allocate(static_cast<std::size_t>(call.ring_size) * sizeof(HearthSampled)));
}

std::vector<HearthSampled> Sampled::run(const Implementation& implementation, Memory& memory) {
  const std::uint64_t head = *call.ring_head;
  EXPECT_EQ(implementation.table->sample(&call, memory.stream()), HEARTH_OK);
  memory.wait();
  EXPECT_EQ(*call.ring_head, head + static_cast<std::uint64_t>(call.rows));
  std::vector<HearthSampled> entries;
  for (std::uint64_t i = head; i < *call.ring_head; ++i)
    entries.push_back(call.ring[i % static_cast<std::uint64_t>(call.ring_size)]);
  return entries;
}

std::map<std::int32_t, double> normalised(std::span<const Candidate> candidates) {
  double total = 0.0;
  for (const Candidate& candidate : candidates) total += candidate.weight;
  std::map<std::int32_t, double> probabilities;
  for (const Candidate& candidate : candidates)
    if (candidate.weight > 0.0F) probabilities[candidate.id] = candidate.weight / total;
  return probabilities;
}

std::vector<Implementation> samplers_under_test() {
  std::vector<Implementation> all = implementations_under_test();
  all.insert(all.begin(), {"ref", hearth_kernels_ref()});
  return all;
}

std::int32_t SamplerTest::pick(const Sampling& sampling) const {
  const auto use = GetParam().use();
  HostMemory memory;
  Sampled sampled(memory, {sampling});
  return sampled.run(GetParam(), memory).at(0).token;
}

void SamplerTest::expect_draws_as_plain(const Sampling& sampling, std::uint32_t count) const {
  const auto fewer = static_cast<std::uint32_t>(fewer_repetitions());
  count = (count + fewer - 1) / fewer;
  const auto use = GetParam().use();
  HostMemory memory;
  std::vector<Sampling> rows(count, sampling);
  for (std::uint32_t i = 0; i < count; ++i) rows[i].slot.answer_index = i;
  Sampled tested(memory, rows), expected(memory, rows);
  const auto got = tested.run(GetParam(), memory);
  const auto wanted = expected.run({"ref", hearth_kernels_ref()}, memory);
  std::uint32_t apart = 0;
  for (std::uint32_t i = 0; i < count; ++i) apart += got[i].token != wanted[i].token;
  EXPECT_LE(apart, count / 200) << "of " << count;
}

}  // namespace hearth::kernels
