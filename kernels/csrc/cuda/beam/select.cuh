// Candidates of one frame, and the selection of the best.
//
// Threads append in any order; the order of candidates is total (score, then rank, then token), so
// the selection is deterministic.
#pragma once

#include "../device.cuh"

namespace mms::cuda {

constexpr std::uint64_t kAllButSign = ~std::uint64_t{0} >> 1U;

/// Integer in the descending order of scores, which devices compare faster. -0 equals 0; NaN does
/// not occur.
__device__ inline std::uint64_t key_of(double score) {
  const auto bits = static_cast<std::uint64_t>(__double_as_longlong(score + 0.0));
  return (bits >> 63U) != 0 ? bits : bits ^ kAllButSign;
}

__device__ inline double score_of(std::uint64_t key) {
  return __longlong_as_double(static_cast<long long>((key >> 63U) != 0 ? key : key ^ kAllButSign));
}

/// Candidate for the next beam: a hypothesis extended by a token, or kept.
struct BeamCandidate {
  std::uint64_t key;    ///< Of the score.
  std::uint64_t place;  ///< Rank of the hypothesis, and the token + 1; 0 for a kept one.

  __device__ double score() const { return score_of(key); }
  __device__ int rank() const { return static_cast<int>(place >> 32U); }
  __device__ std::int32_t token() const {
    return static_cast<std::int32_t>(static_cast<std::uint32_t>(place)) - 1;
  }
};

constexpr std::int32_t kNoToken = -1;

__device__ inline BeamCandidate candidate(double score, int rank, std::int32_t token) {
  return {key_of(score),
          static_cast<std::uint64_t>(rank) << 32U | static_cast<std::uint32_t>(token + 1)};
}

__device__ inline bool is_before(const BeamCandidate& a, const BeamCandidate& b) {
  return a.key < b.key || (a.key == b.key && a.place < b.place);
}

/// Candidates in shared memory, in alternating halves of an array.
struct BeamCandidates {
  Checked<BeamCandidate> all;
  Checked<int> count;
  int room;  ///< Capacity of each half.
  int half = 0;

  __device__ Checked<BeamCandidate> current() const { return part(all, half * room, room); }

  /// The caller ensures capacity.
  __device__ void add(const BeamCandidate& candidate) const {
    current()[atomic_add(count, 0, 1)] = candidate;
  }

  /// Keep the `wanted` best, in order; returns their number. For whole blocks, between barriers.
  __device__ int select(int wanted) {
    const Checked<BeamCandidate> from = current();
    const int size = count[0];
    half = 1 - half;
    const Checked<BeamCandidate> to = current();
    for (int i = thread_id(); i < size; i += block_threads()) {
      const BeamCandidate mine = from[i];
      int rank = 0;
      for (int other = 0; other < size; ++other) rank += is_before(from[other], mine) ? 1 : 0;
      if (rank < wanted) to[rank] = mine;
    }
    __syncthreads();
    const int kept = size < wanted ? size : wanted;
    if (thread_id() == 0) count[0] = kept;
    __syncthreads();
    return kept;
  }
};

}  // namespace mms::cuda
