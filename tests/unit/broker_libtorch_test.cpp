// Where the engine's libtorch is looked for, and what is said when it is nowhere.
#include <cstdlib>
#include <filesystem>
#include <string>

#include <fmt/format.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include "daemon/broker/net/libtorch.h"
#include "tests/unit/broker_for_test.h"

namespace hearth::broker {
namespace {

constexpr uid_t kSomebodyElse = 12345;

class OwnLibtorchTest : public testing::Test {
 protected:
  void SetUp() override {
    if (libtorch_version().empty()) GTEST_SKIP() << "this engine needs no libtorch";
    unsetenv("XDG_DATA_HOME");
    setenv("HOME", folder.path().c_str(), 1);
  }
  void TearDown() override {
    unsetenv("XDG_DATA_HOME");
    setenv("HOME", home_before.c_str(), 1);
  }
  std::string libraries_in(const std::string& data) const {
    return fmt::format("{}/hearth/torch/{}/torch/lib", data, libtorch_version());
  }

  const std::string home_before = std::getenv("HOME") ? std::getenv("HOME") : "/";
  TemporaryFolder folder;
};

TEST_F(OwnLibtorchTest, WhereThereIsNoneTheEngineLooksElsewhere) {
  EXPECT_TRUE(own_libtorch().empty());
}

TEST_F(OwnLibtorchTest, ThatOfTheUserGoesFirst) {
  const std::string libraries = libraries_in(folder.path() + "/.local/share");
  std::filesystem::create_directories(libraries);
  EXPECT_EQ(own_libtorch(), std::vector<std::string>{"LD_LIBRARY_PATH=" + libraries});
}

TEST_F(OwnLibtorchTest, LiesWhereTheUserHasHisData) {
  const std::string libraries = libraries_in(folder.path() + "/data");
  std::filesystem::create_directories(libraries);
  setenv("XDG_DATA_HOME", (folder.path() + "/data").c_str(), 1);
  EXPECT_EQ(own_libtorch(), std::vector<std::string>{"LD_LIBRARY_PATH=" + libraries});
}

TEST_F(OwnLibtorchTest, OneForAnotherReleaseIsNotTaken) {
  std::filesystem::create_directories(folder.path() + "/.local/share/hearth/torch/1.0.0/torch/lib");
  EXPECT_TRUE(own_libtorch().empty());
}

TEST_F(OwnLibtorchTest, WhatSomebodyElsePutThereIsNotTaken) {
  if (geteuid() != 0) GTEST_SKIP() << "only root can give a folder away";
  const std::string libraries = libraries_in(folder.path() + "/.local/share");
  std::filesystem::create_directories(libraries);
  ASSERT_EQ(::chown(libraries.c_str(), kSomebodyElse, kSomebodyElse), 0);
  EXPECT_TRUE(own_libtorch().empty());
}

TEST_F(OwnLibtorchTest, WithoutAHomeThereIsNone) {
  unsetenv("HOME");
  EXPECT_TRUE(own_libtorch().empty());
}

TEST(NoLibtorch, IsSaidWithWhatMendsIt) {
  const Error error = no_libtorch();
  EXPECT_NE(error.what.find("no engine"), std::string::npos);
  if (libtorch_version().empty()) {
    EXPECT_NE(error.hint.find("library"), std::string::npos);
  } else {
    EXPECT_NE(error.what.find(libtorch_version()), std::string::npos);
    EXPECT_NE(error.hint.find("hearth setup"), std::string::npos);
  }
}

}  // namespace
}  // namespace hearth::broker
