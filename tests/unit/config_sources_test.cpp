// Where settings come from: files, drop-ins, environment, command line, and what wins.
#include <cstdlib>
#include <filesystem>
#include <fstream>

#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include "daemon/config/sources.h"

namespace hearth::config {
namespace {

class ConfigSources : public testing::Test {
 protected:
  ConfigSources() {
    std::string name = (std::filesystem::temp_directory_path() / "hearth-config-XXXXXX").string();
    folder = mkdtemp(name.data());
    sources.folder = folder;
  }
  ~ConfigSources() override { std::filesystem::remove_all(folder); }

  void write(const std::string& name, const std::string& text) const {
    const std::filesystem::path path = folder + "/" + name;
    std::filesystem::create_directories(path.parent_path());
    std::ofstream(path) << text;
  }
  void drain_in(const std::string& name, int seconds) const {
    write(name, "[server]\ndrain = " + std::to_string(seconds) + "\n");
  }
  std::vector<std::string> problems() const {
    std::vector<std::string> texts;
    for (const Problem& problem : load(sources).problems) texts.push_back(text_of(problem));
    return texts;
  }
  std::string drain_and_origin() const {
    const Loaded loaded = load(sources);
    EXPECT_TRUE(loaded.problems.empty()) << text_of(loaded.problems.front());
    const Setting& drain = *loaded.settings.find("server.drain");
    return to_toml(*find_row("server.drain"), drain.value) + " " + drain.origin;
  }

  std::string folder;
  Sources sources;
};

using Texts = std::vector<std::string>;

TEST_F(ConfigSources, WithoutFilesTheDefaultsCount) {
  const Loaded loaded = load(sources);
  EXPECT_TRUE(loaded.problems.empty());
  EXPECT_TRUE(loaded.files.empty());
  EXPECT_TRUE(changes(Settings(), loaded.settings).empty());
  EXPECT_EQ(drain_and_origin(), "\"1500ms\" default");
}

TEST_F(ConfigSources, LaterOnesWinSettingBySetting) {
  drain_in("hearth.toml", 1);
  write("conf.d/00-other.toml", "[log]\nlevel = \"debug\"\n");
  EXPECT_EQ(drain_and_origin(), "\"1s\" " + folder + "/hearth.toml:2");
  drain_in("conf.d/20-b.toml", 3);
  drain_in("conf.d/10-a.toml", 2);
  EXPECT_EQ(drain_and_origin(), "\"3s\" " + folder + "/conf.d/20-b.toml:2");
  sources.environment = {{"HEARTH_SERVER_DRAIN", "4s"}, {"HEARTH_SOCKET", "of a client"}};
  EXPECT_EQ(drain_and_origin(), "\"4s\" HEARTH_SERVER_DRAIN");
  sources.arguments = {{"server.drain", "--drain", "5"}};
  EXPECT_EQ(drain_and_origin(), "\"5s\" command line");
  EXPECT_EQ(load(sources).settings.choice("log.level"), "debug");
  EXPECT_EQ(load(sources).files,
            (Texts{folder + "/hearth.toml", folder + "/conf.d/00-other.toml",
                   folder + "/conf.d/10-a.toml", folder + "/conf.d/20-b.toml"}));
}

TEST_F(ConfigSources, DropInsThatDoNotEndInTomlOrAreHiddenAreNone) {
  drain_in("conf.d/a.toml.bak", 1);
  drain_in("conf.d/.b.toml", 2);
  drain_in("conf.d/c", 3);
  EXPECT_EQ(drain_and_origin(), "\"1500ms\" default");
}

TEST_F(ConfigSources, AFileThatIsNamedTakesTheFoldersPlaceAndMustExist) {
  drain_in("hearth.toml", 1);
  drain_in("conf.d/a.toml", 2);
  drain_in("mine", 3);
  sources.file = folder + "/mine";
  EXPECT_EQ(drain_and_origin(), "\"3s\" " + folder + "/mine:2");
  sources.file = folder + "/none";
  EXPECT_EQ(problems(), Texts{folder + "/none: cannot be read: No such file or directory"});
}

TEST_F(ConfigSources, WhatIsNoFileOrTooLargeIsRefusedAndNeverWaitedFor) {
  write("x", "");
  std::filesystem::create_directories(folder + "/conf.d/a.toml");
  ASSERT_EQ(mkfifo((folder + "/conf.d/b.toml").c_str(), 0600), 0);
  write("conf.d/c.toml", std::string((1u << 20) + 1, '\n'));
  EXPECT_EQ(problems(), (Texts{folder + "/conf.d/a.toml: is not a regular file",
                               folder + "/conf.d/b.toml: is not a regular file",
                               folder + "/conf.d/c.toml: has more than 1048576 bytes"}));
  for (int i = 0; i < 101; ++i) write("conf.d/" + std::to_string(1000 + i) + ".toml", "");
  EXPECT_EQ(problems().front(), folder + "/conf.d: has more than 100 files");
}

TEST_F(ConfigSources, AFileThatMayNotBeReadIsAProblem) {
  if (geteuid() == 0) GTEST_SKIP() << "root may read everything";
  drain_in("hearth.toml", 1);
  std::filesystem::permissions(folder + "/hearth.toml", std::filesystem::perms::none);
  EXPECT_EQ(problems(), Texts{folder + "/hearth.toml: cannot be read: Permission denied"});
}

TEST_F(ConfigSources, AllProblemsOfAllSourcesAreToldAtOnce) {
  write("hearth.toml", "[server]\ndrain = true\n");
  write("conf.d/a.toml", "[server\n");
  write("conf.d/b.toml", "[model.q]\npin = true\n");
  sources.environment = {{"HEARTH_SERVER_DRIAN", "1"}, {"HEARTH_LOG_LEVEL", "loud"}};
  sources.arguments = {{"engine.slots", "--slots", "0"}, {"model.a=b.path", "--model", "/x"}};
  const Texts found = problems();
  ASSERT_EQ(found.size(), 7u);
  EXPECT_EQ(
      found[0],
      folder + "/hearth.toml:2:9: server.drain takes a duration such as 45s, not true or false");
  EXPECT_TRUE(found[1].starts_with(folder + "/conf.d/a.toml:1:")) << found[1];
  EXPECT_EQ(found[2],
            "HEARTH_SERVER_DRIAN: no setting has this variable; did you mean HEARTH_SERVER_DRAIN?");
  EXPECT_EQ(found[3],
            "HEARTH_LOG_LEVEL: log.level takes one of debug, info, warning, error, not 'loud'");
  EXPECT_EQ(found[4], "--slots: engine.slots is 0, which is not from 1 to 16");
  EXPECT_EQ(found[5], "--model: a model's name has 1 to 128 printable bytes and no = in it");
  EXPECT_EQ(found[6], folder + "/conf.d/b.toml:2: model.q.pin needs model.q.path");
}

TEST_F(ConfigSources, ProblemsAreBounded) {
  std::string text;
  for (int i = 0; i < 1000; ++i) text += "x" + std::to_string(i) + " = 1\n";
  write("hearth.toml", text);
  EXPECT_EQ(problems().size(), kMostProblems);
}

TEST_F(ConfigSources, AGroupIsFoundByNameAndByNumber) {
  sources.arguments = {{"server.admin_group", "--admin-group", "root"}};
  EXPECT_EQ(load(sources).admin_group, 0u);
  sources.arguments = {{"server.admin_group", "--admin-group", "4711"}};
  EXPECT_EQ(load(sources).admin_group, 4711u);
  sources.arguments = {{"server.admin_group", "--admin-group", ""}};
  EXPECT_FALSE(load(sources).admin_group);
  sources.arguments = {{"server.admin_group", "--admin-group", "no-such-group"}};
  EXPECT_EQ(problems().size(), 1u);
}

TEST_F(ConfigSources, WhatNeedsARestartStaysAsItRunsAndTheRestCounts) {
  write("hearth.toml", "[server]\ndrain = 9\nheartbeat = 3\n[model.a]\npath = \"/a\"\n");
  const Settings running;
  const Settings next = load(sources).settings;
  const Settings after = with_live(running, next);
  EXPECT_EQ(after.duration("server.drain").count(), 9'000);
  EXPECT_EQ(after.duration("server.heartbeat"), running.duration("server.heartbeat"));
  EXPECT_TRUE(after.models().empty());
  Texts keys;
  for (const Change& change : changes(after, next)) {
    keys.push_back(change.key + " " + change.before + " " + change.after);
    EXPECT_EQ(change.takes_effect, TakesEffect::kRestart);
  }
  EXPECT_EQ(keys, (Texts{"server.heartbeat \"10s\" \"3s\"", "model.a.path  \"/a\""}));
  EXPECT_EQ(changes(next, running).back().after, "");  // what is no longer said
}

TEST(ConfigFolder, IsSystemdsOrTheUsersOrTheSystems) {
  const auto with = [](const char* name, const char* value) {
    value == nullptr ? unsetenv(name) : setenv(name, value, 1);
  };
  with("CONFIGURATION_DIRECTORY", "/a:/b");
  with("XDG_RUNTIME_DIR", "/run/user/1");
  with("XDG_CONFIG_HOME", "/c");
  with("HOME", "/h");
  EXPECT_EQ(default_folder(), "/a");
  with("CONFIGURATION_DIRECTORY", nullptr);
  EXPECT_EQ(default_folder(), "/c/hearth");
  with("XDG_CONFIG_HOME", nullptr);
  EXPECT_EQ(default_folder(), "/h/.config/hearth");
  with("XDG_RUNTIME_DIR", nullptr);
  EXPECT_EQ(default_folder(), "/etc/hearth");
}

}  // namespace
}  // namespace hearth::config
