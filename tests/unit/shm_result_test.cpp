#include <memory>
#include <string>

#include <fcntl.h>
#include <gtest/gtest.h>

#include "shm/base/fd.h"
#include "shm/base/result.h"

namespace hearth {
namespace {

Result<int> half(int value) {
  if (value % 2 != 0) return fail(Code::kBadRequest, "odd: " + std::to_string(value), "use 2");
  return value / 2;
}

Result<int> quarter(int value) {
  TRY(const int once, half(value));
  TRY(const int twice, half(once));
  return twice;
}

Result<void> check(int value) {
  if (value < 0) return fail(Code::kInternal, "negative");
  return {};
}

Result<std::string> describe(int value) {
  CHECK_OK(check(value));
  return std::to_string(value);
}

Result<std::unique_ptr<int>> boxed(int value) {
  return std::make_unique<int>(value);
}

Result<int> unboxed(int value) {
  TRY(std::unique_ptr<int> box, boxed(value));
  return *box;
}

TEST(Result, TryGivesTheValueOrReturnsTheError) {
  EXPECT_EQ(*quarter(12), 3);
  const auto odd = quarter(6);
  ASSERT_FALSE(odd);
  EXPECT_EQ(odd.error().code, Code::kBadRequest);
  EXPECT_EQ(odd.error().what, "odd: 3");
  EXPECT_EQ(odd.error().hint, "use 2");
}

TEST(Result, CheckOkReturnsTheErrorOfAVoidResult) {
  EXPECT_EQ(*describe(1), "1");
  EXPECT_EQ(describe(-1).error().what, "negative");
}

TEST(Result, MovesWhatCannotBeCopied) {
  EXPECT_EQ(*unboxed(5), 5);
}

bool is_open(int fd) {
  return ::fcntl(fd, F_GETFD) >= 0;
}

TEST(Fd, ClosesWhatItOwnsOnce) {
  int number = -1;
  {
    const Fd fd(::open("/dev/null", O_RDONLY | O_CLOEXEC));
    number = fd.get();
    ASSERT_TRUE(fd);
    EXPECT_TRUE(is_open(number));
  }
  EXPECT_FALSE(is_open(number));
}

TEST(Fd, MovingHandsItOver) {
  Fd first(::open("/dev/null", O_RDONLY | O_CLOEXEC));
  const int number = first.get();
  Fd second = std::move(first);
  EXPECT_EQ(second.get(), number);
  Fd third(::open("/dev/null", O_RDONLY | O_CLOEXEC));
  const int replaced = third.get();
  third = std::move(second);
  EXPECT_FALSE(is_open(replaced));
  EXPECT_EQ(third.release(), number);
  EXPECT_FALSE(third);
  EXPECT_TRUE(is_open(number));
  ::close(number);
}

}  // namespace
}  // namespace hearth
