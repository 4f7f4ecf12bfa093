// Counts by user: symmetrical, without overflow, and asserted.
#include <gtest/gtest.h>

#include "daemon/broker/accounts.h"
#include "daemon/broker/config.h"

namespace hearth::broker {
namespace {

TEST(Accounts, UsersThatHoldNothingLeaveNoTrace) {
  Accounts accounts(Config{}.user);
  accounts.acquire(1, {.connections = 1, .arenas = 2});
  accounts.acquire(2, {.tensors = 5});
  accounts.acquire(3, {});
  accounts.release(1, {.arenas = 2});
  EXPECT_EQ(accounts.held_by(1), (contract::Quota{.connections = 1}));
  accounts.release(1, {.connections = 1});
  EXPECT_EQ(accounts.held_by(1), contract::Quota{});
  EXPECT_FALSE(accounts.empty());
  accounts.release(2, {.tensors = 5});
  EXPECT_TRUE(accounts.empty());
}

TEST(Accounts, ChecksDoNotOverflow) {
  Accounts accounts(contract::Quota{.arena_bytes = 100});
  accounts.acquire(1, {.arena_bytes = 150});
  EXPECT_FALSE(accounts.check(1, {.arena_bytes = 1}));
  EXPECT_FALSE(accounts.check(2, {.arena_bytes = ~0ull}));
  EXPECT_TRUE(accounts.check(2, {.arena_bytes = 100}));
  EXPECT_FALSE(accounts.check(2, {.arenas = 1, .arena_bytes = 100}));
  accounts.release(1, {.arena_bytes = 150});
}

#ifndef NDEBUG
TEST(AccountsDeathTest, WrongBalanceAsserts) {
  Accounts accounts(Config{}.user);
  accounts.acquire(1, {.tensors = 1});
  EXPECT_DEATH(accounts.release(1, {.tensors = 2}), "held >= amount");
  EXPECT_DEATH(accounts.release(2, {.arenas = 1}), "account != ");
}
#endif

}  // namespace
}  // namespace hearth::broker
