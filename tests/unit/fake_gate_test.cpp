// The family that hangs and crashes on request is only there when it was asked for.
#include <gtest/gtest.h>

#include "models/model.h"
#include "tests/unit/model_files_for_test.h"

namespace hearth::models {
namespace {

TEST(Families, ThoseForTestsAreNotServedUnlessAskedFor) {
  const ModelFiles files = {file_with("config.json", R"({"model_type": "hearth_fake"})")};
  const auto unasked = detect(files);
  ASSERT_FALSE(unasked);
  EXPECT_EQ(unasked.error().code, Code::kBadModel);
  EXPECT_EQ(unasked.error().what.find("fake,"), std::string::npos) << unasked.error().what;
  serve_test_families();
  const auto asked = detect(files);
  ASSERT_TRUE(asked) << asked.error().what;
  EXPECT_EQ(asked->family, "fake");
}

}  // namespace
}  // namespace hearth::models
