// Kernels that start the streams of a prefix beam search and decode their chunks.
#include "step.cuh"

namespace mms::cuda {
namespace {

/// Check a chunk. For whole warps.
__device__ Status check_chunk(const BeamRow& stream) {
  const BeamArgs& args = stream.args;
  const std::int64_t length = args.scores.lengths[stream.row];
  const Status status = check_frames(stream.infos(), length, args.scores.frames);
  if (status.code != Code::kOk) return status;
  const std::int64_t least = beam_least_arena(args.beam_size, stream.scoring.longest_word);
  const bool fits = args.beam_size >= 1 && args.beam_size <= kMaxBeam &&
                    block_threads() >= args.beam_size && args.arena >= least &&
                    args.settled.capacity >= args.arena + length;
  return {fits ? Code::kOk : Code::kCapacity, 0, 0};
}

/// Decode the chunk of a stream. For whole blocks.
__device__ void walk_chunk(const BeamRow& stream, BeamShared& shared) {
  BeamWalk walk{stream, shared, stream.state[0]};
  const int slot = thread_id();
  if (slot < walk.state.used) {
    shared.entries[slot] = static_cast<BeamEntry>(stream.entries[slot]);
    shared.children[slot] = -1;
  }
  const std::int64_t length = stream.args.scores.lengths[stream.row];
  for (std::int64_t frame = 0; frame < length; ++frame) {
    advance(walk, BeamFrame(stream, frame));
  }
  __syncthreads();  // all threads have read the state and placed their hypotheses
  if (slot < walk.state.used) stream.entries[slot] = walk.entry(slot);
  if (slot == 0) {
    stream.state[0] = walk.state;
    stream.args.settled_counts[stream.row] = walk.settled;
  }
}

}  // namespace
}  // namespace mms::cuda

/// Start streams: grid (rows), block 32.
extern "C" __global__ void __launch_bounds__(32) mms_beam_begin(mms::cuda::BeamArgs args) {
  using namespace mms::cuda;
  const std::int64_t slot = slot_of(args.slots, blockIdx.x);
  if (slot < 0 || thread_id() != 0) return;
  const BeamRow stream(args, blockIdx.x, slot);
  stream.state[0] = BeamStream{1, 1, 1, 0, 0, 0};
  const BeamPath path{0.0, kNever, 0.0, 0, 0.0F, 0, -1, 0};
  stream.entries[0] =
      BeamEntry{0.0, kNever, 0.0, first_gain(stream.scoring), path, 0, -1, -1, args.blank};
  stream.nodes[0] = BeamNode{-1, -1, -1};
  stream.heads[0] = -1;
  stream.spans[0] = BeamSpan{0, 0, -1, 0.0F, 0.0F, 0};
  args.status[stream.row] = {Code::kOk, 0, 0};
}

/// Decode a chunk of each stream: grid (rows), block beam_threads.
extern "C" __global__ void __launch_bounds__(128) mms_beam_step(mms::cuda::BeamArgs args) {
  using namespace mms::cuda;
  MMS_SHARED(BeamEntry, entries, kMaxBeam);
  MMS_SHARED(BeamStay, stays, kMaxBeam);
  MMS_SHARED(int, closed, kMaxBeam);
  MMS_SHARED(int, children, kMaxBeam);
  MMS_SHARED(int, siblings, kMaxBeam);
  MMS_SHARED(int, nodes, kMaxBeam);
  MMS_SHARED(int, count, 1);
  MMS_SHARED(BeamCandidate, candidates, 2 * 3 * kMaxBeam);
  const std::int64_t slot = slot_of(args.slots, blockIdx.x);
  if (slot < 0) return;
  BeamShared shared{
      entries, stays, closed, children, siblings, nodes, {candidates, count, 3 * kMaxBeam}};
  const BeamRow stream(args, blockIdx.x, slot);
  const Status status = check_chunk(stream);
  if (status.code == Code::kOk) {
    walk_chunk(stream, shared);
  } else if (thread_id() == 0) {
    args.settled_counts[stream.row] = 0;
  }
  if (thread_id() == 0) args.status[stream.row] = status;
}
