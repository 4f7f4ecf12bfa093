// Where the log goes, as the status says it.
#include <cstdlib>

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include "daemon/broker/log_place.h"
#include "tests/unit/broker_for_test.h"

namespace hearth::broker {
namespace {

// Standard error is another file while this lives, and the environment says nothing of a journal.
class LogPlaceTest : public testing::Test {
 protected:
  LogPlaceTest() : kept_(dup(STDERR_FILENO)) { unsetenv("JOURNAL_STREAM"); }
  ~LogPlaceTest() override {
    dup2(kept_.get(), STDERR_FILENO);
    unsetenv("JOURNAL_STREAM");
  }
  // log_place() with standard error at `fd`.
  std::string place_of(const Fd& fd) {
    dup2(fd.get(), STDERR_FILENO);
    std::string place = log_place();
    dup2(kept_.get(), STDERR_FILENO);
    return place;
  }
  static std::string name_of_stream(const Fd& fd) {
    struct stat file = {};
    EXPECT_EQ(fstat(fd.get(), &file), 0);
    return fmt::format("{}:{}", file.st_dev, file.st_ino);
  }
  TemporaryFolder folder_;
  Fd kept_;
};

TEST_F(LogPlaceTest, AFileIsNamedByItsPath) {
  const std::string path = folder_.write("log", "");
  EXPECT_EQ(place_of(folder_.open("log", O_WRONLY)), path);
}

TEST_F(LogPlaceTest, WhatCannotBeReadAgainHasNoName) {
  int ends[2];
  ASSERT_EQ(pipe2(ends, O_CLOEXEC), 0);
  const Fd reading(ends[0]);
  EXPECT_EQ(place_of(Fd(ends[1])), "");
}

TEST_F(LogPlaceTest, TheJournalIsItsOwnStreamAndNotOnlyAVariable) {
  int ends[2];
  ASSERT_EQ(pipe2(ends, O_CLOEXEC), 0);
  const Fd reading(ends[0]);
  const Fd writing(ends[1]);
  setenv("JOURNAL_STREAM", name_of_stream(writing).c_str(), 1);
  EXPECT_EQ(place_of(writing), "journal");
  folder_.write("log", "");
  EXPECT_EQ(place_of(folder_.open("log", O_WRONLY)), folder_.path() + "/log");
  setenv("JOURNAL_STREAM", "nonsense", 1);
  EXPECT_EQ(place_of(writing), "");
}

}  // namespace
}  // namespace hearth::broker
