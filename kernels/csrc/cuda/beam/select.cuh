// Candidates of one frame, and the selection of the best.
//
// Threads append in any order; the order of candidates is total (score, then rank, then token), so
// the selection is deterministic.
#pragma once

#include "../device.cuh"

namespace mms::cuda {

/// Candidate for the next beam: hypothesis `rank` extended by `token`; -1 for a kept one.
struct BeamCandidate {
  double score;
  std::int32_t rank;
  std::int32_t token;
};

__device__ inline bool is_before(const BeamCandidate& a, const BeamCandidate& b) {
  if (a.score != b.score) return a.score > b.score;
  return a.rank != b.rank ? a.rank < b.rank : a.token < b.token;
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
