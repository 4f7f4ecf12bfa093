// The declared table, its document, and the text that is made of numbers.

#include <fstream>
#include <sstream>

#include <fmt/format.h>
#include <gtest/gtest.h>

#include "daemon/broker/metrics.h"

namespace hearth::broker {
namespace {

std::string contents(const std::string& path) {
  std::ifstream file(path);
  std::ostringstream text;
  text << file.rdbuf();
  return text.str();
}

std::string document_line(const MetricRow& row) {
  std::string labels(row.labels);
  for (std::size_t at = 0; (at = labels.find(' ', at)) != std::string::npos; at += 2)
    labels.replace(at, 1, ", ");
  return fmt::format("| `{}` | {} | {} | {} |", row.name, name_of(row.type), labels, row.help);
}

TEST(MetricTableTest, IsInOrderAndItsNamesFollowTheRules) {
  std::size_t i = 0;
  for (const MetricRow& row : metric_table()) {
    EXPECT_EQ(static_cast<std::size_t>(row.metric), i++) << row.name;
    EXPECT_TRUE(row.name.starts_with("hearth_")) << row.name;
    EXPECT_EQ(row.type == MetricType::kCounter, row.name.ends_with("_total")) << row.name;
    EXPECT_EQ(row.type == MetricType::kHistogram, !row.buckets.empty()) << row.name;
    for (std::size_t n = 1; n < row.buckets.size(); ++n)
      EXPECT_LT(row.buckets[n - 1], row.buckets[n]) << row.name;
  }
}

TEST(MetricTableTest, IsWhatTheDocumentSays) {
  const std::string document = contents(HEARTH_SOURCE_DIR "/docs/metrics.md");
  std::size_t rows = 0;
  for (const MetricRow& row : metric_table())
    EXPECT_NE(document.find(document_line(row)), std::string::npos)
        << "docs/metrics.md lacks the line\n"
        << document_line(row);
  for (std::size_t at = 0; (at = document.find("\n| `hearth_", at)) != std::string::npos; ++at)
    ++rows;
  EXPECT_EQ(rows, metric_table().size()) << "docs/metrics.md lists a metric that there is not";
}

TEST(MetricSetTest, CountersAndGaugesAreLines) {
  MetricSet set;
  set.add(Metric::kLoopStalls);
  set.add(Metric::kLoopStalls, {}, 2);
  set.set(Metric::kQueueDepth, {"batch"}, 4);
  set.set(Metric::kQueueDepth, {"batch"}, 3);
  const std::string text = exposition(set);
  EXPECT_NE(text.find("# TYPE hearth_loop_stalls_total counter\nhearth_loop_stalls_total 3\n"),
            std::string::npos)
      << text;
  EXPECT_NE(text.find("\nhearth_queue_depth{class=\"batch\"} 3\n"), std::string::npos) << text;
  EXPECT_EQ(text.find("hearth_slots"), std::string::npos) << "it has no sample";
}

TEST(MetricSetTest, AHistogramsBucketsAreCumulativeAndEndWithAll) {
  MetricSet set;
  for (const double seconds : {0.0005, 0.001, 0.004, 99.0})
    set.observe(Metric::kTokenGapSeconds, {}, seconds);
  const std::string text = exposition(set);
  EXPECT_NE(text.find("_bucket{le=\"0.001\"} 2\n"), std::string::npos) << text;
  EXPECT_NE(text.find("_bucket{le=\"0.005\"} 3\n"), std::string::npos) << text;
  EXPECT_NE(text.find("_bucket{le=\"2\"} 3\n"), std::string::npos) << text;
  EXPECT_NE(text.find("_bucket{le=\"+Inf\"} 4\n"), std::string::npos) << text;
  EXPECT_NE(text.find("_sum 99.0055\n"), std::string::npos) << text;
  EXPECT_NE(text.find("_count 4\n"), std::string::npos) << text;
}

TEST(MetricSetTest, ValuesOfLabelsAreEscaped) {
  MetricSet set;
  set.set(Metric::kModels, {"a\"b\\c\nd\xFF"}, 1);
  EXPECT_NE(exposition(set).find("{state=\"a\\\"b\\\\c\\nd\xEF\xBF\xBD\"} 1\n"), std::string::npos)
      << exposition(set);
}

TEST(MetricSetTest, NobodyMakesItGrowWithoutEnd) {
  MetricSet set;
  for (int i = 0; i < 10'000; ++i) set.add(Metric::kConnections, {std::to_string(i)});
  EXPECT_EQ(set.series(Metric::kConnections).size(), MetricSet::kMostSeries + 1);
  EXPECT_EQ(set.series(Metric::kConnections).at({"other"}).value,
            10'000 - static_cast<double>(MetricSet::kMostSeries));
}

TEST(LabelWordsTest, ThereAre64AndThenOthers) {
  LabelWords words;
  for (int i = 0; i < 64; ++i)
    EXPECT_EQ(words.label_of("model " + std::to_string(i)), "model " + std::to_string(i));
  EXPECT_EQ(words.label_of("one more"), "other");
  EXPECT_EQ(words.label_of("model 3"), "model 3");
}

TEST(LabelWordsTest, LongOnesAreCutBeforeACharacter) {
  LabelWords words;
  const std::string long_name(63, 'x');
  EXPECT_EQ(words.label_of(long_name + "\xC3\xA9"), long_name);
}

}  // namespace
}  // namespace hearth::broker
