// Reading TOML: what is right counts, and every mistake is told with its place.
#include <random>

#include <gtest/gtest.h>

#include "daemon/config/toml_file.h"

namespace hearth::config {
namespace {

std::vector<std::string> problems_of(std::string_view text, Settings* read = nullptr) {
  Settings settings;
  std::vector<Problem> problems;
  read_toml(text, "f", settings, problems);
  if (read != nullptr) *read = settings;
  std::vector<std::string> texts;
  for (const Problem& problem : problems) texts.push_back(text_of(problem));
  return texts;
}

using Texts = std::vector<std::string>;

TEST(ConfigToml, ValuesOfEveryTypeAreRead) {
  Settings settings;
  EXPECT_EQ(problems_of(R"([server]
drain = "45s"
heartbeat = 2.5
admins = [1000, 1001]
socket = "/run/a b.sock"
[engine]
slots = 4
memory = "20GiB"
device = "cpu"
[cache]
results = 1048576
[log]
prompts = true
[quota.uid.1001]
memory = "4GiB"
[model."my model.v2"]
path = "/models/a"
dtype = "int8"
pin = true
)",
                        &settings),
            Texts{});
  EXPECT_EQ(settings.duration("server.drain").count(), 45'000);
  EXPECT_EQ(settings.duration("server.heartbeat").count(), 2'500);
  EXPECT_EQ(settings.users("server.admins"), (std::vector<std::uint32_t>{1000, 1001}));
  EXPECT_EQ(settings.text("server.socket"), "/run/a b.sock");
  EXPECT_EQ(settings.integer("engine.slots"), 4u);
  EXPECT_EQ(settings.size_or_auto("engine.memory"), 20ull << 30);
  EXPECT_EQ(settings.choice("engine.device"), "cpu");
  EXPECT_EQ(settings.size("cache.results"), 1048576u);
  EXPECT_TRUE(settings.flag("log.prompts"));
  ASSERT_EQ(settings.user_quotas().size(), 1u);
  EXPECT_EQ(settings.user_quotas()[0].user, 1001u);
  EXPECT_EQ(settings.user_quotas()[0].memory_bytes, 4ull << 30);
  EXPECT_FALSE(settings.user_quotas()[0].connections);
  ASSERT_EQ(settings.models().size(), 1u);
  EXPECT_EQ(settings.models()[0].name, "my model.v2");
  EXPECT_EQ(settings.models()[0].dtype, "int8");
  EXPECT_TRUE(settings.models()[0].pin);
  EXPECT_EQ(settings.find("server.heartbeat")->origin, "f:3");
}

TEST(ConfigToml, EveryMistakeIsToldInTheOrderOfTheFile) {
  EXPECT_EQ(problems_of(R"([server]
drian = "4s"
drain = "soon"
heartbeat = "2h"
allowed_users = ["root"]
admins = [-1]
socket = 5
[engine]
threads = 2000
slots = "8"
device = "gpu"
fake = 1
memory = -5
log = 1
[server.socket_mode]
a = 1
[quota.uid.me]
arenas = 3
[quota.default]
connections = 1.5
[model.""]
path = "/x"
[cache]
results = [1]
)"),
            (Texts{
                "f:2:1: there is no setting server.drian; did you mean server.drain?",
                "f:3:9: server.drain takes a duration such as 45s, not 'soon'",
                "f:4:13: server.heartbeat is \"2h\", which is not from 0s to 1h",
                "f:5:17: server.allowed_users takes user ids, which are numbers, not a text",
                "f:6:10: server.admins has -1, which is no user id",
                "f:7:10: server.socket takes a text, not a whole number",
                "f:9:11: engine.threads is 2000, which is not from 0 to 1024",
                "f:10:9: engine.slots takes a whole number, not a text",
                "f:11:10: engine.device takes one of auto, cpu, cuda, not 'gpu'",
                "f:12:8: engine.fake takes true or false, not a whole number",
                "f:13:10: engine.memory takes a size such as 20GiB, or auto, not '-5'",
                "f:14:1: there is no setting engine.log",
                "f:15:9: there is no setting server.socket_mode",
                "f:18:1: quota.uid.me.arenas: a user id is a number such as 1001",
                "f:20:15: quota.default.connections takes a whole number, not a number with "
                "decimals",
                "f:22:1: model..path: a model's name has 1 to 128 printable bytes and no = in it",
                "f:24:11: cache.results takes a size such as 20GiB, not a list",
            }));
}

TEST(ConfigToml, ASectionThatIsNoTableIsTold) {
  EXPECT_EQ(problems_of("server = 4\n"), Texts{"f:1:10: server is a section, not a whole number"});
  EXPECT_EQ(problems_of("[[server]]\ndrain = 1\n"),
            Texts{"f:1:1: server is a section, not a list"});
  EXPECT_EQ(problems_of("[server.drain]\nx = 1\n"),
            Texts{"f:1:1: server.drain takes a duration such as 45s, not a table"});
}

TEST(ConfigToml, TextThatIsNoTomlHasOneProblemWithItsPlace) {
  for (const char* text : {"[server\ndrain = 1", "a = = 1", "drain", "a = \"\n", "a = 1\na = 2\n",
                           "[a]\n[a]\n", "a = \"\xff\"", "a = 2026-13-01"}) {
    const Texts problems = problems_of(text);
    ASSERT_EQ(problems.size(), 1u) << text;
    EXPECT_TRUE(problems[0].starts_with("f:1:") || problems[0].starts_with("f:2:")) << problems[0];
    EXPECT_NE(problems[0].find("this is not TOML"), std::string::npos) << problems[0];
  }
}

TEST(ConfigToml, TextsAreBoundedAndPrintable) {
  EXPECT_EQ(problems_of("[metrics]\nfile = \"a\\u0007\"\n"),
            Texts{"f:2:8: metrics.file has characters that cannot be printed, or is not UTF-8"});
  EXPECT_EQ(problems_of("[metrics]\nfile = \"" + std::string(5000, 'a') + "\"\n"),
            Texts{"f:2:8: metrics.file has 5000 bytes, over 2000"});
}

TEST(ConfigToml, BordersAreAllowedAndWhatIsBeyondIsNot) {
  const auto is_right = [](const std::string& text) { return problems_of(text).empty(); };
  for (const char* right :
       {"slots = 1", "slots = 16", "restart_pause = '100ms'", "restart_pause = '1h'", "memory = 0"})
    EXPECT_TRUE(is_right(std::string("[engine]\n") + right)) << right;
  for (const char* wrong : {"slots = 0", "slots = 17", "restart_pause = '99ms'",
                            "restart_pause = 3601", "memory = -1", "slots = 99999999999999999999"})
    EXPECT_FALSE(is_right(std::string("[engine]\n") + wrong)) << wrong;
  EXPECT_TRUE(is_right("[model." + std::string(128, 'a') + "]\npath = '/x'"));
  EXPECT_FALSE(is_right("[model." + std::string(129, 'a') + "]\npath = '/x'"));
  EXPECT_FALSE(is_right("[model.'a=b']\npath = '/x'"));
  EXPECT_TRUE(is_right("[quota.uid.7]\narenas = 1"));
  EXPECT_FALSE(is_right("[quota.uid.07]\narenas = 1"));
  EXPECT_TRUE(is_right("[quota.uid.4294967294]\narenas = 1"));
  EXPECT_FALSE(is_right("[quota.uid.4294967295]\narenas = 1"));
}

TEST(ConfigToml, KeysOfManyPartsAreReadOrRefusedWithoutHarm) {
  std::string deep = "a";
  while (deep.size() < 8000) deep += ".a";
  EXPECT_EQ(problems_of(deep + " = 1\n").size(), 1u);
  EXPECT_EQ(problems_of("[" + deep + "]\n").size(), 1u);
  EXPECT_EQ(problems_of("\n" + deep + deep + " = 1\n"),
            Texts{"f:2:1: the line has more than 8192 bytes"});
  EXPECT_EQ(problems_of("a = " + std::string(5000, '[')).size(), 1u);
}

TEST(ConfigToml, WhatIsRightCountsBesideWhatIsWrong) {
  Settings settings;
  EXPECT_EQ(problems_of("[server]\ndrain = 3\nheartbeat = 'x'\n", &settings).size(), 1u);
  EXPECT_EQ(settings.duration("server.drain").count(), 3'000);
  EXPECT_EQ(settings.find("server.heartbeat")->origin, "default");
}

// Bytes of a file that was damaged: read or refused, but never anything else.
TEST(ConfigToml, DamagedTextsAreReadOrRefused) {
  constexpr unsigned kSeed = 4;
  std::mt19937 random(kSeed);
  const std::string good =
      "[server]\ndrain = \"45s\"\nadmins = [1, 2]\n[model.\"a\"]\npath = \"/m\"\n"
      "[quota.uid.7]\narenas = 3\n[log]\nlevel = \"debug\"\n";
  for (int i = 0; i < 5000; ++i) {
    std::string text = good;
    for (unsigned n = random() % 6 + 1; n > 0; --n) {
      const std::size_t at = random() % text.size();
      if (random() % 2 == 0) {
        text[at] = static_cast<char>(random() % 256);
      } else {
        text.erase(at, random() % 4);
      }
      if (text.empty()) break;
    }
    Settings settings;
    problems_of(text, &settings);
    for (const auto& [key, setting] : settings.all())
      ASSERT_NE(find_row(key), nullptr) << "seed " << kSeed << ", " << i << ": " << key;
    settings.models();
    settings.user_quotas();
  }
}

}  // namespace
}  // namespace hearth::config
