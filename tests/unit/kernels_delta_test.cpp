// The gated delta rule and its convolution, token by token, against the formulas in fp64 over whole
// sequences.

#include <algorithm>
#include <cmath>
#include <tuple>

#include "tests/unit/kernels_for_test.h"

namespace hearth::kernels {
namespace {

constexpr unsigned kSeed = 41;
using Doubles = std::vector<double>;

double silu(double x) {
  return x / (1.0 + std::exp(-x));
}

std::vector<Implementation> with_the_plain_loops() {
  std::vector<Implementation> all = implementations_under_test();
  all.insert(all.begin(), {"ref", hearth_kernels_ref()});
  return all;
}

class DeltaRule : public testing::TestWithParam<Implementation> {};
INSTANTIATE_TEST_SUITE_P(Tables, DeltaRule, testing::ValuesIn(with_the_plain_loops()),
                         implementation_name);

struct Shape {
  HearthType type;
  std::int64_t key_heads, value_heads, key_dim, value_dim;
  double tolerance;
};

constexpr std::int64_t kTokens = 12;

// Inputs of one sequence, [kTokens, …], as the kernels round them.
struct Inputs {
  Floats qkv, z, a, b;
};

Floats rounded(HearthType type, Floats values) {
  if (type == HEARTH_BF16)
    for (float& value : values) value = to_float(to_bfloat16(value));
  return values;
}

std::int64_t qkv_width(const Shape& s) {
  return 2 * s.key_heads * s.key_dim + s.value_heads * s.value_dim;
}

Inputs inputs_of(const Shape& s, unsigned seed) {
  return {rounded(s.type, normal_numbers(kTokens * qkv_width(s), seed)),
          rounded(s.type, normal_numbers(kTokens * s.value_heads * s.value_dim, seed + 1)),
          rounded(s.type, normal_numbers(kTokens * s.value_heads, seed + 2)),
          rounded(s.type, normal_numbers(kTokens * s.value_heads, seed + 3))};
}

struct Parameters {
  Floats a_log, dt_bias, norm;
};

Parameters parameters_of(const Shape& s) {
  return {normal_numbers(s.value_heads, 1), normal_numbers(s.value_heads, 2),
          normal_numbers(s.value_dim, 3)};
}

Doubles unit(const float* vector, std::int64_t count, double scale) {
  double squares = 0.0;
  for (std::int64_t i = 0; i < count; ++i) squares += double{vector[i]} * vector[i];
  Doubles result;
  for (std::int64_t i = 0; i < count; ++i)
    result.push_back(vector[i] / std::sqrt(squares + 1e-6) * scale);
  return result;
}

// S <- e^g S (I - beta k kT) + beta v kT, transposed; o = S q: the same rule in another form.
Floats head_in_doubles(const Shape& s, const Parameters& p, const Inputs& in, std::int64_t head) {
  const auto at = [](std::int64_t i) { return static_cast<std::size_t>(i); };
  const std::int64_t key_head = head * s.key_heads / s.value_heads;
  Doubles state(at(s.key_dim * s.value_dim));
  Floats outputs;
  for (std::int64_t t = 0; t < kTokens; ++t) {
    const float* qkv = in.qkv.data() + t * qkv_width(s);
    const Doubles q = unit(qkv + key_head * s.key_dim, s.key_dim,
                           1.0 / std::sqrt(static_cast<double>(s.key_dim)));
    const Doubles k = unit(qkv + (s.key_heads + key_head) * s.key_dim, s.key_dim, 1.0);
    const float* v = qkv + 2 * s.key_heads * s.key_dim + head * s.value_dim;
    const double dt = in.a[at(t * s.value_heads + head)] + double{p.dt_bias[at(head)]};
    const double decay = std::exp(-std::exp(double{p.a_log[at(head)]}) * std::log1p(std::exp(dt)));
    const double beta = 1.0 / (1.0 + std::exp(-double{in.b[at(t * s.value_heads + head)]}));
    Doubles output(at(s.value_dim));
    double squares = 0.0;
    for (std::int64_t j = 0; j < s.value_dim; ++j) {
      double recalled = 0.0;
      for (std::int64_t i = 0; i < s.key_dim; ++i)
        recalled += state[at(i * s.value_dim + j)] * k[at(i)];
      for (std::int64_t i = 0; i < s.key_dim; ++i) {
        double& cell = state[at(i * s.value_dim + j)];
        cell = decay * (cell - beta * recalled * k[at(i)]) + beta * v[j] * k[at(i)];
        output[at(j)] += cell * q[at(i)];
      }
      squares += output[at(j)] * output[at(j)];
    }
    const double scale = 1.0 / std::sqrt(squares / static_cast<double>(s.value_dim) + 1e-6);
    for (std::int64_t j = 0; j < s.value_dim; ++j)
      outputs.push_back(
          static_cast<float>(output[at(j)] * scale * p.norm[at(j)] *
                             silu(in.z[at((t * s.value_heads + head) * s.value_dim + j)])));
  }
  return outputs;
}

// Three slots without a past; row 0 works in slot 2, row 1 nowhere, row 2 in slot 0.
HearthDeltaStep call_of(Memory& memory, const Shape& s, const Parameters& p) {
  const std::int64_t values = s.value_heads * s.value_dim;
  const auto bytes = static_cast<std::size_t>(3 * values) * 4;
  return {
      .type = s.type,
      .rows = 3,
      .key_heads = s.key_heads,
      .value_heads = s.value_heads,
      .key_dim = s.key_dim,
      .value_dim = s.value_dim,
      .qkv = nullptr,
      .qkv_stride = qkv_width(s),
      .z = nullptr,
      .z_stride = values,
      .a = nullptr,
      .b = nullptr,
      .ab_stride = s.value_heads,
      .a_log = memory.copy(p.a_log),
      .dt_bias = memory.copy(p.dt_bias),
      .norm = memory.copy(p.norm),
      .norm_epsilon = 1e-6F,
      .slot = memory.copy(std::vector<std::int32_t>{2, -1, 0}),
      .state = static_cast<float*>(memory.allocate(bytes * static_cast<std::size_t>(s.key_dim))),
      .output = memory.allocate(bytes),
      .output_stride = values};
}

// Token t of both sequences as rows 0 and 2; what row 1 would read is no number.
void set_inputs(HearthDeltaStep& call, Memory& memory, const Inputs (&sequences)[2],
                std::int64_t t) {
  const auto rows = [&](Floats Inputs::*part, std::int64_t width) {
    Floats three(static_cast<std::size_t>(3 * width), NAN);
    for (const int row : {0, 1})
      std::copy_n((sequences[row].*part).begin() + t * width, width,
                  three.begin() + 2 * row * width);
    return memory.numbers(call.type, three);
  };
  call.qkv = rows(&Inputs::qkv, call.qkv_stride);
  call.z = rows(&Inputs::z, call.z_stride);
  call.a = rows(&Inputs::a, call.ab_stride);
  call.b = rows(&Inputs::b, call.ab_stride);
}

// Of outputs [kTokens, value_heads, value_dim] those of one head.
Floats of_head(const Floats& outputs, const Shape& s, std::int64_t head) {
  Floats result;
  for (std::int64_t t = 0; t < kTokens; ++t) {
    const auto first = outputs.begin() + (t * s.value_heads + head) * s.value_dim;
    result.insert(result.end(), first, first + s.value_dim);
  }
  return result;
}

TEST_P(DeltaRule, EqualsTheFormulaOverASequence) {
  const auto use = GetParam().use();
  for (const Shape& s :
       {Shape{HEARTH_F32, 2, 4, 16, 32, 1e-5}, Shape{HEARTH_F32, 1, 3, 10, 7, 1e-5},
        Shape{HEARTH_BF16, 2, 2, 128, 128, 4e-3}}) {
    SCOPED_TRACE(testing::Message() << s.key_dim << " x " << s.value_dim << ", seed " << kSeed);
    HostMemory memory;
    const Parameters p = parameters_of(s);
    const Inputs sequences[2] = {inputs_of(s, kSeed), inputs_of(s, kSeed + 10)};
    const std::int64_t values = s.value_heads * s.value_dim;
    HearthDeltaStep call = call_of(memory, s, p);
    Floats got[2];
    for (std::int64_t t = 0; t < kTokens; ++t) {
      set_inputs(call, memory, sequences, t);
      ASSERT_EQ(GetParam().table->delta_step(&call, memory.stream()), HEARTH_OK);
      memory.wait();
      const Floats output = read_numbers(s.type, call.output, 3 * values);
      for (const int row : {0, 1})
        got[row].insert(got[row].end(), output.begin() + 2 * row * values,
                        output.begin() + (2 * row + 1) * values);
      EXPECT_TRUE(std::all_of(output.begin() + values, output.begin() + 2 * values, [](float x) {
        return x == 0.0F;
      })) << "a row that is skipped was written";
    }
    for (const int row : {0, 1})
      for (std::int64_t head = 0; head < s.value_heads; ++head)
        EXPECT_LT(
            relative_error(of_head(got[row], s, head), head_in_doubles(s, p, sequences[row], head)),
            s.tolerance)
            << "row " << row << ", head " << head;
  }
}

TEST_P(DeltaRule, ConvolutionKeepsTheLastInputsOfEachSlot) {
  const auto use = GetParam().use();
  for (const auto& [type, channels, taps, tolerance] :
       {std::tuple{HEARTH_F32, 37, 4, 1e-6}, std::tuple{HEARTH_BF16, 520, 4, 4e-3},
        std::tuple{HEARTH_F32, 16, 2, 1e-6}}) {
    HostMemory memory;
    const Floats input = rounded(type, normal_numbers(2 * kTokens * channels, kSeed));
    const Floats weight = rounded(type, normal_numbers(channels * taps, kSeed + 1));
    HearthConvStep call{.type = type,
                        .rows = 3,
                        .channels = channels,
                        .taps = taps,
                        .input = nullptr,
                        .input_stride = channels,
                        .weight = memory.numbers(type, weight),
                        .slot = memory.copy(std::vector<std::int32_t>{1, 0, -1}),
                        .window = static_cast<float*>(memory.allocate(
                            static_cast<std::size_t>(2 * (taps - 1) * channels) * 4)),
                        .output = memory.allocate(static_cast<std::size_t>(3 * channels) * 4),
                        .output_stride = channels};
    Floats got, expected;
    for (int t = 0; t < kTokens; ++t) {
      Floats rows(input.begin() + 2 * t * channels, input.begin() + 2 * (t + 1) * channels);
      rows.resize(static_cast<std::size_t>(3 * channels), NAN);
      call.input = memory.numbers(type, rows);
      ASSERT_EQ(GetParam().table->conv_step(&call, memory.stream()), HEARTH_OK);
      memory.wait();
      const Floats output = read_numbers(type, call.output, 2 * channels);
      got.insert(got.end(), output.begin(), output.end());
      for (int i = 0; i < 2 * channels; ++i) {
        double sum = 0.0;
        for (int tap = 0; tap < taps; ++tap)
          if (const int from = t - (taps - 1) + tap; from >= 0)
            sum += double{input[static_cast<std::size_t>(2 * from * channels + i)]} *
                   double{weight[static_cast<std::size_t>(i % channels * taps + tap)]};
        expected.push_back(static_cast<float>(silu(sum)));
      }
    }
    EXPECT_LT(relative_error(got, expected), tolerance) << channels << " channels, seed " << kSeed;
  }
}

}  // namespace
}  // namespace hearth::kernels
