// The inner loops of matrices stored row by row, for one machine level.
//
// Included by a level's .cpp inside its own namespace, after it has defined HEARTH_TARGET (the
// level's attribute) and arithmetics: structs that say how weights and inputs are loaded and
// multiplied.
//   Weight, Input       element types               Sum, Vector  registers
//   kStep               elements a step takes       kRows        rows whose sums fit the registers
//   zero(), weight(p), input(p), add(sum, w, x), total(sum)
//
// Two or four features share the loads of the input. Where there are more rows than registers the
// inputs are cut into blocks, so that weights come from memory once and from the first cache after.

// clang-format off
#ifndef HEARTH_TARGET
#error "linear_rows.h belongs into a level's .cpp"
#endif
// clang-format on

constexpr int kFeatures = 4;                // of a block
constexpr std::int64_t kBlockInputs = 512;  // of a block of inputs where rows need several passes

template <class A>
struct RowBlock {
  const typename A::Weight* weight;  // of the block's first feature
  std::int64_t weight_stride;
  const typename A::Input* input;
  std::int64_t input_stride;
  std::int64_t first, last;                  // inputs, a multiple of kStep
  typename A::Sum (*sums)[HEARTH_MAX_ROWS];  // [feature][row]
  bool reads_ahead;
};

// Features [feature, feature + F) with rows [row, row + R).
template <class A, int F, int R>
HEARTH_TARGET inline void add_block(const RowBlock<A>& b, int feature, std::int64_t row) {
  const auto* weight = b.weight + feature * b.weight_stride;
  const auto* input = b.input + row * b.input_stride;
  typename A::Sum sums[F][R];
  for (int f = 0; f < F; ++f)
    for (int r = 0; r < R; ++r) sums[f][r] = b.sums[feature + f][row + r];
  // The next block lies right behind this one: its lines, in order.
  const char* ahead = reinterpret_cast<const char*>(weight + kFeatures * b.weight_stride);
  constexpr std::int64_t kBytes = F * A::kStep * sizeof(typename A::Weight);
  ahead += b.first / A::kStep * kBytes;
  for (std::int64_t k = b.first; k < b.last; k += A::kStep, ahead += kBytes) {
    typename A::Vector w[F];
    for (int f = 0; f < F; ++f) w[f] = A::weight(weight + f * b.weight_stride + k);
    if (b.reads_ahead)
      for (std::int64_t line = 0; line < kBytes; line += 64) __builtin_prefetch(ahead + line, 0, 2);
    for (int r = 0; r < R; ++r) {
      const typename A::Vector x = A::input(input + r * b.input_stride + k);
      for (int f = 0; f < F; ++f) sums[f][r] = A::add(sums[f][r], w[f], x);
    }
  }
  for (int f = 0; f < F; ++f)
    for (int r = 0; r < R; ++r) b.sums[feature + f][row + r] = sums[f][r];
}

template <class A, int F, int R>
HEARTH_TARGET inline void add_features(const RowBlock<A>& b, int features, std::int64_t row) {
  if (features == kFeatures) {
    for (int f = 0; f < kFeatures; f += F) add_block<A, F, R>(b, f, row);
  } else {
    for (int f = 0; f < features; ++f) add_block<A, 1, R>(b, f, row);
  }
}

template <class A>
HEARTH_TARGET inline void add_rows(RowBlock<A> b, int features, std::int64_t rows) {
  for (std::int64_t row = 0; row < rows;) {
    const std::int64_t left = rows - row;
    constexpr int kMany = A::kRows, kPair = kMany >= 8 ? 4 : 2;  // features beside 2 to 4 rows
    if (left >= kMany) {
      add_features<A, 2, kMany>(b, features, row);
      row += kMany;
    } else if (left >= 4) {
      add_features<A, kPair, 4>(b, features, row);
      row += 4;
    } else if (left >= 2) {
      add_features<A, kPair, 2>(b, features, row);
      row += 2;
    } else {
      add_features<A, 4, 1>(b, features, row);
      row += 1;
    }
    b.reads_ahead = false;  // once is enough
  }
}

// The inputs behind the last whole step, through copies that end in zeros.
template <class A>
HEARTH_TARGET inline void add_tail(const RowBlock<A>& b, int features, std::int64_t rows,
                                   std::int64_t in_features) {
  const auto count = static_cast<std::size_t>(in_features - b.last);
  for (int f = 0; f < features; ++f) {
    typename A::Weight weight[A::kStep] = {};
    std::memcpy(weight, b.weight + f * b.weight_stride + b.last, count * sizeof *weight);
    for (std::int64_t r = 0; r < rows; ++r) {
      typename A::Input input[A::kStep] = {};
      std::memcpy(input, b.input + r * b.input_stride + b.last, count * sizeof *input);
      b.sums[f][r] = A::add(b.sums[f][r], A::weight(weight), A::input(input));
    }
  }
}

// Sums of features [first, first + features) of a tile. y: [rows, kTile].
template <class A>
HEARTH_TARGET inline void add_up(const LinearJob& job, std::int64_t first, int features,
                                 float (*y)[kTile]) {
  const HearthMatrix& m = job.call->weight;
  typename A::Sum sums[kFeatures][HEARTH_MAX_ROWS];
  for (int f = 0; f < features; ++f)
    for (std::int64_t r = 0; r < job.rows; ++r) sums[f][r] = A::zero();
  RowBlock<A> b{static_cast<const typename A::Weight*>(m.data) + first * m.in_features,
                m.in_features,
                static_cast<const typename A::Input*>(job.input),
                job.input_stride,
                0,
                0,
                sums,
                true};
  const std::int64_t whole = m.in_features / A::kStep * A::kStep;
  const std::int64_t block = job.rows <= A::kRows ? whole : kBlockInputs;
  while (b.last < whole) {
    b.first = b.last;
    b.last = std::min(b.first + block, whole);
    add_rows<A>(b, features, job.rows);
  }
  if (whole < m.in_features) add_tail<A>(b, features, job.rows, m.in_features);
  for (int f = 0; f < features; ++f) {
    const float scale = m.format == HEARTH_FORMAT_FP8
                            ? static_cast<const float*>(m.scales)[first + f] * A::kUnit
                            : 1.0f;
    for (std::int64_t r = 0; r < job.rows; ++r)
      y[r][first % kTile + f] = A::total(sums[f][r]) * scale;
  }
}

template <class A>
HEARTH_TARGET void row_tiles(const LinearJob& job, std::int64_t first, std::int64_t last) {
  for (std::int64_t tile = first; tile < last; ++tile) {
    alignas(64) float y[HEARTH_MAX_ROWS][kTile] = {};
    const std::int64_t end = std::min((tile + 1) * kTile, job.call->weight.out_features);
    for (std::int64_t o = tile * kTile; o < end; o += kFeatures)
      add_up<A>(job, o, static_cast<int>(std::min<std::int64_t>(kFeatures, end - o)), y);
    for (std::int64_t r = 0; r < job.rows; ++r) finish(*job.call, r, tile, y[r]);
  }
}
