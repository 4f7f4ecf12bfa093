// Rows of a prefill sorted by the experts they have chosen.
#include <gtest/gtest.h>

#include "models/torch/expert_groups.h"

namespace hearth::engine {
namespace {

TEST(ExpertGroups, HoldEveryChoiceOnceByExpertThenByRow) {
  const auto memory = decoder::host_memory(*hearth_kernels_cpu());
  auto groups = ExpertGroups::create(*memory, 8);
  ASSERT_TRUE(groups);
  // Four rows, two choices each; of six experts 1 and 4 are wanted by nobody.
  const std::vector<std::int32_t> chosen = {5, 0, 2, 5, 0, 3, 5, 2};
  ASSERT_TRUE(groups->sort(chosen.data(), 4, 2, 6));
  std::vector<std::int32_t> experts;
  std::int64_t next = 0;
  for (const ExpertGroups::Group& group : groups->groups()) {
    experts.push_back(group.expert);
    EXPECT_EQ(group.first, next);
    next += group.count;
  }
  EXPECT_EQ(next, 8);
  EXPECT_EQ(experts, (std::vector<std::int32_t>{0, 2, 3, 5}));
  const std::vector<std::int32_t> rows(groups->row(), groups->row() + 8);
  EXPECT_EQ(rows, (std::vector<std::int32_t>{0, 2, 1, 3, 2, 0, 1, 3}));
  for (std::size_t i = 0; i < chosen.size(); ++i)
    EXPECT_EQ(rows[static_cast<std::size_t>(groups->place()[i])], static_cast<std::int32_t>(i / 2));
}

TEST(ExpertGroups, OfOneChunkAreForgottenByTheNext) {
  const auto memory = decoder::host_memory(*hearth_kernels_cpu());
  auto groups = ExpertGroups::create(*memory, 8);
  ASSERT_TRUE(groups);
  const std::vector<std::int32_t> many = {0, 1, 2, 3, 0, 1, 2, 3}, few = {3, 3};
  ASSERT_TRUE(groups->sort(many.data(), 4, 2, 4));
  ASSERT_TRUE(groups->sort(few.data(), 2, 1, 4));
  ASSERT_EQ(groups->groups().size(), 1U);
  EXPECT_EQ(groups->groups()[0].expert, 3);
  EXPECT_EQ(groups->groups()[0].count, 2);
}

}  // namespace
}  // namespace hearth::engine
