// Reading the configuration again: all that takes effect live counts, or nothing.
#include <algorithm>
#include <map>
#include <random>

#include "daemon/broker/settings.h"
#include "tests/unit/broker_for_test.h"

namespace hearth::broker {
namespace {

constexpr uid_t kStranger = 54321;

class BrokerReload : public BrokerTest {
 protected:
  BrokerReload() {
    config::Sources sources;
    sources.folder = folder.path();
    Config config;
    config.sources = std::make_shared<const config::Sources>(sources);
    make_broker(configured(std::move(config), config::Settings()));
    connect(admin, true, geteuid());
  }

  // Asks, and reads the files as the lane would.
  contract::ConfigReport reload(bool apply = true) {
    contract::ReloadConfig message;
    message.apply = apply;
    send(admin, ++request, message);
    off_loop.run_all();
    return admin.answer<contract::ConfigReport>(request);
  }
  void write(const std::string& text) { folder.write("hearth.toml", text); }
  const Config& config() const { return broker->core().config; }

  FakeClient admin;
  std::uint32_t request = 0;
};

TEST_F(BrokerReload, WhatTakesEffectLiveCountsAtOnce) {
  write(R"([server]
drain = "7s"
allowed_users = [0, 1, 2]
admins = [77]
[models]
keep_alive = "5min"
[faults]
decode = "9s"
[quota.default]
arenas = 3
[quota.uid.7]
memory = "2MiB"
)");
  const auto report = reload();
  EXPECT_TRUE(report.applied);
  EXPECT_TRUE(report.problems.empty());
  EXPECT_EQ(report.changes.size(), 7u);
  EXPECT_EQ(config().drain, Milliseconds(7'000));
  EXPECT_EQ(config().allowed_users, (std::vector<uid_t>{0, 1, 2}));
  EXPECT_EQ(config().admins, std::vector<uid_t>{77});
  EXPECT_EQ(config().keep_alive, Milliseconds(300'000));
  EXPECT_EQ(config().silence.decode, Milliseconds(9'000));
  EXPECT_EQ(broker->core().accounts.quota_of(1).arenas, 3u);
  EXPECT_EQ(broker->core().accounts.quota_of(7).arena_bytes, 2u << 20);
  EXPECT_EQ(broker->core().accounts.quota_of(7).arenas, 3u);
  EXPECT_TRUE(reload().changes.empty());
}

TEST_F(BrokerReload, ASmallerQuotaTakesNothingAndGivesNothingMore) {
  const ArenaId arena = grant_arena(admin, ++request, 1 << 20);
  write("[cache]\nresults = 0\n[quota.default]\nmemory = \"1MiB\"\narenas = 1\n");
  EXPECT_TRUE(reload().applied);
  EXPECT_EQ(broker->core().results.use().budget_bytes, 0u);
  contract::ArenaAsk ask;
  ask.nbytes = 65536;
  send(admin, ++request, ask);
  EXPECT_EQ(admin.error_code(request), "busy");
  EXPECT_TRUE(broker->core().clients.at(admin.id).arenas.contains(arena));
}

TEST_F(BrokerReload, WhatNeedsARestartIsReportedEachTimeAndStays) {
  write("[server]\ndrain = 7\n[engine]\nslots = 3\n");
  for (int i = 0; i < 2; ++i) {
    const auto report = reload();
    EXPECT_TRUE(report.applied);
    ASSERT_EQ(report.changes.size(), i == 0 ? 2u : 1u);
    EXPECT_EQ(report.changes.back().key, "engine.slots");
    EXPECT_EQ(report.changes.back().takes_effect, "restart");
    EXPECT_EQ(report.changes.back().before, "8");
    EXPECT_EQ(report.changes.back().after, "3");
  }
  EXPECT_EQ(config().settings.integer("engine.slots"), 8u);
}

TEST_F(BrokerReload, WithAnyProblemNothingChanges) {
  write("[server]\ndrain = 7\nadmins = [1]\n[engine]\nslots = 0\n");
  const auto report = reload();
  EXPECT_FALSE(report.applied);
  EXPECT_TRUE(report.changes.empty());
  ASSERT_EQ(report.problems.size(), 1u);
  EXPECT_EQ(report.problems[0], folder.path() +
                                    "/hearth.toml:5:9: engine.slots is 0, which is not "
                                    "from 1 to 16");
  EXPECT_EQ(config().drain, Config{}.drain);
  EXPECT_TRUE(config().admins.empty());
}

TEST_F(BrokerReload, WithoutApplyItOnlySaysWhatWouldChange) {
  write("[server]\ndrain = 7\n");
  const auto report = reload(false);
  EXPECT_FALSE(report.applied);
  EXPECT_EQ(report.changes.size(), 1u);
  EXPECT_EQ(config().drain, Config{}.drain);
}

TEST_F(BrokerReload, OnlyAdministratorsMayButEverybodyMayLook) {
  FakeClient stranger;
  connect(stranger, true, kStranger);
  send(stranger, 1, contract::ReloadConfig{});
  EXPECT_EQ(stranger.error_code(1), "denied");
  EXPECT_TRUE(off_loop.waiting.empty());
  send(stranger, 2, contract::ShowConfig{});
  EXPECT_FALSE(stranger.answer<contract::ConfigList>(2).values.empty());
}

TEST_F(BrokerReload, ShowsEverySettingWithWhereItWasSaid) {
  write("[server]\ndrain = 7\n[model.a]\npath = \"/a\"\n");
  reload();
  send(admin, ++request, contract::ShowConfig{});
  const auto list = admin.answer<contract::ConfigList>(request);
  EXPECT_EQ(list.values.size(), config().settings.all().size());
  EXPECT_EQ(list.files, std::vector<std::string>{folder.path() + "/hearth.toml"});
  const auto drain = std::find_if(list.values.begin(), list.values.end(),
                                  [](const auto& value) { return value.key == "server.drain"; });
  ASSERT_NE(drain, list.values.end());
  EXPECT_EQ(drain->value, "\"7s\"");
  EXPECT_EQ(drain->usual_value, "\"1500ms\"");
  EXPECT_EQ(drain->origin, folder.path() + "/hearth.toml:2");
  EXPECT_EQ(drain->takes_effect, "live");
}

TEST_F(BrokerReload, MoreSettingsThanAReplyHoldsAreLeftOutOfIt) {
  std::string many;
  for (int i = 0; i < 1'100; ++i) many += "[model.m" + std::to_string(i) + "]\npath = '/m'\n";
  write(many);
  EXPECT_EQ(reload(false).changes.size(), 1'024u);
  std::string long_ones;
  for (int i = 0; i < 500; ++i)
    long_ones += "[model.m" + std::to_string(i) + "]\npath = '" + std::string(1'900, 'a') + "'\n";
  write(long_ones);
  const auto report = reload(false);
  EXPECT_LT(report.changes.size(), 500u);
  EXPECT_GT(report.changes.size(), 300u);

  // As it is shown when the service was started so.
  write(many);
  config::Sources sources;
  sources.folder = folder.path();
  make_broker(configured(Config{}, config::load(sources).settings));
  FakeClient client;
  connect(client, true, geteuid());
  send(client, 1, contract::ShowConfig{});
  EXPECT_EQ(client.answer<contract::ConfigList>(1).values.size(), 1'024u);
}

TEST_F(BrokerReload, PlacesAndPeopleAreShownToAdministratorsOnly) {
  write("[model.secret]\npath = '/home/somebody/model'\n[server]\nadmins = [77]\n");
  config::Sources sources;
  sources.folder = folder.path();
  make_broker(configured(Config{}, config::load(sources).settings));
  FakeClient somebody;
  connect(somebody, true, geteuid() + 1);
  send(somebody, 1, contract::ShowConfig{});
  const auto list = somebody.answer<contract::ConfigList>(1);
  EXPECT_GT(list.values.size(), 10u);
  EXPECT_TRUE(list.files.empty());
  for (const contract::ConfigValue& value : list.values) {
    EXPECT_EQ(value.value.find("somebody"), std::string::npos);
    EXPECT_NE(value.key, "server.admins");
  }
}

TEST_F(BrokerReload, ASecondReloadWaitsForTheFirst) {
  send(admin, 1, contract::ReloadConfig{});
  EXPECT_EQ(off_loop.last_lane, OffLoop::Lane::kOwnFiles) << "no client's file is in its way";
  send(admin, 2, contract::ReloadConfig{});
  EXPECT_EQ(admin.error_code(2), "busy");
  off_loop.run_all();
  EXPECT_TRUE(admin.answer<contract::ConfigReport>(1).applied);
}

TEST_F(BrokerReload, ASignalDuringAReloadIsNotLost) {
  send(admin, ++request, contract::ReloadConfig{});
  OffLoop::Continuation read = off_loop.waiting.front().second();
  off_loop.waiting.pop_front();
  write("[server]\ndrain = 7\n");  // after it was read, before that is known
  broker->reload();
  read();
  EXPECT_NE(config().drain, Milliseconds(7'000));
  off_loop.run_all();
  EXPECT_EQ(config().drain, Milliseconds(7'000));
}

TEST_F(BrokerReload, WhoAskedMayLeaveAndItStillCounts) {
  write("[server]\ndrain = 7\n");
  send(admin, ++request, contract::ReloadConfig{});
  broker->disconnect(admin.id);
  off_loop.run_all();
  EXPECT_EQ(config().drain, Milliseconds(7'000));
}

TEST_F(BrokerReload, FilesThatDoNotAnswerAreGivenUp) {
  send(admin, ++request, contract::ReloadConfig{});
  tick_after(Milliseconds(11'000));
  const auto report = admin.answer<contract::ConfigReport>(request);
  EXPECT_FALSE(report.applied);
  EXPECT_EQ(report.problems.size(), 1u);
  EXPECT_EQ(off_loop.abandoned, 1);
  EXPECT_TRUE(reload().applied);
}

TEST_F(BrokerReload, ALaneThatIsFullRefuses) {
  off_loop.refuses = true;
  send(admin, ++request, contract::ReloadConfig{});
  EXPECT_EQ(admin.error_code(request), "busy");
  broker->reload();
  off_loop.refuses = false;
  EXPECT_TRUE(reload().applied);
}

TEST_F(BrokerReload, AStormOfGoodAndBadFilesIsNeverAppliedInHalves) {
  constexpr unsigned kSeed = 16;
  constexpr int kRounds = 2'000;
  std::mt19937 random(kSeed);
  const auto below = [&](unsigned n) { return static_cast<unsigned>(random() % n); };
  const std::vector<std::string> wrong = {"server.drian = 1",  "server.drain = 'x'",
                                          "engine.slots = 0",  "log.level = 'loud'",
                                          "server = 3",        "= 5",
                                          "model.x.pin = true"};
  std::map<std::string, std::string> usual;
  const config::Settings defaults;
  for (const auto& [key, setting] : defaults.all())
    usual[key] = config::to_toml(*config::find_row(key), setting.value);
  std::map<std::string, std::string> expected = usual;
  int good = 0;
  for (int round = 0; round < kRounds; ++round) {
    std::map<std::string, std::string> said = {
        {"server.drain", "\"" + std::to_string(1 + below(59)) + "s\""},
        {"faults.decode", "\"" + std::to_string(1 + below(59)) + "s\""},
        {"quota.default.arenas", std::to_string(1 + below(99))},
        {"cache.results", "\"" + std::to_string(1 + below(99)) + "MiB\""},
        {"engine.slots", std::to_string(1 + below(16))}};
    std::string text;
    for (auto entry = said.begin(); entry != said.end();) {
      if (below(4) == 0) {
        entry = said.erase(entry);
        continue;
      }
      text += entry->first + " = " + entry->second + "\n";
      ++entry;
    }
    const bool is_wrong = below(2) == 0;
    const bool apply = below(4) != 0;
    if (is_wrong) text += wrong[below(static_cast<unsigned>(wrong.size()))] + "\n";
    write(text);
    const auto report = reload(apply);
    ASSERT_EQ(report.applied, apply && report.problems.empty());
    ASSERT_TRUE(is_wrong || report.problems.empty()) << text;
    if (report.applied) {
      ++good;
      expected = usual;
      for (const auto& [key, value] : said)
        if (key != "engine.slots") expected[key] = value;
    }
    for (const auto& [key, setting] : config().settings.all())
      ASSERT_EQ(config::to_toml(*config::find_row(key), setting.value), expected[key])
          << "seed " << kSeed << ", round " << round << ", " << key;
    ASSERT_EQ(config().drain, config().settings.duration("server.drain"));
    ASSERT_EQ(config().silence.decode, config().settings.duration("faults.decode"));
    ASSERT_EQ(broker->core().accounts.quota_of(5).arenas,
              config().settings.integer("quota.default.arenas"));
    ASSERT_EQ(broker->core().results.use().budget_bytes, config().settings.size("cache.results"));
  }
  EXPECT_GT(good, kRounds / 4);
  EXPECT_LT(good, kRounds / 2);
}

}  // namespace
}  // namespace hearth::broker
