// Which ids of a row the processors leave.
//
// They are described by bounds (Kept), not by a list: a least score (top-k), a lightest id in the
// order of weight (top-p, min-p), and a distance from the mean score (typical). Bounds come from
// the best ids, sorted in shared memory; where those are too few (a flat distribution), from
// bisection over the whole vocabulary. Weights are exp(score - best score), so every comparison is
// between numbers of one scale.
#pragma once

#include "models/kernels/cuda/sample.cuh"

namespace hearth::kernels::cuda {

constexpr int kPickThreads = 1024;
constexpr int kPickWarps = kPickThreads / kWarp;
constexpr int kMostCandidates = 4096;
constexpr int kMostTopK = 1000;      // beyond it the k-th best is found by bisection
constexpr int kNucleusSlices = 512;  // slices whose best ids are tried as a nucleus first
constexpr unsigned kNoKey = 0;

static_assert(kSlices == kPickThreads, "a thread for each slice");

// The ids that are left.
struct Kept {
  float least_score;
  float lightest;  // an id this light stays up to last_id, a lighter one goes
  int last_id;
  float mean, furthest;  // score - best score stays within `furthest` of `mean`
};

struct PickShared {
  unsigned long long key[kMostCandidates];  // sorted: best first
  double partial[kPickWarps];
  float slice_sum[kSlices];  // of the weights that are kept
  unsigned count;
  Kept kept;
  bool found;
};

struct Row {
  const float* scores;
  const Slice* slices;
  int vocabulary;
  float peak;
};

// Larger for larger scores; never kNoKey for a number.
__device__ unsigned order_of(float score) {
  const unsigned bits = __float_as_uint(score + 0.0f);  // -0 as 0
  return (bits & 0x80000000u) != 0 ? ~bits : bits | 0x80000000u;
}
__device__ float score_of_order(unsigned order) {
  return __uint_as_float((order & 0x80000000u) != 0 ? order ^ 0x80000000u : ~order);
}

// Sorts by score, then by the lower id.
__device__ unsigned long long key_of(float score, int id) {
  return static_cast<unsigned long long>(order_of(score)) << 32 | (0xffffffffu - id);
}
__device__ float key_score(unsigned long long key) {
  return score_of_order(static_cast<unsigned>(key >> 32));
}
__device__ int key_id(unsigned long long key) {
  return static_cast<int>(0xffffffffu - static_cast<unsigned>(key));
}

__device__ float weight_of(const Row& row, float score) {
  return expf(score - row.peak);
}

__device__ bool is_kept(const Row& row, const Kept& kept, int id) {
  const float score = row.scores[id];
  if (score < kept.least_score) return false;
  if (fabsf(score - row.peak - kept.mean) > kept.furthest) return false;
  const float weight = weight_of(row, score);
  return weight > kept.lightest || (weight == kept.lightest && id <= kept.last_id);
}

// Largest first. `size` is a power of two.
__device__ void sort_keys(unsigned long long* key, int size) {
  for (int run = 2; run <= size; run *= 2) {
    for (int gap = run / 2; gap > 0; gap /= 2) {
      __syncthreads();
      for (int i = threadIdx.x; i < size; i += kPickThreads) {
        const int other = i ^ gap;
        if (other <= i) continue;
        const bool falling = (i & run) == 0;
        if ((key[i] < key[other]) == falling) {
          const unsigned long long swapped = key[i];
          key[i] = key[other];
          key[other] = swapped;
        }
      }
    }
  }
  __syncthreads();
}

// Sum over the whole vocabulary, for all threads. A thread's few ids are summed in fp32.
template <class Function>
__device__ double sum_over(const Row& row, PickShared& shared, const Function& value) {
  float sum = 0.0f;
  for (int id = threadIdx.x; id < row.vocabulary; id += kPickThreads)
    sum += value(id, row.scores[id]);
  __syncthreads();
  return block_sum(static_cast<double>(sum), shared.partial);
}

// The largest order of scores that `enough` holds for, when it holds for all below it; by halving.
template <class Function>
__device__ unsigned bisect(const Function& enough) {
  unsigned found = 0;
  for (unsigned bit = 0x80000000u; bit != 0; bit /= 2)
    if (enough(found | bit)) found |= bit;
  return found;
}

// Leaves at least the `wanted` best ids that are not masked, sorted, in shared.key, or all there
// are; gives how many there are, more than kMostCandidates if they do not fit.
__device__ int collect_best(const Row& row, PickShared& shared, int wanted) {
  shared.key[threadIdx.x] = key_of(row.slices[threadIdx.x].best, threadIdx.x);
  if (threadIdx.x == 0) shared.count = 0;
  sort_keys(shared.key, kSlices);
  // Each of `wanted` slices has an id this good, so the wanted-th best id is at least as good.
  const float bound = key_score(shared.key[min(wanted, kSlices) - 1]);
  __syncthreads();
  for (int i = threadIdx.x; i < kMostCandidates; i += kPickThreads) shared.key[i] = kNoKey;
  __syncthreads();
  for (int slice = warp_of(); slice < kSlices; slice += kPickWarps) {
    if (row.slices[slice].best < bound || row.slices[slice].best == -INFINITY) continue;
    const IdRange ids = ids_of_slice(row.vocabulary, slice);
    for (int id = ids.first + lane_of(); id < ids.end; id += kWarp) {
      const float score = row.scores[id];
      if (score < bound || score == -INFINITY) continue;
      const unsigned place = atomicAdd(&shared.count, 1u);
      if (place < kMostCandidates) shared.key[place] = key_of(score, id);
    }
  }
  __syncthreads();
  const int count = static_cast<int>(shared.count);
  int size = kWarp;
  while (size < min(count, kMostCandidates)) size *= 2;
  sort_keys(shared.key, size);
  return count;
}

// The score that top-k asks for. `count` ids lie sorted in shared.key.
__device__ float least_of_top_k(const Row& row, PickShared& shared, int top_k, int count) {
  if (count < min(top_k, kMostTopK)) return -INFINITY;  // these are all that is not masked
  if (count <= kMostCandidates && top_k <= count) return key_score(shared.key[top_k - 1]);
  const unsigned order = bisect([&](unsigned least) {
    return sum_over(row, shared, [&](int, float score) {
             return order_of(score) >= least ? 1.0f : 0.0f;
           }) >= top_k;
  });
  return score_of_order(order);
}

// Whether so little weight lies below that top-p drops it.
__device__ bool is_dropped(double below, double total, float top_p) {
  return static_cast<float>(below / total) <= static_cast<float>(1.0 - static_cast<double>(top_p));
}

// Prefix sums over a warp: of this lane and all before it.
template <class Number>
__device__ Number warp_prefix(Number value) {
  for (int distance = 1; distance < kWarp; distance *= 2) {
    const Number other = __shfl_up_sync(kAllLanes, value, distance);
    if (lane_of() >= distance) value += other;
  }
  return value;
}

// The lightest id of the nucleus among the sorted candidates; false when it reaches beyond them. By
// one warp: a nucleus has a few ids most of the time.
__device__ bool nucleus_of_best(const Row& row, const PickShared& shared, int count, double total,
                                float top_p, Kept* kept) {
  double below = total;
  for (int first = 0; first < count; first += kWarp) {
    const int i = first + lane_of();
    const float score = i < count ? key_score(shared.key[i]) : -INFINITY;
    const bool in_top_k = i < count && score >= kept->least_score;
    const float weight = in_top_k ? weight_of(row, score) : 0.0f;
    const double sums = warp_prefix(static_cast<double>(weight));
    const unsigned ends =
        __ballot_sync(kAllLanes, !in_top_k || is_dropped(below - sums, total, top_p));
    below -= __shfl_sync(kAllLanes, sums, kWarp - 1);
    if (ends == 0) continue;
    // The first that ends the nucleus belongs to it, unless top-k has ended before.
    const int lane = __ffs(static_cast<int>(ends)) - 1;
    const bool by_top_p = __shfl_sync(kAllLanes, static_cast<int>(in_top_k), lane) != 0;
    const int last = first + lane - (by_top_p ? 0 : 1);
    if (!by_top_p && first + lane >= count) return false;
    kept->lightest = weight_of(row, key_score(shared.key[last]));
    kept->last_id = key_id(shared.key[last]);
    return true;
  }
  return false;
}

// The same from the whole vocabulary.
__device__ void nucleus_of_all(const Row& row, PickShared& shared, double total, float top_p,
                               Kept* kept) {
  const float least = kept->least_score;
  const auto sum_from = [&](float lightest) {
    return sum_over(row, shared, [&](int, float score) {
      const float weight = weight_of(row, score);
      return score >= least && weight >= lightest ? weight : 0.0f;
    });
  };
  constexpr unsigned kOne = 0x3f800000u;  // as bits, the weight of the best
  const unsigned bits = bisect([&](unsigned tried) {
    return tried <= kOne && is_dropped(total - sum_from(__uint_as_float(tried)), total, top_p);
  });
  kept->lightest = __uint_as_float(bits);
  // Of the ids that are equally light, the lowest that are needed.
  const double heavier = sum_from(__uint_as_float(bits + 1));
  const unsigned not_needed = bisect([&](unsigned tried) {
    if (tried > static_cast<unsigned>(row.vocabulary)) return false;
    const double equal = sum_over(row, shared, [&](int id, float score) {
      const float weight = weight_of(row, score);
      return score >= least && weight == kept->lightest && id < static_cast<int>(tried) ? weight
                                                                                        : 0.0f;
    });
    return !is_dropped(total - heavier - equal, total, top_p);
  });
  kept->last_id = static_cast<int>(min(not_needed, static_cast<unsigned>(row.vocabulary) - 1));
}

// Of what is kept, the ids with the most typical scores. A score less the best one is the logarithm
// of a weight, so that its distance from the mean is that of surprise and entropy.
__device__ void keep_typical(const Row& row, PickShared& shared, float typical_p, Kept* kept) {
  const Kept before = *kept;
  const auto weight_in = [&](int id, float score) {
    return is_kept(row, before, id) ? weight_of(row, score) : 0.0f;
  };
  const double total = sum_over(row, shared, weight_in);
  const double sum = sum_over(row, shared, [&](int id, float score) {
    const float weight = weight_in(id, score);
    return weight > 0.0f ? weight * (score - row.peak) : 0.0f;
  });
  Kept tried = before;
  tried.mean = static_cast<float>(sum / total);
  const double wanted = static_cast<double>(typical_p) * total;
  // As bits, the distance behind the largest that does not suffice.
  const unsigned bits = bisect([&](unsigned distance) {
    if (distance >= __float_as_uint(INFINITY)) return false;
    tried.furthest = __uint_as_float(distance - 1);
    const double reached = sum_over(row, shared, [&](int id, float score) {
      return is_kept(row, tried, id) ? weight_of(row, score) : 0.0f;
    });
    return !(reached > 0.0 && reached >= wanted);
  });
  tried.furthest = __uint_as_float(bits);
  *kept = tried;
}

// What the processors leave.
__device__ Kept keep(const Row& row, PickShared& shared, const HearthSlot& slot) {
  Kept kept{-INFINITY, 0.0f, 0x7fffffff, 0.0f, INFINITY};
  const bool has_top_k = slot.top_k > 0 && slot.top_k < row.vocabulary;
  const bool has_top_p = slot.top_p < 1.0f;
  int count = 0;
  if (has_top_k || has_top_p)
    count = collect_best(row, shared, has_top_k ? min(slot.top_k, kMostTopK) : kNucleusSlices);
  if (has_top_k) kept.least_score = least_of_top_k(row, shared, slot.top_k, count);
  if (has_top_p) {
    const double total = sum_over(row, shared, [&](int, float score) {
      return score >= kept.least_score ? weight_of(row, score) : 0.0f;
    });
    if (warp_of() == 0) {
      Kept found = kept;
      const int candidates = count <= kMostCandidates ? count : 0;
      const bool is_found = nucleus_of_best(row, shared, candidates, total, slot.top_p, &found);
      if (lane_of() == 0) {
        shared.kept = found;
        shared.found = is_found;
      }
    }
    __syncthreads();
    if (shared.found)
      kept = shared.kept;
    else
      nucleus_of_all(row, shared, total, slot.top_p, &kept);
  }
  const float min_p = fminf(slot.min_p, 1.0f);
  if (min_p > kept.lightest) {  // the best weighs 1
    kept.lightest = min_p;
    kept.last_id = 0x7fffffff;
  }
  if (slot.typical_p < 1.0f) keep_typical(row, shared, slot.typical_p, &kept);
  return kept;
}

}  // namespace hearth::kernels::cuda
