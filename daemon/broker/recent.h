// Requests with a key: which of them run, and what the latest of them answered. So a request that
// is sent again with its key neither runs twice nor is lost with the connection it came from.
//
// Keys belong to a user: nobody meets another's. Answers are kept for a while and within bounds,
// the oldest go first; errors are not kept. Values only, no ports.
#pragma once

#include <map>
#include <optional>
#include <set>
#include <string>

#include "daemon/broker/ports.h"

namespace hearth::broker {

struct RequestKey {
  uid_t user = 0;
  std::string word;  // empty: the request has no key
  explicit operator bool() const { return !word.empty(); }
  auto operator<=>(const RequestKey&) const = default;
};

class Recent {
 public:
  struct Rules {
    std::size_t user_answers = 64;
    std::size_t user_bytes = 8u << 20;
    std::size_t all_bytes = 32u << 20;
    Milliseconds kept{60'000};
  };
  struct Running {
    JobId job = 0;
    std::uint64_t fingerprint = 0;  // of what was asked
  };
  struct Answer {
    std::uint64_t fingerprint = 0;
    std::string body;  // generated, packed, marked as replayed
  };

  explicit Recent(Rules rules) : rules_(rules) {}

  void begin(const RequestKey& key, Running running);
  const Running* find_running(const RequestKey& key) const;
  // The job no longer stands for the key. Nothing happens when another does by now.
  void end(const RequestKey& key, JobId job);

  void keep(const RequestKey& key, Answer answer, TimePoint now);
  const Answer* find_answer(const RequestKey& key, TimePoint now);
  // Lets go what was kept for long enough; the time of the next, if there is any.
  std::optional<TimePoint> expire(TimePoint now);

  std::size_t bytes() const { return bytes_; }
  std::size_t answers() const { return kept_.size(); }

 private:
  friend struct handover::Access;
  struct Kept {
    RequestKey key;
    Answer answer;
    TimePoint until;
    std::size_t bytes() const { return answer.body.size() + key.word.size(); }
  };
  struct User {
    std::set<std::uint64_t> kept;
    std::size_t bytes = 0;
  };

  void drop(std::uint64_t number);

  const Rules rules_;
  std::map<RequestKey, Running> running_;
  std::map<std::uint64_t, Kept> kept_;  // oldest first
  std::map<RequestKey, std::uint64_t> numbers_;
  std::map<uid_t, User> users_;
  std::uint64_t last_number_ = 0;
  std::size_t bytes_ = 0;
};

}  // namespace hearth::broker
