#include "models/generate/admission.h"

#include <algorithm>
#include <cstdlib>
#include <utility>

#include <fmt/format.h>

namespace hearth::generate {
namespace {

// So often is the first of the waiting overtaken; then nobody is admitted before it.
constexpr std::int32_t kMostOvertakings = 8;

std::int32_t pages_for(std::int32_t tokens, std::int32_t page_tokens) {
  return (tokens + page_tokens - 1) / page_tokens;
}

// Whether the first answer of its request is still to compute the prompt for this one too.
bool follows_first_answer(const Sequence& sequence,
                          std::span<const std::unique_ptr<Sequence>> sequences) {
  if (sequence.number() == 0) return false;
  return std::any_of(sequences.begin(), sequences.end(), [&](const auto& other) {
    return &other->group() == &sequence.group() && other->number() == 0 &&
           other->stage < Stage::kDecode;
  });
}

}  // namespace

Admission::Admission(const Decoder& decoder)
    : page_tokens_(decoder.page_tokens()),
      page_bytes_(decoder.page_bytes()),
      reuses_prefixes_(decoder.reuses_prefixes()),
      slots_(static_cast<std::size_t>(decoder.slots())),
      hash_key_(random_sip_key()),
      pool_(decoder.pages()),
      cache_(pool_) {
  for (std::int32_t slot = decoder.slots(); slot > 0; --slot) free_slots_.push_back(slot - 1);
}

// The last token of an answer is never computed on: it needs no place.
std::int32_t Admission::pages_of(const TokenPrompt& prompt) const {
  const auto tokens = static_cast<std::int32_t>(prompt.ids.size());
  const std::int32_t answer = prompt.taps ? 0 : std::max(prompt.sampling.max_tokens - 1, 0);
  return pages_for(tokens + answer, page_tokens_);
}

// Of the second beam and those after it: what they do not share with the first.
std::int32_t Admission::pages_of_beams(const TokenPrompt& prompt) const {
  const auto whole = static_cast<std::int32_t>(prompt.ids.size()) / page_tokens_;
  return prompt.taps ? 0 : (prompt.sampling.beams - 1) * (pages_of(prompt) - whole);
}

Result<void> Admission::check(const TokenPrompt& prompt) const {
  if (static_cast<std::size_t>(prompt.sampling.beams) > slots_)
    return fail(Code::kUnsupported,
                fmt::format("{} beams need as many sequence slots; there are {}.",
                            prompt.sampling.beams, slots_),
                "Lower beams, or start hearth with more --slots.");
  const std::int32_t needed = pages_of(prompt) + pages_of_beams(prompt);
  if (needed <= pool_.pages()) return {};
  const std::int32_t room = pool_.pages() * page_tokens_;
  const auto mebibytes = [&](std::int32_t pages) {
    return static_cast<double>(page_bytes_) * pages / (1 << 20);
  };
  return fail(
      Code::kOutOfMemory,
      fmt::format("The prompt's {} tokens and max_tokens {}{} need {:.1f} MiB of keys and values; "
                  "there are {:.1f} MiB, for {} tokens.",
                  prompt.ids.size(), prompt.taps ? 0 : prompt.sampling.max_tokens,
                  prompt.sampling.beams > 1 ? fmt::format(" of {} beams", prompt.sampling.beams)
                                            : std::string(),
                  mebibytes(needed), mebibytes(pool_.pages()), room),
      "Lower max_tokens or beams, shorten the prompt, or give the model more memory.");
}

PageChain Admission::chain(std::uint32_t user, const TokenPrompt& prompt) const {
  PageChain chain(hash_key_, user, page_tokens_);
  chain.add_prompt(prompt);
  return chain;
}

// An encoding must compute every token, for its hidden states. Of any other prompt the last token
// is computed, for the logits; of all where pages are not all that a token leaves.
std::int32_t Admission::cacheable_tokens(const Sequence& sequence) const {
  return sequence.prompt().taps || !reuses_prefixes_ ? 0 : sequence.prompt_tokens() - 1;
}

Sequence* Admission::next(std::span<const std::unique_ptr<Sequence>> sequences) {
  Sequence* blocked = nullptr;
  if (free_slots_.empty()) return nullptr;
  for (const auto& sequence : sequences) {
    if (sequence->stage != Stage::kQueued || comes_from_another(*sequence, sequences)) continue;
    if (admit(*sequence)) {
      if (blocked != nullptr) ++blocked->overtaken;
      return sequence.get();
    }
    if (blocked == nullptr) blocked = sequence.get();
    if (blocked->overtaken >= kMostOvertakings) return nullptr;
  }
  return nullptr;
}

// Whether another sequence is about to compute at least half of what this one needs: the same
// picture sent with several questions at once is computed once.
bool Admission::comes_from_another(const Sequence& sequence,
                                   std::span<const std::unique_ptr<Sequence>> sequences) const {
  if (follows_first_answer(sequence, sequences)) return true;
  const std::int32_t most_tokens = cacheable_tokens(sequence);
  const PageChain& chain = sequence.chain();
  const std::int32_t known = cache_.known_pages(chain, most_tokens);
  const std::int32_t whole = std::min(most_tokens / page_tokens_, chain.whole_pages());
  const std::int32_t needed = sequence.prompt_tokens() - known * page_tokens_;
  return std::any_of(sequences.begin(), sequences.end(), [&](const auto& other) {
    if (!other->fills_cache() || known >= whole) return false;
    std::int32_t equal = known;
    const std::int32_t most = std::min(whole, other->chain().whole_pages());
    while (equal < most && other->chain().key(equal) == chain.key(equal)) ++equal;
    return equal > known && (equal - known) * page_tokens_ * 2 >= needed;
  });
}

bool Admission::admit(Sequence& sequence) {
  if (free_slots_.size() < static_cast<std::size_t>(sequence.prompt().sampling.beams)) return false;
  auto match = cache_.find(sequence.chain(), cacheable_tokens(sequence));
  if (!take_pages(sequence, match)) {
    // The page to copy from may be the very one that is missing.
    if (match.copy_from < 0) return false;
    match.copy_from = -1;
    match.copy_tokens = 0;
    if (!take_pages(sequence, match)) return false;
  }
  Lease& lease = sequence.lease;
  lease.slot = take_slot();
  take_branches(sequence);
  lease.number = ++admitted_;
  lease.cached_tokens =
      static_cast<std::int32_t>(match.pages.size()) * page_tokens_ + match.copy_tokens;
  lease.kept_pages = static_cast<std::int32_t>(match.pages.size());
  if (reuses_prefixes_ && !sequence.prompt().taps) ++(lease.cached_tokens > 0 ? hits_ : misses_);
  return true;
}

std::int32_t Admission::take_slot() {
  const std::int32_t slot = free_slots_.back();
  free_slots_.pop_back();
  return slot;
}

// Slots and pages of the beams after the first: the prompt's whole pages are shared, what follows
// is each one's own.
void Admission::take_branches(Sequence& sequence) {
  Lease& lease = sequence.lease;
  const auto whole = static_cast<std::size_t>(sequence.prompt_tokens() / page_tokens_);
  lease.more.resize(static_cast<std::size_t>(sequence.prompt().sampling.beams - 1));
  for (Branch& branch : lease.more) {
    branch.slot = take_slot();
    branch.pages.assign(lease.pages.begin(),
                        lease.pages.begin() + static_cast<std::ptrdiff_t>(whole));
    for (const std::int32_t page : branch.pages) pool_.add_use(page);
    while (branch.pages.size() < lease.pages.size()) branch.pages.push_back(pool_.take());
  }
}

PageCopy Admission::follow(Branch& to, const Branch& from, std::int32_t tokens) {
  const auto whole = static_cast<std::size_t>(tokens / page_tokens_);
  for (std::size_t index = 0; index < whole; ++index) {
    if (to.pages[index] == from.pages[index]) continue;
    pool_.add_use(from.pages[index]);
    cache_.release({&to.pages[index], 1});
    to.pages[index] = from.pages[index];
  }
  if (tokens % page_tokens_ == 0) return {};
  return {from.pages[whole], to.pages[whole], tokens % page_tokens_};
}

// False: there are too few pages, and nothing has changed.
bool Admission::take_pages(Sequence& sequence, const PrefixCache::Match& match) {
  const auto shared = static_cast<std::int32_t>(match.pages.size());
  const std::int32_t needed = pages_of(sequence.prompt()) - shared;
  for (const std::int32_t page : match.pages) pool_.add_use(page);
  if (match.copy_from >= 0) pool_.add_use(match.copy_from);
  const std::int32_t branches = pages_of_beams(sequence.prompt());
  if (pool_.free_pages() + pool_.idle_pages() < needed + branches) {
    for (const std::int32_t page : match.pages) pool_.drop_use(page);
    if (match.copy_from >= 0) pool_.drop_use(match.copy_from);
    return false;
  }
  cache_.make_room(needed + branches);
  Lease& lease = sequence.lease;
  lease.pages = match.pages;
  for (std::int32_t count = 0; count < needed; ++count) lease.pages.push_back(pool_.take());
  lease.copy = {};
  if (match.copy_from >= 0)
    lease.copy = {match.copy_from, lease.pages[static_cast<std::size_t>(shared)],
                  match.copy_tokens};
  return true;
}

void Admission::copied(Sequence& sequence) {
  PageCopy& copy = sequence.lease.copy;
  if (copy.from >= 0) cache_.release({&copy.from, 1});
  copy = {};
}

void Admission::keep(Sequence& sequence, std::int32_t tokens) {
  if (sequence.prompt().taps || !reuses_prefixes_) return;
  Lease& lease = sequence.lease;
  const std::int32_t whole = tokens / page_tokens_;
  for (; lease.kept_pages < whole; ++lease.kept_pages)
    cache_.keep(sequence.chain(), lease.kept_pages,
                lease.pages[static_cast<std::size_t>(lease.kept_pages)]);
  // The chain ends where the computed tokens end, or within a later page.
  if (tokens % page_tokens_ != 0 && tokens == sequence.chain().tokens())
    cache_.keep(sequence.chain(), whole, lease.pages[static_cast<std::size_t>(whole)]);
}

void Admission::distrust(const Sequence& sequence) {
  cache_.forget(sequence.lease.pages);
  for (const Branch& branch : sequence.lease.more) cache_.forget(branch.pages);
}

void Admission::leave(Sequence& sequence) {
  copied(sequence);
  for (const Branch& branch : sequence.lease.more) {
    cache_.release(branch.pages);
    free_slots_.push_back(branch.slot);
  }
  cache_.release(sequence.lease.pages);
  free_slots_.push_back(sequence.lease.slot);
  sequence.lease = {};
}

CacheUse Admission::use() const {
  CacheUse use;
  use.name = "prefix";
  use.entries = static_cast<std::uint64_t>(cache_.entries());
  use.bytes = use.entries * page_bytes_;
  use.budget_bytes = static_cast<std::uint64_t>(pool_.pages()) * page_bytes_;
  use.hits = hits_;
  use.misses = misses_;
  return use;
}

}  // namespace hearth::generate
