// The table of settings: every row makes sense, and what is written from it is current.
#include <algorithm>
#include <fstream>
#include <random>
#include <set>
#include <sstream>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "daemon/config/amounts.h"
#include "daemon/config/document.h"
#include "daemon/config/nearest.h"
#include "daemon/config/sources.h"
#include "models/kernels/products.h"

namespace hearth::config {
namespace {

std::string read_source(const std::string& name) {
  std::ifstream file(std::string(HEARTH_SOURCE_DIR) + "/" + name);
  std::ostringstream text;
  text << file.rdbuf();
  return text.str();
}

TEST(ConfigTable, EveryDefaultIsOfItsTypeAndInItsRange) {
  for (const Row& row : kTable) {
    if (is_pattern(row)) {
      EXPECT_EQ(row.usual, "") << row.key;
      continue;
    }
    const ValueOrFault read = read_value(row, row.usual);
    EXPECT_EQ(read.fault, "") << row.key;
  }
}

TEST(ConfigTable, NoMoreSlotsAreOfferedThanAStepOfAModelHasRows) {
  const auto is_slots = [](const Row& row) { return row.key == "engine.slots"; };
  EXPECT_EQ(std::ranges::find_if(kTable, is_slots)->most, std::to_string(HEARTH_MAX_ROWS));
}

TEST(ConfigTable, KeysVariablesAndOptionsAreDifferent) {
  std::set<std::string> keys;
  std::set<std::string> variables;
  std::set<std::string> options;
  for (const Row& row : kTable) {
    EXPECT_TRUE(keys.insert(std::string(row.key)).second) << row.key;
    EXPECT_TRUE(variables.insert(variable_of(row.key)).second) << row.key;
    const bool is_other = row.option.empty() || options.insert(std::string(row.option)).second;
    EXPECT_TRUE(is_other) << row.option;
  }
}

TEST(ConfigTable, EveryRowHasASectionAndAHelp) {
  for (const Row& row : kTable) {
    const auto section = std::find_if(kSections.begin(), kSections.end(), [&](const Section& each) {
      return each.name == section_of(row.key);
    });
    EXPECT_NE(section, kSections.end()) << row.key;
    EXPECT_TRUE(row.help.ends_with(".")) << row.key;
    EXPECT_EQ(row.least.empty(), row.most.empty()) << row.key;
    EXPECT_EQ(row.type == Type::kChoice, !row.choices.empty()) << row.key;
  }
}

TEST(ConfigTable, EveryDefaultComesBackFromToml) {
  for (const Row& row : kTable) {
    if (is_pattern(row)) continue;
    const std::string section(section_of(row.key));
    const std::string text = "[" + section + "]\n" + std::string(name_of(row.key)) + " = " +
                             to_toml(row, usual_value(row)) + "\n";
    Settings settings;
    std::vector<Problem> problems;
    settings.set(std::string(row.key),
                 {Users{4711}, "test"});  // of no row's type, or not its value
    read_toml(text, "file", settings, problems);
    EXPECT_TRUE(problems.empty()) << text_of(problems.front());
    EXPECT_EQ(settings.find(row.key)->value, usual_value(row)) << row.key;
    EXPECT_EQ(settings.find(row.key)->origin, "file:2");
  }
}

TEST(ConfigTable, TheDocumentIsCurrent) {
  EXPECT_EQ(read_source("docs/config.md"), document())
      << "hearthd --print-config-doc > docs/config.md writes it";
}

TEST(ConfigTable, TheExampleIsCurrent) {
  EXPECT_EQ(read_source("systemd/hearth.toml"), example_file())
      << "hearthd --print-config-example > systemd/hearth.toml writes it";
}

TEST(ConfigTable, TheExampleWithoutItsCommentSignsSaysTheDefaults) {
  std::istringstream lines(example_file());
  std::string text;
  for (std::string line; std::getline(lines, line);) {
    const bool is_said = line.starts_with("#[") || (line.starts_with("#") && line[1] != ' ');
    if (is_said && line.find("…") == std::string::npos) text += line.substr(1) + "\n";
  }
  Settings settings;
  std::vector<Problem> problems;
  read_toml(text, "example", settings, problems);
  EXPECT_TRUE(problems.empty()) << text_of(problems.front());
  EXPECT_TRUE(changes(Settings(), settings).empty());
  for (const auto& [key, setting] : settings.all()) EXPECT_NE(setting.origin, "default") << key;
}

TEST(ConfigTable, TheSchemaKnowsEverySettingAndNothingElse) {
  const auto schema = nlohmann::json::parse(json_schema());
  for (const Row& row : kTable) {
    const nlohmann::json* table = &schema;
    std::istringstream names{std::string(row.key)};
    for (std::string name; std::getline(names, name, '.');) {
      EXPECT_TRUE(table->at("additionalProperties").is_object() ||
                  table->at("additionalProperties") == false);
      table = name == "*" ? &table->at("additionalProperties") : &table->at("properties").at(name);
    }
    EXPECT_TRUE(table->contains("description")) << row.key;
    EXPECT_EQ(table->contains("default"), !is_pattern(row)) << row.key;
  }
}

TEST(ConfigAmounts, AreReadAsPeopleWriteThem) {
  EXPECT_EQ(read_size("20GiB"), 20ll << 30);
  EXPECT_EQ(read_size("20 gb"), 20ll << 30);
  EXPECT_EQ(read_size("1.5G"), 3ll << 29);
  EXPECT_EQ(read_size("512"), 512);
  EXPECT_EQ(read_size("0"), 0);
  EXPECT_EQ(read_duration("45s"), 45'000);
  EXPECT_EQ(read_duration("45"), 45'000);
  EXPECT_EQ(read_duration("0.3"), 300);
  EXPECT_EQ(read_duration("200ms"), 200);
  EXPECT_EQ(read_duration("10min"), 600'000);
  EXPECT_EQ(read_duration("10m"), 600'000);
  EXPECT_EQ(read_duration("1.5h"), 5'400'000);
  EXPECT_EQ(read_duration("1d"), 86'400'000);
  EXPECT_EQ(read_integer("-12"), -12);
}

TEST(ConfigAmounts, RefuseWhatIsNone) {
  for (const char* text :
       {"", "x", "-1", "1.", ".5", "1..5", "1,5", "GiB", "1 Gi B", "9999999999TiB",
        "99999999999999999999", "1e3", "0x10", "nan", "1GiBs"}) {
    EXPECT_FALSE(read_size(text)) << text;
    EXPECT_FALSE(read_duration(text)) << text;
  }
  for (const char* text : {"", "-", "1.0", "1 ", "9999999999999999999", "--1", "+1"})
    EXPECT_FALSE(read_integer(text)) << text;
}

TEST(ConfigAmounts, ComeBackAsTheyWereWritten) {
  constexpr unsigned kSeed = 20;
  std::mt19937_64 random(kSeed);
  for (int i = 0; i < 2000; ++i) {
    const auto value = static_cast<std::int64_t>(random() >> (random() % 40 + 14));
    EXPECT_EQ(read_size(size_text(value)), value) << "seed " << kSeed;
    EXPECT_EQ(read_duration(duration_text(value)), value) << "seed " << kSeed;
  }
}

TEST(ConfigNearest, FindsSlipsAndNothingElse) {
  const std::vector<std::string> known = {"server.drain", "server.heartbeat", "log.level"};
  EXPECT_EQ(nearest("server.drian", known), "server.drain");
  EXPECT_EQ(nearest("server.heart_beat", known), "server.heartbeat");
  EXPECT_EQ(nearest("log.leve", known), "log.level");
  EXPECT_EQ(nearest("quota.nothing", known), "");
  EXPECT_EQ(nearest("server.run", known), "");
  EXPECT_EQ(nearest(std::string(100'000, 'x'), known), "");
}

}  // namespace
}  // namespace hearth::config
