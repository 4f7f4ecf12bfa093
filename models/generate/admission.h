// Who gets a slot and pages of the decoder, and what of a prompt needs no computing.
//
// A sequence gets the pages for its prompt and its whole answer at once, so that none is ever
// stopped halfway for want of memory. What the prefix cache knows of a prompt it takes from there.
// First come, first served, but for two cases: a sequence that does not fit now is overtaken by
// later ones that do, a few times; and one whose prompt another sequence is computing waits for it.
//
// Ownership: the Decoder is borrowed; slots and pages are lent to sequences until leave(). Engine
// thread only.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "models/generate/decoder.h"
#include "models/generate/lease.h"
#include "models/generate/page_chain.h"
#include "models/generate/pages.h"
#include "models/generate/prefix_cache.h"
#include "models/generate/sequence.h"

namespace hearth::generate {

class Admission {
 public:
  explicit Admission(const Decoder& decoder);

  // Errors: out_of_memory for a sequence that would not fit if it were alone, with the numbers;
  // unsupported for more beams than there are slots.
  Result<void> check(const TokenPrompt& prompt) const;
  // What the pages of a new sequence will hold.
  PageChain chain(std::uint32_t user, const TokenPrompt& prompt) const;

  // The queued sequence that comes next, with its slot and pages; null when none can. `sequences`
  // are all, in order of arrival.
  Sequence* next(std::span<const std::unique_ptr<Sequence>> sequences);

  // `to` goes on as `from` does, which has `tokens` tokens in its pages: shares the whole ones and
  // returns what has to be copied. Both are branches of one lease.
  PageCopy follow(Branch& to, const Branch& from, std::int32_t tokens);

  // The copy that `sequence` began with is made.
  void copied(Sequence& sequence);
  // The first `tokens` tokens of its chain are in its pages: others may begin with them.
  void keep(Sequence& sequence, std::int32_t tokens);
  // What its pages hold cannot be trusted.
  void distrust(const Sequence& sequence);
  // While no sequence has pages: those kept for later ones hold nothing any more.
  void forget_cached() { cache_.make_room(pool_.pages()); }
  // Takes slot and pages back. After the decoder's end().
  void leave(Sequence& sequence);

  CacheUse use() const;
  const PagePool& pool() const { return pool_; }

 private:
  std::int32_t pages_of(const TokenPrompt& prompt) const;
  std::int32_t pages_of_beams(const TokenPrompt& prompt) const;
  void take_branches(Sequence& sequence);
  std::int32_t cacheable_tokens(const Sequence& sequence) const;
  bool comes_from_another(const Sequence& sequence,
                          std::span<const std::unique_ptr<Sequence>> sequences) const;
  bool admit(Sequence& sequence);
  std::int32_t take_slot();
  bool take_pages(Sequence& sequence, const PrefixCache::Match& match);

  const std::int32_t page_tokens_;
  const std::uint64_t page_bytes_;
  const bool reuses_prefixes_;
  const std::size_t slots_;
  const SipKey hash_key_;
  PagePool pool_;
  PrefixCache cache_;
  std::vector<std::int32_t> free_slots_;
  std::uint32_t admitted_ = 0;
  std::uint64_t hits_ = 0;
  std::uint64_t misses_ = 0;
};

}  // namespace hearth::generate
