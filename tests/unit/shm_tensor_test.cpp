#include <limits>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "shm/contract/fields.h"
#include "shm/tensor.h"

namespace hearth {
namespace {

using Shape = std::vector<std::int64_t>;

constexpr std::uint64_t kMaxU64 = std::numeric_limits<std::uint64_t>::max();
constexpr std::int64_t kMaxDim = 2147483647;
constexpr std::uint64_t kArenaBytes = 8192;

contract::Tensor tensor(Shape shape, std::uint64_t nbytes, std::uint64_t offset = 4096,
                        std::string dtype = "u8") {
  contract::Tensor made;
  made.arena = 1;
  made.offset = offset;
  made.nbytes = nbytes;
  made.dtype = std::move(dtype);
  made.shape = std::move(shape);
  return made;
}

struct Row {
  const char* rule;
  contract::Tensor claim;
  const char* problem;  // how the error begins; null: fits
};

// One row or more for each check of a descriptor, with the values around each limit.
const Row kRows[] = {
    {"fits", tensor({8, 8, 3}, 192), nullptr},
    {"fills the arena", tensor({4096}, 4096), nullptr},
    {"a scalar has rank 0", tensor({}, 4, 4096, "f32"), nullptr},
    {"empty", tensor({4, 0, 3}, 0), nullptr},
    {"empty at the arena's end", tensor({0}, 0, 8192), nullptr},
    {"empty although the other dims overflow", tensor({kMaxDim, kMaxDim, kMaxDim, 0}, 0), nullptr},
    {"largest dims", tensor({1, 1, 1, 1, 1, 1, 1, 1}, 1), nullptr},
    {"rank 9", tensor({1, 1, 1, 1, 1, 1, 1, 1, 1}, 1), "tensor.shape: has 9 dimensions"},
    {"negative dim", tensor({-1}, 1), "tensor.shape: [-1] has a dimension outside"},
    {"lowest dim", tensor({std::numeric_limits<std::int64_t>::min()}, 0), "tensor.shape"},
    {"dim of 2^31", tensor({kMaxDim + 1}, 0), "tensor.shape: [2147483648] has a dimension"},
    {"negative beside zero", tensor({0, -1}, 0), "tensor.shape"},
    {"two negatives", tensor({-2, -2}, 4), "tensor.shape"},
    {"product over 2^64", tensor({kMaxDim, kMaxDim, 8}, 0), "tensor.shape: [2147483647, 21"},
    {"product is 2^64, so 0", tensor({1 << 30, 1 << 30, 16}, 0), "tensor.shape"},
    {"product over 2^64 by the item size", tensor({1 << 30, 1 << 30, 4}, 0, 4096, "i64"),
     "tensor.shape"},
    {"product just fits 2^64", tensor({kMaxDim, kMaxDim, 4}, 4), "tensor.nbytes"},
    {"unknown dtype", tensor({1}, 1, 4096, "u9"), "tensor.dtype: unknown type \"u9\""},
    {"no dtype", tensor({1}, 1, 4096, ""), "tensor.dtype"},
    {"nbytes too small", tensor({4}, 3), "tensor.nbytes: is 3, but u8 [4] has 4"},
    {"nbytes too large", tensor({4}, 5), "tensor.nbytes"},
    {"nbytes without item size", tensor({4}, 4, 4096, "f16"), "tensor.nbytes: is 4, but f16"},
    {"nbytes of an empty tensor", tensor({0}, 1), "tensor.nbytes"},
    {"offset not aligned", tensor({1}, 1, 4097), "tensor.offset: 4097 is no multiple of 64"},
    {"offset aligned to 32 only", tensor({1}, 1, 4128), "tensor.offset"},
    {"offset in the reserved page", tensor({1}, 1, 4032), "tensor.offset: 4032 lies in"},
    {"offset 0", tensor({1}, 1, 0), "tensor.offset"},
    {"one byte beyond the end", tensor({4097}, 4097), "tensor.nbytes: 4097 bytes at 4096 reach"},
    {"begins at the end", tensor({1}, 1, 8192), "tensor.nbytes"},
    {"larger than the arena", tensor({8193}, 8193), "tensor.nbytes"},
    {"offset near 2^64", tensor({64}, 64, kMaxU64 - 63), "tensor.nbytes"},
    {"offset plus nbytes wraps", tensor({128}, 128, kMaxU64 - 63), "tensor.nbytes"},
    {"empty beyond the end", tensor({0}, 0, 8256), "tensor.nbytes"},
};

TEST(Descriptor, EachRuleIsChecked) {
  for (const Row& row : kRows) {
    SCOPED_TRACE(row.rule);
    const auto result = check_descriptor(row.claim, kArenaBytes);
    if (row.problem == nullptr) {
      EXPECT_TRUE(result) << result.error().what;
      continue;
    }
    ASSERT_FALSE(result);
    EXPECT_EQ(result.error().code, Code::kBadTensor);
    EXPECT_EQ(result.error().what.find(row.problem), 0u) << result.error().what;
  }
}

TEST(Descriptor, ViewsAreGivenExactlyWhenTheDescriptorFits) {
  const std::vector<std::byte> arena(kArenaBytes);
  for (const Row& row : kRows) {
    SCOPED_TRACE(row.rule);
    const auto view = checked_view(row.claim, arena);
    ASSERT_EQ(static_cast<bool>(view), row.problem == nullptr);
    if (!view) continue;
    EXPECT_EQ(view->bytes.size(), row.claim.nbytes);
    EXPECT_EQ(view->shape, row.claim.shape);
    const std::byte* first = row.claim.nbytes > 0 ? arena.data() + row.claim.offset : nullptr;
    EXPECT_EQ(view->bytes.data(), first);
  }
}

TEST(Descriptor, NoArenaIsTooSmallToBeChecked) {
  EXPECT_FALSE(checked_view(tensor({1}, 1), {}));
  EXPECT_FALSE(check_descriptor(tensor({1}, 1), 0));
  EXPECT_FALSE(check_descriptor(tensor({1}, 1), 4096));
  EXPECT_TRUE(check_descriptor(tensor({1}, 1), 4097));
}

TEST(DType, NamesAreThoseOfTheContract) {
  const std::span names = contract::Fields<contract::Tensor>::dtype_choices;
  std::size_t index = 0;
  for (const std::string_view name : names) {
    const auto dtype = parse_dtype(name);
    ASSERT_TRUE(dtype) << name;
    EXPECT_EQ(name_of(*dtype), name);
    EXPECT_EQ(static_cast<std::size_t>(*dtype), index++);
  }
  EXPECT_EQ(static_cast<DType>(index - 1), DType::kF8E5M2);
  EXPECT_EQ(parse_dtype("float32"), std::nullopt);
}

TEST(DType, SizesAreBytesOfOneElement) {
  EXPECT_EQ(item_bytes(DType::kU8), 1u);
  EXPECT_EQ(item_bytes(DType::kBool), 1u);
  EXPECT_EQ(item_bytes(DType::kI16), 2u);
  EXPECT_EQ(item_bytes(DType::kBF16), 2u);
  EXPECT_EQ(item_bytes(DType::kF32), 4u);
  EXPECT_EQ(item_bytes(DType::kI64), 8u);
  EXPECT_EQ(item_bytes(DType::kF8E4M3), 1u);
}

}  // namespace
}  // namespace hearth
