// CTC prefix beam search (mms/beam.h): the frames of a chunk, one after another.
//
// A block for each stream, a thread for each hypothesis. In a frame every hypothesis stays, which
// gives a bound where the beam is full; the best tokens then extend the hypotheses, a row of
// threads at a time, and what reaches the bound is kept until the best of all are chosen.
#include "beam_extend.cuh"
#include "beam_tidy.cuh"

namespace mms::cuda {
namespace {

/// log(e^a + e^b), -inf where both are. The sum is float64; what is added to the greater of the
/// two is at most ln 2, and float32 is enough for it.
__device__ double log_add(double a, double b) {
  const double high = a > b ? a : b;
  if (high == kNever) return kNever;
  const double low = a > b ? b : a;
  return high + static_cast<double>(log1pf(expf(static_cast<float>(low - high))));
}

/// The tokens of this thread's better path, the last of which is over by now where that path ends
/// in it. For whole blocks.
__device__ std::int32_t close_span(BeamWalk& walk, const BeamPath& path, bool alive) {
  const bool closes = alive && !ends_in_blank(path);
  const Count count = count_threads(closes);
  const std::int32_t span = walk.state.spans + count.before;
  walk.state.spans += count.all;
  if (!closes) return path.blank_spans;
  walk.stream.spans[span] = last_span(path, walk.state.frame);
  return span;
}

/// The hypotheses without a new token; returns the score of this thread's. For whole blocks; a
/// barrier has to follow.
__device__ double stay(BeamWalk& walk, const BeamFrame& frame) {
  const BeamShared& shared = walk.shared;
  const int slot = thread_id();
  const bool alive = slot < walk.state.used;
  BeamEntry entry{};
  if (alive) entry = walk.entry(slot);
  const std::int32_t closed = close_span(walk, entry.path, alive);
  if (alive) shared.closed[slot] = closed;
  __syncthreads();
  if (!alive) return kNever;
  double sum_in = kNever;
  BeamPathStart path_in{kNever, -1};
  if (entry.parent >= 0) {
    const BeamEntry parent = walk.entry(entry.parent);
    sum_in = before_token(parent, entry.last);
    path_in = path_before(walk, entry.parent, parent, entry.last);
    shared.siblings[slot] = atomic_exchange(shared.children, entry.parent, slot);
  }
  const float last = frame.log_prob(entry.last);
  const float blank = frame.log_prob(walk.stream.args.blank);
  BeamStay next{entry.total + blank, log_add(entry.label, sum_in) + last, 0.0, {}};
  next.total = log_add(next.blank, next.label);
  next.path = stay_on_path(entry.path, closed, blank, last, path_in, walk.state.frame);
  shared.stays[slot] = next;
  const double score = next.total + weigh(walk.stream.scoring, entry.gain);
  shared.candidates.current()[slot] = {score, slot, -1};
  return score;
}

/// The node of a prefix that enters the beam, if one of the beam's has gone through it.
__device__ std::int32_t find_child(const BeamRow& stream, std::int32_t node, std::int32_t token) {
  std::int32_t child = stream.heads[node];
  while (child >= 0) {
    const BeamNode found = stream.nodes[child];
    if (found.token == token) break;
    child = found.sibling;
  }
  return child;
}

/// Candidate `mine` as a hypothesis of the next frame; `node` is -1 where it needs a new one.
__device__ BeamEntry enter(const BeamWalk& walk,
                           const BeamCandidate& mine,
                           const BeamFrame& frame) {
  BeamEntry entry = walk.entry(mine.rank);
  if (mine.token < 0) {
    const BeamStay stay = walk.shared.stays[mine.rank];
    entry.blank = stay.blank;
    entry.label = stay.label;
    entry.total = stay.total;
    entry.path = stay.path;
    return entry;
  }
  const BeamRow& stream = walk.stream;
  const float logp = frame.log_prob(mine.token);
  entry.path = begin_path(path_before(walk, mine.rank, entry, mine.token), logp, walk.state.frame);
  entry.label = before_token(entry, mine.token) + logp;
  entry.total = entry.label;
  entry.blank = kNever;
  entry.gain = extend(stream.scoring, stream.nodes, entry.node, entry.gain, mine.token);
  entry.last = mine.token;
  entry.parent_node = entry.node;
  entry.node = find_child(stream, entry.node, mine.token);
  return entry;
}

/// Put the candidates that are left in the place of the hypotheses. For whole blocks; a barrier
/// has to follow.
__device__ void replace(BeamWalk& walk, const BeamFrame& frame, int kept) {
  const BeamRow& stream = walk.stream;
  const int slot = thread_id();
  BeamEntry entry{};
  bool alive = slot < kept;
  if (alive) {
    const BeamCandidate mine = walk.shared.candidates.current()[slot];
    // Where no hypothesis is possible any more, the best one stays, with probability 0.
    alive = mine.score != kNever || slot == 0;
    if (alive) entry = enter(walk, mine, frame);
  }
  const bool is_new = alive && entry.node < 0;
  const Count fresh = count_threads(is_new);
  if (is_new) {
    entry.node = walk.state.nodes + fresh.before;
    const std::int32_t sibling = atomic_exchange(stream.heads, entry.parent_node, entry.node);
    stream.nodes[entry.node] = {entry.parent_node, entry.last, sibling};
    stream.heads[entry.node] = -1;
  }
  walk.state.nodes += fresh.all;
  place(walk, entry, alive);
}

/// One frame. For whole blocks.
__device__ void advance(BeamWalk& walk, const BeamFrame& frame) {
  BeamCandidates& candidates = walk.shared.candidates;
  const bool alive = thread_id() < walk.state.used;
  candidates.half = 0;
  if (thread_id() == 0) candidates.count[0] = walk.state.used;
  __syncthreads();
  const double score = stay(walk, frame);
  double best = kNever;
  if (alive) {
    const BeamEntry entry = walk.entry(thread_id());
    best = entry.total + weigh(walk.stream.scoring, entry.gain);
  }
  best = block_max(best);
  const double low = -block_max(alive ? -score : kNever);
  // Where the beam is full, what is below the worst that stays cannot get in.
  const double bound = walk.state.used == walk.stream.args.beam_size ? low : kNever;
  replace(walk, frame, extend_all(walk, frame, best, bound));
  ++walk.state.frame;
  if (walk.state.frame % kBeamTidyFrames != 0) return;
  __syncthreads();
  tidy(walk);
}

/// What keeps a chunk from being decoded. For whole warps.
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
  __syncthreads();  // every thread has read the state, and placed its hypothesis
  if (slot < walk.state.used) stream.entries[slot] = walk.entry(slot);
  if (slot == 0) {
    stream.state[0] = walk.state;
    stream.args.settled_counts[stream.row] = walk.handed;
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

/// Read a chunk of each stream: grid (rows), block beam_threads.
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
