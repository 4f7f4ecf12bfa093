// The last requests that ended, and the last things that went wrong: what explain, trace and status
// look back at.
//
// Values only, no ports; kept across an upgrade of the broker. No prompt, answer or picture is in
// them, and texts have been through redacted().
#pragma once

#include <cstdint>
#include <deque>
#include <map>
#include <optional>
#include <set>
#include <vector>

#include <sys/types.h>

#include "shm/contract/messages.h"

namespace hearth::broker {

namespace handover {
struct Access;
}

// A ring by number of request: at most kMost, and fewer where their texts together are very long.
// When it is full, the oldest record of the user who has most of it goes; so among n users, who has
// less than 1/n of all bytes loses nothing, whatever the others do.
class Records {
 public:
  static constexpr std::size_t kMost = 4096;
  static constexpr std::size_t kMostBytes = std::size_t{16} << 20;
  static constexpr std::size_t kPageBytes = std::size_t{768} << 10;  // fits into a frame

  void add(contract::RequestRecord record);

  // Latest first: at most `limit` with a number below `before` (0: any), of `user` alone where one
  // is given, and no more than a reply has room for.
  contract::RequestList page(std::uint64_t before, std::uint32_t limit,
                             std::optional<uid_t> user) const;
  // By number.
  const std::map<std::uint64_t, contract::RequestRecord>& all() const { return records_; }

 private:
  friend struct handover::Access;
  struct User {
    std::set<std::uint64_t> numbers;  // never empty
    std::size_t bytes = 0;
  };

  void count(std::uint64_t number, const contract::RequestRecord& record);
  void count_again();  // users and bytes, of records that were loaded
  void drop_one();

  std::map<std::uint64_t, contract::RequestRecord> records_;
  std::map<uid_t, User> users_;
  std::size_t bytes_ = 0;  // of packed records, at most
};

class ErrorLog {
 public:
  struct Entry {
    std::optional<uid_t> user;  // whose request it was; none: the service's own
    contract::ErrorEntry error;
  };
  static constexpr std::size_t kOfOne = 16;  // of one user, so that nobody's push out another's
  static constexpr std::size_t kMost = 512;

  // One that repeats the user's latest takes its place.
  void add(std::optional<uid_t> user, contract::ErrorEntry error);
  // At most 16, latest first: the service's own and those of `user`, or everybody's where none is
  // given.
  std::vector<contract::ErrorEntry> latest(std::optional<uid_t> user) const;
  const std::deque<Entry>& all() const { return entries_; }  // oldest first

 private:
  friend struct handover::Access;
  std::deque<Entry> entries_;
};

}  // namespace hearth::broker
