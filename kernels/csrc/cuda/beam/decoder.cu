// Kernels that start the streams of a prefix beam search and decode their chunks.
#include "step.cuh"

namespace mms::cuda {
namespace {

static_assert(sizeof(BeamSlot) == kBeamSlotBytes && sizeof(BeamStay) == kBeamStayBytes &&
              sizeof(BeamCandidate) == kBeamCandidateBytes && sizeof(BeamChoice) == 8);

/// So that pairs of hypotheses and choices are counted in 32 bits.
constexpr std::int64_t kMaxChoices = 1 << 24;

/// Next array of the dynamic shared memory.
template <typename T>
__device__ Checked<T> next_array(std::int64_t& offset, std::int64_t size) {
  const std::int64_t begin = offset;
  offset += size * static_cast<std::int64_t>(sizeof(T));
  return dynamic_shared<T>(begin, size);
}

/// Arrays in the dynamic shared memory, beam_step_shared_bytes in all.
__device__ BeamShared share(std::int32_t beam_size, const Checked<int>& count) {
  const int room = kBeamRounds * block_threads();
  std::int64_t at = 0;
  BeamShared shared{};
  shared.slots = next_array<BeamSlot>(at, beam_size);
  shared.stays = next_array<BeamStay>(at, beam_size);
  shared.candidates = {next_array<BeamCandidate>(at, 2 * room), count, room};
  shared.choices = next_array<BeamChoice>(at, beam_staged_choices(beam_size));
  shared.closed = next_array<int>(at, beam_size);
  shared.children = next_array<int>(at, beam_size);
  shared.siblings = next_array<int>(at, beam_size);
  shared.nodes = next_array<int>(at, beam_size);
  return shared;
}

/// Check a chunk. For whole warps.
__device__ Status check_chunk(const BeamRow& stream) {
  const BeamArgs& args = stream.args;
  const std::int64_t length = args.scores.lengths[stream.row];
  const Status status = check_frames(stream.infos(), length, args.scores.frames);
  if (status.code != Code::kOk) return status;
  const std::int64_t least = beam_least_arena(args.beam_size, stream.scoring.longest_word);
  const bool fits = args.beam_size >= 1 && args.beam_size <= kMaxBeam &&
                    block_threads() >= args.beam_size && args.arena >= least &&
                    args.settled.capacity >= args.arena + length &&
                    args.choice_count <= kMaxChoices;
  return {fits ? Code::kOk : Code::kCapacity, 0, 0};
}

/// Decode the chunk of a stream. For whole blocks.
__device__ void walk_chunk(const BeamRow& stream, BeamShared& shared) {
  BeamWalk walk{stream, shared, stream.state[0]};
  const int slot = thread_id();
  if (slot < walk.state.used) {
    shared.set_entry(slot, stream.entries[slot]);
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

/// Decode a chunk of each stream: grid (rows), block beam_threads, dynamic shared memory
/// beam_step_shared_bytes.
extern "C" __global__ void __launch_bounds__(128, 4) mms_beam_step(mms::cuda::BeamArgs args) {
  using namespace mms::cuda;
  MMS_SHARED(int, count, 1);
  const std::int64_t slot = slot_of(args.slots, blockIdx.x);
  if (slot < 0) return;
  const BeamRow stream(args, blockIdx.x, slot);
  const Status status = check_chunk(stream);
  if (status.code == Code::kOk) {
    BeamShared shared = share(args.beam_size, count);
    walk_chunk(stream, shared);
  } else if (thread_id() == 0) {
    args.settled_counts[stream.row] = 0;
  }
  if (thread_id() == 0) args.status[stream.row] = status;
}
