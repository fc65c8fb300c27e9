// The candidates of one frame, and the choice of the best of them.
//
// Which thread appends first is left to chance; the order of candidates is total (score, then the
// rank of the prefix extended, then the token), so what is chosen is not.
#pragma once

#include "../device.cuh"

namespace mms::cuda {

/// A prefix that may be in the next beam: the hypothesis `rank` extended by `token`; -1: as it is.
struct BeamCandidate {
  double score;
  std::int32_t rank;
  std::int32_t token;
};

__device__ inline bool is_before(const BeamCandidate& a, const BeamCandidate& b) {
  if (a.score != b.score) return a.score > b.score;
  return a.rank != b.rank ? a.rank < b.rank : a.token < b.token;
}

/// Candidates in shared memory, in one half or the other of an array.
struct BeamCandidates {
  Checked<BeamCandidate> all;
  Checked<int> count;
  int room;  ///< Of each half.
  int half = 0;

  __device__ Checked<BeamCandidate> current() const { return part(all, half * room, room); }

  /// Only where there is room.
  __device__ void add(const BeamCandidate& candidate) const {
    current()[atomic_add(count, 0, 1)] = candidate;
  }

  /// Keep the `wanted` best, in order. For whole blocks, between barriers; returns how many.
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
