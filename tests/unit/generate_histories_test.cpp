// Random histories of requests that come, are cancelled, fail and end, over few pages and slots:
// whatever happens, each answer is the one that the request gets alone, and no page is lost,
// written while another reads it, or given to two.

#include <map>
#include <numeric>
#include <random>
#include <set>

#include <gtest/gtest.h>

#include "models/generate/batch.h"
#include "tests/unit/generate_for_test.h"

namespace hearth::generate {
namespace {

// Watches which pages are written. What they hold the fake decoder checks by itself.
class Guarded : public LateDecoder {
 public:
  using LateDecoder::LateDecoder;

  Result<void> begin(models::OnEngine on, const Place& place, const PageCopy& copy,
                     const TokenPrompt& prompt) override {
    const std::set<std::int32_t> different(place.pages.begin(), place.pages.end());
    EXPECT_EQ(different.size(), place.pages.size());
    EXPECT_LT(place.cached_tokens, static_cast<std::int32_t>(prompt.ids.size()));
    EXPECT_FALSE(running_.contains(place.slot));
    running_[place.slot] = {{place.pages.begin(), place.pages.end()}, place.cached_tokens};
    if (copy.tokens > 0) {
      EXPECT_EQ(copy.to,
                place.pages[static_cast<std::size_t>(place.cached_tokens / page_tokens())]);
      EXPECT_EQ(copy.tokens, place.cached_tokens % page_tokens());
      expect_alone(copy.to, place.slot);
    }
    return LateDecoder::begin(on, place, copy, prompt);
  }
  Result<void> prefill(models::OnEngine on, const Chunk& chunk) override {
    write(chunk.slot, chunk.first, chunk.count);
    return LateDecoder::prefill(on, chunk);
  }
  Result<void> step(models::OnEngine on, std::span<const std::int32_t> slots) override {
    EXPECT_EQ(std::set<std::int32_t>(slots.begin(), slots.end()).size(), slots.size());
    for (const std::int32_t slot : slots) write(slot, running_.at(slot).tokens, 1);
    return LateDecoder::step(on, slots);
  }
  Result<void> fork(models::OnEngine on, std::int32_t from, const Place& to,
                    const PageCopy& copy) override {
    EXPECT_EQ(to.cached_tokens, running_.at(from).tokens);
    EXPECT_EQ(copy.tokens, to.cached_tokens % page_tokens());
    running_[to.slot] = {{to.pages.begin(), to.pages.end()}, to.cached_tokens};
    if (copy.tokens > 0) expect_alone(copy.to, to.slot);
    return LateDecoder::fork(on, from, to, copy);
  }
  void end(models::OnEngine on, std::int32_t slot) noexcept override {
    running_.erase(slot);
    LateDecoder::end(on, slot);
  }

 private:
  struct Run {
    std::vector<std::int32_t> pages;
    std::int32_t tokens = 0;
  };

  void write(std::int32_t slot, std::int32_t first, std::int32_t count) {
    Run& run = running_.at(slot);
    EXPECT_EQ(first, run.tokens);
    run.tokens += count;
    for (std::int32_t token = first; token < first + count; ++token)
      expect_alone(run.pages.at(static_cast<std::size_t>(token / page_tokens())), slot);
  }
  void expect_alone(std::int32_t page, std::int32_t writer) const {
    for (const auto& [slot, run] : running_)
      EXPECT_TRUE(slot == writer || std::count(run.pages.begin(), run.pages.end(), page) == 0)
          << "page " << page << " of slot " << writer << " is in use by slot " << slot;
  }

  std::map<std::int32_t, Run> running_;
};

// Requests that begin alike, of few kinds, so that a history meets the same ones again.
struct Wanted {
  contract::Generate request;
  int picture = -1;  // which one, or none
  std::uint32_t user = 0;
};

class Requests {
 public:
  Requests() {
    for (int number = 0; number < 3; ++number) {
      bytes_.emplace_back(std::size_t{320} * 32, static_cast<std::byte>(number));  // ten tokens
      views_.push_back({DType::kU8, {320, 32, 1}, bytes_.back()});
    }
  }

  Wanted draw(std::mt19937& random) const {
    static constexpr const char* kBeginnings[] = {"aaaabbbbccccdddd", "aaaabbbbeeee", "zz"};
    static constexpr const char* kCommands[] = {
        "", "", "", " !count 9", " !nan 3", " !random 12", " !nan prefill", " !fail prefill"};
    const auto below = [&](unsigned limit) { return static_cast<unsigned>(random()) % limit; };
    std::string text = kBeginnings[below(3)];
    text.resize(1 + below(static_cast<unsigned>(text.size())));
    text += std::string(below(4), static_cast<char>('x' + below(2)));
    Wanted wanted{chat(text + kCommands[below(8)]), static_cast<int>(below(6)) - 3, below(2)};
    if (wanted.picture >= 0) wanted.request = with_picture(std::move(wanted.request));
    const bool draws = wanted.request.messages[0].content.back().text.ends_with(" !random 12");
    wanted.request.temperature = draws ? 1.0 : 0.0;
    wanted.request.seed = below(2);
    wanted.request.max_tokens = static_cast<std::int32_t>(1 + below(30));
    if (draws) wanted.request.answers = static_cast<std::int32_t>(1 + below(3));
    if (below(4) == 0) wanted.request.beams = static_cast<std::int32_t>(2 + below(2));
    if (wanted.request.beams > 1) wanted.request.answers = wanted.request.beams - 1;
    return wanted;
  }
  std::span<const TensorView> views(const Wanted& wanted) const {
    if (wanted.picture < 0) return {};
    return std::span(views_).subspan(static_cast<std::size_t>(wanted.picture), 1);
  }

  // What `wanted` gets when nobody else is there: the ids, or the code of the error.
  const std::string& alone(const Wanted& wanted) {
    const std::string key = contract::pack(wanted.request) + std::to_string(wanted.picture);
    const auto [known, missing] = known_.try_emplace(key);
    if (missing) {
      FakeBatch batch(3);
      known->second = outcome(batch.run(wanted.request, views(wanted)));
    }
    return known->second;
  }
  static std::string outcome(const Running& run) {
    EXPECT_EQ(run.heard->ends, 1);
    if (run.heard->reply) {
      std::string ids = run.heard->reply->token_ids;
      for (const contract::Answer& other : run.heard->reply->others) ids += "," + other.token_ids;
      return ids;
    }
    return run.heard->error ? std::string(name_of(run.heard->error->code)) : "nothing";
  }

 private:
  std::vector<std::vector<std::byte>> bytes_;
  std::vector<TensorView> views_;
  std::map<std::string, std::string> known_;
};

class History {
 public:
  History(unsigned seed, Requests& requests)
      : random_(seed),
        requests_(requests),
        slots_(static_cast<std::int32_t>(1 + below(5))),
        batch_(slots_, config()) {}

  void run() {
    for (int event = 0; event < 60; ++event) {
      const unsigned kind = below(10);
      if (kind < 3) submit();
      if (kind == 3) cancel();
      ASSERT_TRUE(batch_.advance());
      expect_no_page_lost();
    }
    batch_.finish();
    expect_every_answer();
    EXPECT_EQ(batch_.pages().free_pages() + batch_.pages().idle_pages(), batch_.pages().pages());
  }
  std::uint64_t hits() const { return batch_.prefix_cache().hits; }

 private:
  unsigned below(unsigned limit) { return static_cast<unsigned>(random_()) % limit; }

  fake::Config config() {
    fake::Config config;
    config.context_tokens = 128;
    config.page_tokens = static_cast<std::int32_t>(1 + below(8));
    config.prefill_chunk_tokens = static_cast<std::int32_t>(1 + below(20));
    config.pages = static_cast<std::int32_t>(80 + below(120)) / config.page_tokens;
    return config;
  }
  void submit() {
    wanted_.push_back(requests_.draw(random_));
    Wanted& wanted = wanted_.back();
    if (wanted.request.beams > slots_) wanted.request.beams = wanted.request.answers = 1;
    runs_.push_back(batch_.submit(wanted.request, requests_.views(wanted), wanted.user));
  }
  void cancel() {
    if (!runs_.empty()) runs_[below(static_cast<unsigned>(runs_.size()))].job->cancelled = true;
  }
  void expect_no_page_lost() {
    const PagePool& pool = batch_.pages();
    std::int32_t used = 0;
    for (std::int32_t page = 0; page < pool.pages(); ++page) used += pool.uses(page) > 0 ? 1 : 0;
    EXPECT_EQ(used + pool.free_pages() + pool.idle_pages(), pool.pages());
    EXPECT_LE(batch_.prefix_cache().entries, static_cast<std::uint64_t>(pool.pages()));
  }
  void expect_every_answer() {
    for (std::size_t index = 0; index < runs_.size(); ++index) {
      const std::string outcome = Requests::outcome(runs_[index]);
      if (outcome == "cancelled") {
        EXPECT_TRUE(runs_[index].job->cancelled);
      } else if (outcome == "out_of_memory") {
        EXPECT_GT(wanted_[index].request.beams, 1) << "all else fits alone";
      } else {
        EXPECT_EQ(outcome, requests_.alone(wanted_[index])) << "request " << index;
      }
    }
  }

  std::mt19937 random_;
  Requests& requests_;
  const std::int32_t slots_;
  BatchOver<Guarded> batch_;
  std::vector<Wanted> wanted_;
  std::vector<Running> runs_;
};

TEST(Histories, GiveEveryRequestItsOwnAnswerAndLoseNoPage) {
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
  constexpr unsigned kHistories = 300;  // each takes twenty times as long
#else
  constexpr unsigned kHistories = 2000;
#endif
  Requests requests;
  std::uint64_t hits = 0;
  for (unsigned seed = 1; seed <= kHistories && !testing::Test::HasFailure(); ++seed) {
    SCOPED_TRACE(testing::Message() << "seed " << seed);
    History history(seed, requests);
    history.run();
    hits += history.hits();
  }
  EXPECT_GT(hits, kHistories) << "the histories hardly meet the cache";
}

}  // namespace
}  // namespace hearth::generate
