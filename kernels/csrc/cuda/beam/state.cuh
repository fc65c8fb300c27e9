// State of a prefix beam stream, and of the block that decodes it.
#pragma once

#include "paths.cuh"
#include "score.cuh"
#include "select.cuh"

namespace mms::cuda {

/// Arguments of one row and its stream.
struct BeamRow {
  const BeamArgs& args;
  const BeamScoring& scoring;
  std::int64_t row;
  Checked<BeamStream> state;  ///< [1]
  Checked<BeamEntry> entries;
  Checked<BeamNode> nodes;
  Checked<std::int32_t> heads;
  Checked<BeamSpan> spans;
  Checked<std::int32_t> marks;

  __device__ BeamRow(const BeamArgs& all, std::int64_t index, std::int64_t slot)
      : args(all),
        scoring(all.scorings[slot]),
        row(index),
        state(checked(all.streams + slot, 1)),
        entries(checked(all.entries + slot * all.beam_size, all.beam_size)),
        nodes(checked(all.nodes + slot * all.arena, all.arena)),
        heads(checked(all.heads + slot * all.arena, all.arena)),
        spans(checked(all.spans + slot * all.arena, all.arena)),
        marks(checked(all.marks + index * all.arena, all.arena)) {}

  __device__ const Frame* infos() const { return args.frames + row * args.scores.frames; }
};

/// Number of choices per frame, without the blank.
__device__ inline std::int32_t choices_used(const BeamArgs& args) {
  const std::int64_t others = args.scores.vocab - 1;
  return static_cast<std::int32_t>(args.choice_count < others ? args.choice_count : others);
}

/// Number of threads with `flag`, before this one and in all. For whole blocks.
struct Count {
  int before;
  int all;
};
__device__ inline Count count_threads(bool flag) {
  MMS_SHARED(int, of_warps, 32);
  const std::uint32_t lanes = __ballot_sync(kAllLanes, flag);
  if (lane_id() == 0) of_warps[warp_id()] = __popc(lanes);
  __syncthreads();
  Count count{__popc(lanes & ((1U << lane_id()) - 1U)), 0};
  for (int warp = 0; warp < block_threads() / kWarpSize; ++warp) {
    const int size = of_warps[warp];
    if (warp < warp_id()) count.before += size;
    count.all += size;
  }
  __syncthreads();
  return count;
}

/// Set the first `size` marks to 0. For whole blocks.
__device__ inline void clear_marks(const BeamRow& stream, int size) {
  for (int i = thread_id(); i < size; i += block_threads()) stream.marks[i] = 0;
  __syncthreads();
}

/// Count in `marks` the references to the elements of the chain of parents of `id`, up to where
/// another chain has been counted.
template <typename Element>
__device__ void refer(const BeamRow& stream, const Checked<Element>& chain, std::int32_t id) {
  while (id >= 0 && atomic_add(stream.marks, id, 1) == 0) {
    id = static_cast<Element>(chain[id]).parent;
  }
}

template <typename Element>
__device__ std::int32_t parent_of(const Checked<Element>& chain, std::int32_t id) {
  return static_cast<Element>(chain[id]).parent;
}

/// Number of tokens from the root to `node`.
__device__ inline int depth_of(const BeamRow& stream, std::int32_t node) {
  int depth = 0;
  for (; node != 0; node = parent_of(stream.nodes, node)) ++depth;
  return depth;
}

/// Write the span of a token.
__device__ inline void write_time(const TokenArrays& out,
                                  std::int64_t place,
                                  const BeamSpan& span) {
  out.starts[place] = span.start;
  out.ends[place] = span.end;
  out.scores[place] = span.score;
  out.peaks[place] = span.peak;
}

/// Hypothesis one frame later without a new token.
struct BeamStay {
  double blank;
  double label;
  double total;
  BeamPath path;
};

/// Hypothesis in shared memory, padded so that those of a warp lie in different banks.
struct BeamSlot {
  BeamEntry entry;
  std::uint64_t unused;
};

/// Shared memory of a block.
struct BeamShared {
  Checked<BeamSlot> slots;      ///< [beam_size] best first.
  Checked<BeamStay> stays;      ///< [beam_size] next frame.
  Checked<int> closed;          ///< [beam_size] closed spans of the better path.
  Checked<int> children;        ///< [beam_size] first child in the beam; -1 for none.
  Checked<int> siblings;        ///< [beam_size] next sibling.
  Checked<int> nodes;           ///< [beam_size] nodes of the hypotheses.
  Checked<BeamChoice> choices;  ///< [beam_staged_choices] first choices of the frame.
  BeamCandidates candidates;

  __device__ void set_entry(int rank, const BeamEntry& entry) const { slots[rank] = {entry, 0}; }
};

/// Stream during the decoding of a chunk; equal in every thread.
struct BeamWalk {
  const BeamRow& stream;
  BeamShared& shared;
  BeamStream state;
  std::int32_t settled = 0;  ///< Tokens settled in this chunk.

  __device__ BeamEntry entry(int rank) const {
    return static_cast<BeamSlot>(shared.slots[rank]).entry;
  }
};

/// Make the hypotheses of the `alive` threads the beam, in the order of threads. For whole blocks;
/// a barrier must follow.
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
  shared.set_entry(count.before, entry);
}

}  // namespace mms::cuda
