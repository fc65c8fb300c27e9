// A block on its way through the frames of one stream.
#pragma once

#include "beam_paths.cuh"
#include "beam_select.cuh"

namespace mms::cuda {

/// A hypothesis one frame later, without a new token.
struct BeamStay {
  double blank;
  double label;
  double total;
  BeamPath path;
};

/// The shared memory of a block.
struct BeamShared {
  Checked<BeamEntry> entries;  ///< [kMaxBeam] the best first.
  Checked<BeamStay> stays;     ///< [kMaxBeam] of the next frame.
  Checked<int> closed;         ///< [kMaxBeam] all spans of the better path.
  Checked<int> children;       ///< [kMaxBeam] a hypothesis that extends this one; -1 for none.
  Checked<int> siblings;       ///< [kMaxBeam] another with the same parent.
  Checked<int> nodes;          ///< [kMaxBeam] of the hypotheses.
  BeamCandidates candidates;
};

/// A stream while its chunk is decoded; the same in every thread.
struct BeamWalk {
  const BeamRow& stream;
  BeamShared& shared;
  BeamStream state;
  std::int32_t handed = 0;  ///< Tokens handed over in this chunk.

  __device__ BeamEntry entry(int rank) const { return shared.entries[rank]; }
};

/// Make the threads' hypotheses the beam, those for which `alive` holds, in the order of threads.
/// For whole blocks; a barrier has to follow.
__device__ inline void place(BeamWalk& walk, BeamEntry entry, bool alive) {
  const BeamShared& shared = walk.shared;
  const Count count = count_threads(alive);
  walk.state.used = count.all;
  if (alive) shared.nodes[count.before] = entry.node;
  if (alive) shared.children[count.before] = -1;
  __syncthreads();
  if (!alive) return;
  entry.parent = -1;
  for (int other = 0; other < count.all; ++other) {
    if (shared.nodes[other] == entry.parent_node) entry.parent = other;
  }
  shared.entries[count.before] = entry;
}

}  // namespace mms::cuda
