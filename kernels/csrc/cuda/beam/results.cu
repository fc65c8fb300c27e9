// Results: hypotheses with the frames of their tokens.
#include "state.cuh"

namespace mms::cuda {
namespace {

/// Write the last `count` tokens of a hypothesis from `begin` on, after `frame` frames.
__device__ void write_tokens(const BeamRow& stream,
                             const BeamEntry& entry,
                             int count,
                             std::int64_t frame,
                             const TokenArrays& out,
                             std::int64_t begin) {
  std::int32_t node = entry.node;
  for (int i = count - 1; i >= 0; --i) {
    const BeamNode prefix = stream.nodes[node];
    out.ids[begin + i] = prefix.token;
    node = prefix.parent;
  }
  int left = count;
  if (!ends_in_blank(entry.path)) write_time(out, begin + --left, last_span(entry.path, frame));
  for (std::int32_t id = closed_spans(entry.path); id > 0 && left > 0;) {
    const BeamSpan span = stream.spans[id];
    write_time(out, begin + --left, span);
    id = span.parent;
  }
}

/// Rank of this thread's score within the block. For whole blocks.
__device__ int rank_of(double score, int used) {
  MMS_SHARED(double, scores, kMaxBeam);
  if (thread_id() < used) scores[thread_id()] = score;
  __syncthreads();
  int rank = 0;
  for (int other = 0; other < used; ++other) {
    const double theirs = scores[other];
    rank += theirs > score || (theirs == score && other < thread_id()) ? 1 : 0;
  }
  return rank;
}

/// Number of tokens after the root shared by all hypotheses. For whole blocks.
__device__ int count_shared(const BeamRow& stream, const BeamStream& state) {
  clear_marks(stream, state.nodes);
  if (thread_id() < state.used) {
    refer(stream, stream.nodes, static_cast<BeamEntry>(stream.entries[thread_id()]).node);
  }
  __syncthreads();
  std::int32_t node = static_cast<BeamEntry>(stream.entries[0]).node;
  int shared = 0;
  while (node != 0) {
    node = parent_of(stream.nodes, node);
    ++shared;
    if (stream.marks[node] != 1) shared = 0;
  }
  return shared;
}

/// For whole blocks.
__device__ Code write_results(const BeamRow& stream, const BeamOutput& out) {
  const BeamStream state = stream.state[0];
  const int slot = thread_id();
  const std::int64_t begin = stream.row * out.nbest;
  for (int i = state.used + slot; i < out.nbest; i += block_threads()) {
    out.counts[begin + i] = 0;
    out.scores[begin + i] = kNever;
  }
  BeamEntry entry{};
  int count = 0;
  if (slot < state.used) {
    entry = stream.entries[slot];
    count = depth_of(stream, entry.node) - state.kept;
    if (out.finish != 0) {
      entry.gain = finish(stream.scoring, stream.nodes, entry.node, entry.gain);
    }
  }
  const double score = entry.total + weigh(stream.scoring, entry.gain);
  const int rank = rank_of(score, state.used);
  const int shared = count_shared(stream, state);
  if (slot == 0) out.stable[stream.row] = shared - state.kept;
  const bool wanted = slot < state.used && rank < out.nbest;
  if (__syncthreads_count(wanted && count > out.tokens.capacity) > 0) return Code::kCapacity;
  if (!wanted) return Code::kOk;
  const std::int64_t place = begin + rank;
  write_tokens(stream, entry, count, state.frame, out.tokens, place * out.tokens.capacity);
  out.counts[place] = count;
  out.log_probs[place] = entry.total;
  out.lm_scores[place] = entry.gain.lm_score;
  out.bonuses[place] = entry.gain.bonus;
  out.scores[place] = score;
  return Code::kOk;
}

}  // namespace
}  // namespace mms::cuda

/// Write the best hypotheses without their settled tokens: grid (rows), block beam_threads. The
/// streams are unchanged.
extern "C" __global__ void __launch_bounds__(128, 4)
    mms_beam_results(mms::cuda::BeamArgs args, mms::cuda::BeamOutput out) {
  using namespace mms::cuda;
  const std::int64_t slot = slot_of(args.slots, blockIdx.x);
  if (slot < 0) return;
  const BeamRow stream(args, blockIdx.x, slot);
  const Code code = write_results(stream, out);
  if (thread_id() == 0) args.status[stream.row] = {code, 0, 0};
}
