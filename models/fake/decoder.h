// The fake model's arithmetic: logits that name the next byte of the answer, and faults on request.
//
// Its key-value pages hold what tells each token from others. They are checked before they are
// used, so a page given to two sequences, a token skipped or a wrong prefix shows here, whatever
// the answer. Tokens are drawn as everywhere, by the kernels' sampling. Engine thread only.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "models/fake/prompt.h"
#include "models/generate/decoder.h"
#include "models/kernels/kernels.h"

namespace hearth::fake {

// Waits, in small steps that look at `cancelled` when there is one.
void wait(std::chrono::milliseconds duration, const std::atomic<bool>* cancelled = nullptr);

// Throws, ends the process or never returns, as asked; kNan and kInfinite are the logits' business.
void act(Fault fault, std::string_view where);

// Counts the models of this family that are loaded, for kCrowded.
class Loaded {
 public:
  Loaded() { ++count(); }
  ~Loaded() { --count(); }
  Loaded(const Loaded&) = delete;
  Loaded& operator=(const Loaded&) = delete;
  static std::atomic<int>& count();
};

class Decoder : public generate::Decoder {
 public:
  Decoder(const Config& config, std::int32_t slots);

  std::int32_t slots() const override { return static_cast<std::int32_t>(slots_.size()); }
  std::int32_t context_tokens() const override { return config_.context_tokens; }
  std::int32_t vocabulary_size() const override { return kVocabularySize; }
  std::int32_t prefill_chunk_tokens() const override { return config_.prefill_chunk_tokens; }
  std::int32_t page_tokens() const override { return config_.page_tokens; }
  std::int32_t pages() const override { return pages_of(config_, slots()); }
  std::uint64_t page_bytes() const override { return page_bytes_of(config_); }

  Result<void> begin(models::OnEngine, const generate::Place& place, const generate::PageCopy& copy,
                     const generate::TokenPrompt& prompt) override;
  // Has no tower: it only goes wrong where it is told to.
  Result<bool> encode_picture(models::OnEngine, std::int32_t slot) override;
  std::int32_t cached_pictures(std::int32_t slot) const override;
  Result<void> set_mask(models::OnEngine, std::int32_t slot,
                        std::span<const std::uint32_t> mask) override;
  Result<void> prefill(models::OnEngine, const generate::Chunk& chunk) override;
  Result<void> step(models::OnEngine, std::span<const std::int32_t> slots) override;
  Result<std::span<const generate::Sampled>> collect(models::OnEngine,
                                                     std::int32_t in_flight) override;
  void end(models::OnEngine, std::int32_t slot) noexcept override;
  // The weights that the config claims, and a word for each token.
  std::uint64_t step_bytes(std::int32_t tokens) const override {
    return config_.weights_bytes + sizeof(memory_[0]) * static_cast<std::uint64_t>(tokens);
  }
  Result<void> read_logits(models::OnEngine, std::int32_t row, std::span<float> logits) override;
  Result<void> fork(models::OnEngine, std::int32_t from, const generate::Place& to,
                    const generate::PageCopy& copy) override;
  Result<void> choose(models::OnEngine, std::int32_t slot, std::int32_t token) override;

  std::uint64_t resident_bytes() const;
  // While all slots are free: gives the pages' memory back, and takes it again, empty.
  void rest();
  void restore();
  // Pages for every slot's whole context, where the config does not say how many there are.
  static std::int32_t pages_of(const Config& config, std::int32_t slots);
  static std::uint64_t page_bytes_of(const Config& config);

 private:
  struct Slot {
    const Prompt* prompt = nullptr;  // null: free
    std::vector<std::int32_t> pages;
    std::vector<std::uint64_t> tokens;  // what the pages must hold, in order
    std::int32_t cached_tokens = 0;
  };

  std::size_t memory_words() const;
  std::uint64_t& memory(const Slot& slot, std::size_t token);
  void copy_page(const generate::PageCopy& copy);
  Result<void> check_memory(const Slot& slot);
  void feed(Slot& slot, std::uint64_t token);
  void write_logits(std::size_t row, const Slot& slot, Fault fault);
  Result<void> draw(std::span<const std::int32_t> slots, bool first);

  const Config config_;
  std::vector<Slot> slots_;
  std::vector<std::uint64_t> memory_;  // [pages, page_tokens]
  std::vector<float> logits_;          // [rows, kVocabularySize]
  std::vector<HearthSlot> states_;     // by slot
  std::vector<std::uint16_t> counts_;  // [slots, kVocabularySize]
  std::vector<std::uint32_t> masks_;   // [slots, words of a mask]
  std::vector<HearthSampled> ring_;
  std::uint64_t ring_head_ = 0;
  std::uint64_t collected_ = 0;  // of the ring
  std::vector<std::byte> workspace_;
  std::vector<generate::Sampled> sampled_;
};

}  // namespace hearth::fake
