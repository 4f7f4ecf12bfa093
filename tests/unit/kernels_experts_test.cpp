// Mixtures of experts: the choice, the chosen experts' linears and their sum, of every table
// against the plain one.

#include <algorithm>
#include <cmath>
#include <cstring>
#include <ostream>
#include <tuple>

#include "models/kernels/formats.h"
#include "models/kernels/matrices.h"
#include "tests/unit/kernels_for_test.h"

namespace hearth::kernels {
namespace {

constexpr unsigned kSeed = 17;

// --- linears ------------------------------------------------------------------------------------

struct Case {
  HearthFormat format;
  HearthType type;
  HearthEpilogue epilogue;
  std::int64_t rows, experts, each, in_features, out_features;
  bool norm;
  double tolerance;  // relative_error()
};

constexpr const char* kFormatNames[] = {"f32", "bf16", "fp8", "int8", "int4"};

std::ostream& operator<<(std::ostream& out, const Case& c) {
  return out << kFormatNames[c.format] << (c.type == HEARTH_F32 ? " f32" : " bf16")
             << (c.epilogue == HEARTH_SWIGLU ? " swiglu" : " store") << " rows " << c.rows
             << " choose " << c.each << " of " << c.experts << " in " << c.in_features << " out "
             << c.out_features << (c.norm ? " norm" : "");
}

std::int64_t round_up(std::size_t bytes) {
  return static_cast<std::int64_t>(bytes + 63) / 64 * 64;
}

// Data, then scales, of each.
HearthMatrices packed(Memory& memory, const Case& c) {
  const std::size_t bytes = hearth_matrix_bytes(c.format, c.out_features, c.in_features);
  const std::size_t scale_bytes = hearth_scale_bytes(c.format, c.out_features, c.in_features);
  HearthMatrices all{{c.format, c.out_features, c.in_features, nullptr, nullptr},
                     c.experts,
                     round_up(bytes) + round_up(scale_bytes)};
  auto* block =
      static_cast<char*>(memory.allocate(static_cast<std::size_t>(all.stride_bytes * all.count)));
  all.first.data = block;
  all.first.scales = scale_bytes > 0 ? block + round_up(bytes) : nullptr;
  for (std::int64_t e = 0; e < c.experts; ++e) {
    const HearthMatrix matrix = matrix_at(all, e);
    const Floats weights =
        normal_numbers(c.out_features * c.in_features, kSeed + static_cast<unsigned>(e), 0.05f);
    const HearthPack pack{matrix, HEARTH_F32, weights.data(), c.out_features, 0, 1};
    EXPECT_EQ(hearth_pack_begin(&matrix), HEARTH_OK);
    EXPECT_EQ(hearth_pack(&pack), HEARTH_OK);
  }
  return all;
}

// Rows choose neighbours, so that some experts are wanted by several rows and some by none; row 2
// chooses nobody.
std::vector<std::int32_t> choices(const Case& c) {
  std::vector<std::int32_t> chosen;
  for (std::int64_t row = 0; row < c.rows; ++row)
    for (std::int64_t j = 0; j < c.each; ++j)
      chosen.push_back(row == 2 ? -1 : static_cast<std::int32_t>((row * row + j) % c.experts));
  return chosen;
}

constexpr float kUntouched = 55.0f;

HearthExperts make(Memory& memory, const Case& c) {
  const bool swiglu = c.epilogue == HEARTH_SWIGLU;
  const std::int64_t inputs = swiglu ? c.rows : c.rows * c.each;
  const std::int64_t stride = c.in_features + (swiglu ? 8 : 0);
  const Floats untouched(
      static_cast<std::size_t>(c.rows * c.each * c.out_features / (swiglu ? 2 : 1)), kUntouched);
  return {.weight = packed(memory, c),
          .type = c.type,
          .epilogue = c.epilogue,
          .rows = c.rows,
          .each = c.each,
          .chosen = memory.copy(choices(c)),
          .input = memory.numbers(c.type, normal_numbers(inputs * stride, kSeed + 100)),
          .input_stride = stride,
          .norm = c.norm ? memory.copy(normal_numbers(c.in_features, kSeed + 101)) : nullptr,
          .norm_epsilon = 1e-6f,
          .output = memory.numbers(c.type, untouched)};
}

Floats outputs(const HearthExperts& call) {
  return read_numbers(call.type, call.output, call.rows * call.each * output_width(call));
}

class ExpertsTable : public testing::TestWithParam<std::tuple<Implementation, Case>> {};

TEST_P(ExpertsTable, EqualsThePlainLoops) {
  const auto& [implementation, c] = GetParam();
  const auto use = implementation.use();
  HostMemory memory;
  const HearthExperts expected = make(memory, c), tested = make(memory, c);
  ASSERT_EQ(hearth_kernels_ref()->experts(&expected, nullptr), HEARTH_OK);
  const HearthStatus status = implementation.table->experts(&tested, memory.stream());
  HEARTH_SKIP_WITHOUT_DEVICE(status);
  ASSERT_EQ(status, HEARTH_OK);
  memory.wait();
  const Floats got = outputs(tested);
  EXPECT_LT(relative_error(got, outputs(expected)), c.tolerance) << "seed " << kSeed;
  if (c.rows <= 2) return;
  const auto width = static_cast<std::ptrdiff_t>(c.each * output_width(tested));
  EXPECT_TRUE(std::all_of(got.begin() + 2 * width, got.begin() + 3 * width,
                          [](float x) { return x == kUntouched; }));
}

constexpr HearthFormat kF32 = HEARTH_FORMAT_F32, kBf16 = HEARTH_FORMAT_BF16,
                       kFp8 = HEARTH_FORMAT_FP8, kInt8 = HEARTH_FORMAT_INT8,
                       kInt4 = HEARTH_FORMAT_INT4;
constexpr HearthType kWide = HEARTH_F32, kHalf = HEARTH_BF16;
constexpr HearthEpilogue kStore = HEARTH_STORE, kSwiGlu = HEARTH_SWIGLU;

// Bounds as those of the linear. The untouched row makes them looser still.
INSTANTIATE_TEST_SUITE_P(
    Tables, ExpertsTable,
    testing::Combine(testing::ValuesIn(implementations_under_test()),
                     testing::Values(Case{kF32, kWide, kSwiGlu, 1, 8, 2, 64, 48, true, 1e-6},
                                     Case{kF32, kWide, kStore, 5, 7, 3, 33, 21, false, 1e-6},
                                     Case{kBf16, kHalf, kSwiGlu, 1, 8, 8, 256, 192, true, 6e-3},
                                     Case{kBf16, kHalf, kSwiGlu, 16, 5, 4, 160, 66, true, 6e-3},
                                     Case{kBf16, kHalf, kStore, 16, 128, 8, 96, 64, false, 4e-3},
                                     Case{kFp8, kWide, kStore, 3, 4, 1, 77, 33, false, 1e-6},
                                     Case{kFp8, kHalf, kSwiGlu, 9, 4, 2, 128, 64, true, 6e-3},
                                     Case{kInt8, kWide, kStore, 4, 6, 2, 100, 33, false, 1e-2},
                                     Case{kInt8, kHalf, kSwiGlu, 16, 6, 5, 512, 96, true, 2e-2},
                                     Case{kInt4, kHalf, kStore, 1, 6, 6, 192, 50, false, 2e-2},
                                     Case{kInt4, kHalf, kSwiGlu, 12, 9, 3, 320, 96, true, 2e-2})));

class ExpertsRows : public testing::TestWithParam<std::tuple<Implementation, HearthFormat>> {};

// What a row would get alone it gets beside any others that want the same experts or not.
TEST_P(ExpertsRows, AreIndependentOfTheirCompany) {
  const auto& [implementation, format] = GetParam();
  const auto use = implementation.use();
  const HearthType type = format == HEARTH_FORMAT_F32 ? HEARTH_F32 : HEARTH_BF16;
  for (const HearthEpilogue epilogue : {kSwiGlu, kStore}) {
    HostMemory memory;
    const Case all{format, type, epilogue, HEARTH_MAX_ROWS, 6, 3, 320, 48, epilogue == kSwiGlu, 0};
    HearthExperts call = make(memory, all);
    const HearthStatus status = implementation.table->experts(&call, memory.stream());
    HEARTH_SKIP_WITHOUT_DEVICE(status);
    ASSERT_EQ(status, HEARTH_OK);
    memory.wait();
    const Floats together = outputs(call);
    const std::int64_t inputs = epilogue == kSwiGlu ? call.input_stride : all.each * 320;
    for (std::int64_t row = 0; row < all.rows; ++row) {
      HearthExperts one = call;
      one.rows = 1;
      one.chosen += row * all.each;
      one.input = static_cast<const char*>(call.input) +
                  static_cast<std::size_t>(row * inputs) * item_bytes(type);
      one.output = memory.numbers(type, Floats(together.size(), kUntouched));
      ASSERT_EQ(implementation.table->experts(&one, memory.stream()), HEARTH_OK);
      memory.wait();
      const Floats alone = outputs(one);
      EXPECT_TRUE(std::equal(alone.begin(), alone.end(),
                             together.begin() + row * static_cast<std::ptrdiff_t>(alone.size())))
          << "row " << row;
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Tables, ExpertsRows,
                         testing::Combine(testing::ValuesIn(implementations_under_test()),
                                          testing::Values(kF32, kBf16, kFp8, kInt8, kInt4)));

class Mixture : public testing::TestWithParam<Implementation> {};
INSTANTIATE_TEST_SUITE_P(Tables, Mixture, testing::ValuesIn(implementations_under_test()),
                         implementation_name);

TEST_P(Mixture, ExpertsThatNobodyChoseAreNotRead) {
  const auto use = GetParam().use();
  HostMemory memory;
  const Case c{kBf16, kHalf, kSwiGlu, 2, 8, 2, 64, 32, true, 0};
  HearthExperts call = make(memory, c);
  const std::vector<std::int32_t> chosen = choices(c);
  for (std::int32_t e = 0; e < c.experts; ++e)
    if (std::find(chosen.begin(), chosen.end(), e) == chosen.end())
      std::memset(const_cast<void*>(matrix_at(call.weight, e).data), 0xff,  // not numbers
                  static_cast<std::size_t>(call.weight.stride_bytes));
  const HearthStatus status = GetParam().table->experts(&call, memory.stream());
  HEARTH_SKIP_WITHOUT_DEVICE(status);
  ASSERT_EQ(status, HEARTH_OK);
  memory.wait();
  for (const float y : outputs(call)) EXPECT_TRUE(std::isfinite(y));
}

// --- choices ------------------------------------------------------------------------------------

struct Choices {
  std::vector<std::int32_t> chosen;
  Floats shares;
};

HearthRoute route_of(Memory& memory, const Floats& logits, std::int64_t rows, std::int64_t each,
                     bool normalised) {
  const auto experts = static_cast<std::int64_t>(logits.size()) / rows;
  return {.rows = rows,
          .experts = experts,
          .each = each,
          .normalised = normalised ? 1 : 0,
          .logits = memory.copy(logits),
          .logits_stride = experts,
          .index = nullptr,
          .chosen = memory.copy(std::vector<std::int32_t>(static_cast<std::size_t>(rows * each))),
          .shares = memory.copy(Floats(static_cast<std::size_t>(rows * each)))};
}

Choices read(const HearthRoute& call) {
  const std::int64_t count = call.rows * call.each;
  return {{call.chosen, call.chosen + count}, {call.shares, call.shares + count}};
}

TEST_P(Mixture, ChoosesAsThePlainLoopsDo) {
  const auto use = GetParam().use();
  for (const bool normalised : {true, false}) {
    for (const auto& [rows, experts, each] :
         {std::tuple(1, 8, 2), std::tuple(16, 128, 8), std::tuple(3, 1, 1), std::tuple(70, 500, 10),
          std::tuple(2, HEARTH_MAX_EXPERTS + 0, HEARTH_MAX_CHOSEN + 0)}) {
      HostMemory memory;
      const Floats logits = normal_numbers(std::int64_t{rows} * experts, kSeed, 2.0f);
      const HearthRoute expected = route_of(memory, logits, rows, each, normalised);
      const HearthRoute tested = route_of(memory, logits, rows, each, normalised);
      ASSERT_EQ(hearth_kernels_ref()->route(&expected, nullptr), HEARTH_OK);
      const HearthStatus status = GetParam().table->route(&tested, memory.stream());
      HEARTH_SKIP_WITHOUT_DEVICE(status);
      ASSERT_EQ(status, HEARTH_OK);
      memory.wait();
      EXPECT_EQ(read(tested).chosen, read(expected).chosen) << experts;
      EXPECT_LE(relative_error(read(tested).shares, read(expected).shares), 1e-6) << experts;
    }
  }
}

TEST_P(Mixture, OfEqualExpertsTheLowerNumberIsChosen) {
  const auto use = GetParam().use();
  HostMemory memory;
  Floats logits(40, 1.0f);
  logits[33] = logits[35] = 2.0f;
  const HearthRoute call = route_of(memory, logits, 1, 4, true);
  const HearthStatus status = GetParam().table->route(&call, memory.stream());
  HEARTH_SKIP_WITHOUT_DEVICE(status);
  ASSERT_EQ(status, HEARTH_OK);
  memory.wait();
  EXPECT_EQ(read(call).chosen, (std::vector<std::int32_t>{33, 35, 0, 1}));
}

TEST_P(Mixture, ARowThatDoesNotRunChoosesNobody) {
  const auto use = GetParam().use();
  HostMemory memory;
  HearthRoute call = route_of(memory, normal_numbers(24, kSeed), 3, 2, true);
  call.index = memory.copy(std::vector<std::int32_t>{4, -1, 0});
  const HearthStatus status = GetParam().table->route(&call, memory.stream());
  HEARTH_SKIP_WITHOUT_DEVICE(status);
  ASSERT_EQ(status, HEARTH_OK);
  memory.wait();
  const Choices made = read(call);
  EXPECT_EQ(made.chosen[2], -1);
  EXPECT_EQ(made.chosen[3], -1);
  EXPECT_EQ(made.shares[2], 0.0f);
  EXPECT_EQ(made.shares[3], 0.0f);
  EXPECT_GE(made.chosen[0], 0);
  EXPECT_GE(made.chosen[4], 0);
}

TEST_P(Mixture, BadLogitsGiveSharesThatTell) {
  const auto use = GetParam().use();
  for (const float bad : {NAN, INFINITY, -INFINITY}) {
    HostMemory memory;
    Floats logits = normal_numbers(20, kSeed);
    logits[13] = bad;  // of the second row
    const HearthRoute call = route_of(memory, logits, 2, 3, true);
    const HearthStatus status = GetParam().table->route(&call, memory.stream());
    HEARTH_SKIP_WITHOUT_DEVICE(status);
    ASSERT_EQ(status, HEARTH_OK);
    memory.wait();
    const Choices made = read(call);
    for (std::size_t i = 0; i < 6; ++i) {
      EXPECT_TRUE(made.chosen[i] >= 0 && made.chosen[i] < 10) << bad;
      EXPECT_EQ(std::isnan(made.shares[i]), i >= 3) << bad;
    }
  }
}

// --- sums ---------------------------------------------------------------------------------------

struct SumShape {
  HearthType type;
  std::int64_t rows, each, width;
  double tolerance;
};

HearthCombine sum_of(Memory& memory, const SumShape& s, bool placed) {
  const std::int64_t entries = s.rows * s.each, stride = s.width + 3;
  std::vector<std::int32_t> place;
  for (std::int64_t i = 0; i < entries; ++i)
    place.push_back(static_cast<std::int32_t>((7 * i + 3) % entries));
  Floats shares = normal_numbers(entries, kSeed);
  Floats input = normal_numbers(entries * s.width, kSeed + 1);
  // What has no share is not read.
  shares[0] = 0.0f;
  const std::int64_t unread = placed ? place[0] : 0;
  std::fill_n(input.begin() + unread * s.width, s.width, NAN);
  for (std::size_t i = 1; i < shares.size(); ++i)
    if (placed && place[i] == unread) shares[i] = 0.0f;
  return {.type = s.type,
          .rows = s.rows,
          .each = s.each,
          .width = s.width,
          .shares = memory.copy(shares),
          .place = placed ? memory.copy(place) : nullptr,
          .input = memory.numbers(s.type, input),
          .output = memory.numbers(s.type, normal_numbers(s.rows * stride, kSeed + 2)),
          .output_stride = stride};
}

TEST_P(Mixture, SumsAsThePlainLoopsDo) {
  const auto use = GetParam().use();
  for (const bool placed : {false, true}) {
    for (const SumShape& s :
         {SumShape{HEARTH_F32, 1, 8, 64, 1e-6}, SumShape{HEARTH_F32, 5, 3, 131, 1e-6},
          SumShape{HEARTH_BF16, 16, 8, 2048, 4e-3}, SumShape{HEARTH_BF16, 100, 2, 77, 4e-3}}) {
      HostMemory memory;
      const HearthCombine expected = sum_of(memory, s, placed), tested = sum_of(memory, s, placed);
      ASSERT_EQ(hearth_kernels_ref()->combine(&expected, nullptr), HEARTH_OK);
      const HearthStatus status = GetParam().table->combine(&tested, memory.stream());
      HEARTH_SKIP_WITHOUT_DEVICE(status);
      ASSERT_EQ(status, HEARTH_OK);
      memory.wait();
      const std::int64_t count = s.rows * tested.output_stride;
      EXPECT_LE(relative_error(read_numbers(s.type, tested.output, count),
                               read_numbers(s.type, expected.output, count)),
                s.tolerance)
          << s.rows << " rows of " << s.width;
    }
  }
}

// --- errors -------------------------------------------------------------------------------------

TEST_P(Mixture, CallsThatMakeNoSenseAreRefused) {
  const HearthKernels& table = *GetParam().table;
  HostMemory memory;
  EXPECT_EQ(table.route(nullptr, nullptr), HEARTH_BAD_ARGUMENT);
  EXPECT_EQ(table.experts(nullptr, nullptr), HEARTH_BAD_ARGUMENT);
  EXPECT_EQ(table.combine(nullptr, nullptr), HEARTH_BAD_ARGUMENT);
  HearthRoute route = route_of(memory, Floats(8), 1, 2, true);
  route.each = 9;
  EXPECT_EQ(table.route(&route, nullptr), HEARTH_BAD_ARGUMENT) << "more than there are";
  const Case c{kF32, kWide, kStore, 2, 4, 2, 16, 16, false, 0};
  const auto refused = [&](auto change) {
    HearthExperts call = make(memory, c);
    change(call);
    return table.experts(&call, nullptr) == HEARTH_BAD_ARGUMENT;
  };
  EXPECT_TRUE(refused([](HearthExperts& e) { e.epilogue = HEARTH_ADD; }));
  EXPECT_TRUE(refused([](HearthExperts& e) { e.rows = HEARTH_MAX_ROWS + 1; }));
  EXPECT_TRUE(refused([](HearthExperts& e) { e.each = HEARTH_MAX_CHOSEN + 1; }));
  EXPECT_TRUE(refused([](HearthExperts& e) { e.type = HEARTH_BF16; }));
  EXPECT_TRUE(refused([](HearthExperts& e) { e.chosen = nullptr; }));
  EXPECT_TRUE(refused([](HearthExperts& e) { e.weight.count = 0; }));
  EXPECT_TRUE(refused([](HearthExperts& e) { e.norm = static_cast<const float*>(e.input); }));
  HearthCombine sum = sum_of(memory, {HEARTH_F32, 1, 2, 8, 0}, false);
  sum.output_stride = 7;
  EXPECT_EQ(table.combine(&sum, nullptr), HEARTH_BAD_ARGUMENT);
}

}  // namespace
}  // namespace hearth::kernels
