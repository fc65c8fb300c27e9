// One stream of a batch of the prefix beam.
#pragma once

#include "beam_score.cuh"

namespace mms::cuda {

/// What of the arguments is one stream's.
struct BeamRow {
  const BeamArgs& args;
  std::int64_t row;
  Checked<BeamStream> state;  ///< [1]
  Checked<BeamEntry> entries;
  Checked<BeamNode> nodes;
  Checked<std::int32_t> heads;

  __device__ BeamRow(const BeamArgs& all, std::int64_t index)
      : args(all),
        row(index),
        state(checked(all.streams + index, 1)),
        entries(checked(all.entries + index * all.beam_size, all.beam_size)),
        nodes(checked(all.nodes + index * all.arena, all.arena)),
        heads(checked(all.heads + index * all.arena, all.arena)) {}

  __device__ const Frame* infos() const { return args.frames + row * args.scores.frames; }
};

/// How many choices a frame has: the blank is none.
__device__ inline std::int32_t choices_used(const BeamArgs& args) {
  const std::int64_t others = args.scores.vocab - 1;
  return static_cast<std::int32_t>(args.choice_count < others ? args.choice_count : others);
}

/// For how many threads before this one `flag` holds, and for how many of all. For whole blocks.
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

}  // namespace mms::cuda
