#include <random>

#include <gtest/gtest.h>

#include "models/files/safetensors.h"
#include "tests/unit/model_files_for_test.h"
#include "tests/unit/safetensors_for_test.h"

namespace hearth::files {
namespace {

using models::file_with;

constexpr std::string_view kHeader =
    R"({"__metadata__":{"format":"pt"},)"
    R"("b":{"dtype":"BF16","shape":[4],"data_offsets":[24,32]},)"
    R"("a":{"dtype":"F32","shape":[2,3],"data_offsets":[0,24]},)"
    R"("empty":{"dtype":"I64","shape":[0,7],"data_offsets":[32,32]}})";
constexpr std::size_t kDataBytes = 32;

Result<SafetensorsHeader> read(std::string_view content) {
  return read_safetensors_header(file_with("x.safetensors", content));
}

TEST(Safetensors, ListsTensorsByTheirPlaceInTheFile) {
  const auto header = read(safetensors(kHeader, kDataBytes));
  ASSERT_TRUE(header) << header.error().what;
  ASSERT_EQ(header->tensors.size(), 3U);
  EXPECT_EQ(header->tensors[0].name, "a");
  EXPECT_EQ(header->tensors[0].dtype, DType::kF32);
  EXPECT_EQ(header->tensors[0].shape, (std::vector<std::int64_t>{2, 3}));
  EXPECT_EQ(header->tensors[0].offset, 8 + kHeader.size());
  EXPECT_EQ(header->tensors[1].nbytes, 8U);
  EXPECT_EQ(header->tensors[2].nbytes, 0U);
  EXPECT_EQ(header->metadata.at("format"), "pt");
}

TEST(Safetensors, RefusesEveryTruncation) {
  const auto whole = safetensors(kHeader, kDataBytes);
  for (std::size_t bytes = 0; bytes < whole.size(); ++bytes) {
    const auto header = read(std::string_view(whole).substr(0, bytes));
    ASSERT_FALSE(header) << bytes << " bytes";
    EXPECT_EQ(header.error().code, Code::kBadModel);
    EXPECT_NE(header.error().what.find("x.safetensors"), std::string::npos) << header.error().what;
  }
}

struct Wrong {
  std::string_view header;
  Code code;
  std::string_view says;
};

void PrintTo(const Wrong& wrong, std::ostream* out) {
  *out << wrong.header;
}

class WrongHeader : public testing::TestWithParam<Wrong> {};

TEST_P(WrongHeader, IsRefusedAndNamed) {
  const auto header = read(safetensors(GetParam().header, 8));
  ASSERT_FALSE(header);
  EXPECT_EQ(header.error().code, GetParam().code);
  EXPECT_NE(header.error().what.find(GetParam().says), std::string::npos) << header.error().what;
}

INSTANTIATE_TEST_SUITE_P(
    Safetensors, WrongHeader,
    testing::Values(
        Wrong{R"([])", Code::kBadModel, "object"}, Wrong{R"({)", Code::kBadModel, "JSON"},
        Wrong{R"({"a":1})", Code::kBadModel, "a.dtype is missing"},
        Wrong{R"({"a":{"dtype":"F32","shape":[2]}})", Code::kBadModel, "data_offsets is missing"},
        Wrong{R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[0,9]}})", Code::kBadModel,
              "ends at byte 9"},
        Wrong{R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[8,0]}})", Code::kBadModel,
              "begin and an end"},
        Wrong{R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[-8,0]}})", Code::kBadModel,
              "data_offsets[0]"},
        Wrong{R"({"a":{"dtype":"F32","shape":[3],"data_offsets":[0,8]}})", Code::kBadModel,
              "shape and type"},
        Wrong{R"({"a":{"dtype":"F32","shape":[-2],"data_offsets":[0,8]}})", Code::kBadModel,
              "shape[0]"},
        Wrong{R"({"a":{"dtype":"F32","shape":[2.5],"data_offsets":[0,8]}})", Code::kBadModel,
              "integer"},
        Wrong{R"({"a":{"dtype":"F32","shape":[4611686018427387904,4611686018427387904],)"
              R"("data_offsets":[0,0]}})",
              Code::kBadModel, "shape and type"},
        Wrong{R"({"a":{"dtype":"U8","shape":[18446744073709551615],"data_offsets":[0,8]}})",
              Code::kBadModel, "integer"},
        Wrong{R"({"a":{"dtype":"U8","shape":[1,1,1,1,1,1,1,1,8],"data_offsets":[0,8]}})",
              Code::kBadModel, "dimensions"},
        Wrong{R"({"a":{"dtype":"F8_E8M0","shape":[8],"data_offsets":[0,8]}})", Code::kUnsupported,
              "F8_E8M0"},
        Wrong{R"({"a":{"dtype":"U8","shape":[4],"data_offsets":[0,4]},)"
              R"("a":{"dtype":"U8","shape":[4],"data_offsets":[4,8]}})",
              Code::kBadModel, "twice"},
        Wrong{R"({"a":{"dtype":"U8","shape":[5],"data_offsets":[0,5]},)"
              R"("b":{"dtype":"U8","shape":[4],"data_offsets":[4,8]}})",
              Code::kBadModel, "begins at byte"},
        Wrong{R"({"a":{"dtype":"U8","shape":[3],"data_offsets":[0,3]},)"
              R"("b":{"dtype":"U8","shape":[4],"data_offsets":[4,8]}})",
              Code::kBadModel, "begins at byte"},
        Wrong{R"({"a":{"dtype":"U8","shape":[7],"data_offsets":[0,7]}})", Code::kBadModel,
              "its tensors end"},
        Wrong{R"({"__metadata__":{"a":1}})", Code::kBadModel, "string"},
        Wrong{R"({"a":{"dtype":{"b":{"c":{"d":1}}}}})", Code::kBadModel, "nested"}));

TEST(Safetensors, RefusesAHeaderOfMoreThan16MiB) {
  auto file = safetensors("{}", 0);
  file[3] = 2;  // 32 MiB
  const auto header = read(file);
  ASSERT_FALSE(header);
  EXPECT_NE(header.error().what.find("33554434"), std::string::npos) << header.error().what;
}

// Whatever a header says, nothing may crash, and what is accepted must lie inside the file.
TEST(Safetensors, AcceptsNothingOutsideTheFileAfterRandomChanges) {
  const auto seed = std::random_device{}();
  RecordProperty("seed", static_cast<int>(seed));
  SCOPED_TRACE(testing::Message() << "seed " << seed);
  std::mt19937 random(seed);
  const std::string_view alphabet = "{}[]\",:0123456789-.eEabF32\\u\x80";
  const auto whole = safetensors(kHeader, kDataBytes);
  for (int round = 0; round < 3000; ++round) {
    auto changed = whole;
    for (auto times = random() % 4 + 1; times > 0; --times)
      changed[random() % (8 + kHeader.size())] = alphabet[random() % alphabet.size()];
    const auto header = read(changed);
    if (!header) continue;
    for (const auto& tensor : header->tensors)
      ASSERT_LE(tensor.offset + tensor.nbytes, changed.size());
  }
}

}  // namespace
}  // namespace hearth::files
