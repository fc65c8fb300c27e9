// CTC prefix beam search (mms/beam.h): the frames of a chunk, one after another.
//
// A block for each stream, a thread for each hypothesis. In a frame every hypothesis stays, which
// gives a bound where the beam is full; the best tokens then extend the hypotheses, a row of
// threads at a time, and what reaches the bound is kept until the best of all are chosen.
#include "beam_select.cuh"

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

/// The shared memory of a block.
struct BeamShared {
  Checked<BeamEntry> entries;  ///< [2 * kMaxBeam] of this frame and of the next.
  Checked<double> stays;       ///< [3 * kMaxBeam] blank, label and total of those that stay.
  Checked<int> children;       ///< [kMaxBeam] a hypothesis that extends this one; -1 for none.
  Checked<int> siblings;       ///< [kMaxBeam] another with the same parent.
  Checked<int> nodes;          ///< [kMaxBeam] of the next frame's hypotheses.
  BeamCandidates candidates;
};

/// A stream while its chunk is decoded.
struct BeamWalk {
  const BeamRow& stream;
  BeamShared& shared;
  int used;
  int node_count;
  int half;  ///< Which of `entries` is this frame's.

  __device__ Checked<BeamEntry> now() const {
    return part(shared.entries, half * kMaxBeam, kMaxBeam);
  }
  __device__ Checked<BeamEntry> next() const {
    return part(shared.entries, (1 - half) * kMaxBeam, kMaxBeam);
  }
};

/// One frame's log-probabilities.
struct BeamFrame {
  const ScoresBatch& scores;
  std::int64_t begin;
  float offset;
  const BeamChoice* choices;
  std::int32_t choice_count;

  __device__ BeamFrame(const BeamRow& stream, std::int64_t frame)
      : scores(stream.args.scores),
        begin(frame_begin(scores, stream.row, frame)),
        offset(stream.infos()[frame].offset),
        choices(stream.args.choices +
                (stream.row * scores.frames + frame) * stream.args.choice_count),
        choice_count(choices_used(stream.args)) {}

  __device__ double log_prob(std::int32_t token) const {
    return score_at(scores, begin + token) - offset;
  }
};

/// What extending a hypothesis starts from: a repeated token needs a blank between.
__device__ double before_token(const BeamEntry& entry, std::int32_t token) {
  return token == entry.last ? entry.blank : entry.total;
}

/// The hypothesis of this thread without a new token; returns its score.
__device__ double stay(const BeamWalk& walk, const BeamFrame& frame) {
  const BeamArgs& args = walk.stream.args;
  const int slot = thread_id();
  const BeamEntry entry = walk.now()[slot];
  double brought_in = kNever;
  if (entry.parent >= 0) {
    brought_in = before_token(walk.now()[entry.parent], entry.last);
    walk.shared.siblings[slot] = atomic_exchange(walk.shared.children, entry.parent, slot);
  }
  const double blank = entry.total + frame.log_prob(args.blank);
  const double label = log_add(entry.label, brought_in) + frame.log_prob(entry.last);
  const double total = log_add(blank, label);
  walk.shared.stays[slot] = blank;
  walk.shared.stays[kMaxBeam + slot] = label;
  walk.shared.stays[2 * kMaxBeam + slot] = total;
  const double score = total + weigh(args.scoring, entry.gain);
  walk.shared.candidates.current()[slot] = {score, slot, -1};
  return score;
}

/// Whether a hypothesis extended by `token` is in the beam.
__device__ bool is_taken(const BeamShared& shared,
                         const Checked<BeamEntry>& now,
                         int rank,
                         std::int32_t token) {
  for (int child = shared.children[rank]; child >= 0; child = shared.siblings[child]) {
    if (static_cast<BeamEntry>(now[child]).last == token) return true;
  }
  return false;
}

/// Add the hypothesis `rank` extended by a choice, where that reaches the bound.
__device__ void try_choice(const BeamWalk& walk, int rank, const BeamChoice& choice, double bound) {
  const BeamScoring& scoring = walk.stream.args.scoring;
  const BeamEntry entry = walk.now()[rank];
  const double logp = before_token(entry, choice.token) + static_cast<double>(choice.log_prob);
  if (logp == kNever || logp + weigh(scoring, entry.gain) + scoring.max_gain < bound) return;
  if (is_taken(walk.shared, walk.now(), rank, choice.token)) return;
  const BeamGain gain = extend(scoring, walk.stream.nodes, entry.node, entry.gain, choice.token);
  const double score = logp + weigh(scoring, gain);
  if (score >= bound && score != kNever) {
    walk.shared.candidates.add({score, rank, choice.token});
  }
}

/// All candidates but those that stay; `best` is the greatest total with its gain. For whole
/// blocks; leaves the best candidates in order and returns how many.
__device__ int extend_all(BeamWalk& walk, const BeamFrame& frame, double best, double bound) {
  BeamCandidates& candidates = walk.shared.candidates;
  const BeamArgs& args = walk.stream.args;
  const std::int64_t pairs = static_cast<std::int64_t>(walk.used) * frame.choice_count;
  for (std::int64_t base = 0; base < pairs; base += block_threads()) {
    const double most = frame.choices[base / walk.used].log_prob;
    if (best + most + args.scoring.max_gain < bound || most < args.token_min_logp) break;
    const std::int64_t pair = base + thread_id();
    if (pair < pairs) {
      const BeamChoice choice = frame.choices[pair / walk.used];
      const bool wanted = choice.log_prob >= args.token_min_logp;
      if (wanted) try_choice(walk, static_cast<int>(pair % walk.used), choice, bound);
    }
    __syncthreads();
    const bool full = candidates.count[0] + block_threads() > candidates.room;
    __syncthreads();
    if (!full) continue;
    const int kept = candidates.select(args.beam_size);
    if (kept < args.beam_size) continue;
    const BeamCandidate worst = candidates.current()[kept - 1];
    bound = worst.score > bound ? worst.score : bound;
  }
  return candidates.select(args.beam_size);
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
  BeamEntry entry = walk.now()[mine.rank];
  if (mine.token < 0) {
    entry.blank = walk.shared.stays[mine.rank];
    entry.label = walk.shared.stays[kMaxBeam + mine.rank];
    entry.total = walk.shared.stays[2 * kMaxBeam + mine.rank];
    return entry;
  }
  const BeamRow& stream = walk.stream;
  entry.label = before_token(entry, mine.token) + frame.log_prob(mine.token);
  entry.total = entry.label;
  entry.blank = kNever;
  entry.gain = extend(stream.args.scoring, stream.nodes, entry.node, entry.gain, mine.token);
  entry.last = mine.token;
  entry.parent_node = entry.node;
  entry.node = find_child(stream, entry.node, mine.token);
  return entry;
}

/// Put the candidates that are left in the place of the hypotheses. For whole blocks.
__device__ void replace(BeamWalk& walk, const BeamFrame& frame, int kept) {
  const int slot = thread_id();
  BeamEntry entry{};
  bool alive = slot < kept;
  if (alive) {
    const BeamCandidate mine = walk.shared.candidates.current()[slot];
    // Where no hypothesis is possible any more, the best one stays, with probability 0.
    alive = mine.score != kNever || slot == 0;
    if (alive) entry = enter(walk, mine, frame);
  }
  walk.used = count_threads(alive).all;
  const Count fresh = count_threads(alive && entry.node < 0);
  if (alive && entry.node < 0) {
    entry.node = walk.node_count + fresh.before;
    const std::int32_t sibling = atomic_exchange(walk.stream.heads, entry.parent_node, entry.node);
    walk.stream.nodes[entry.node] = {entry.parent_node, entry.last, sibling};
    walk.stream.heads[entry.node] = -1;
  }
  walk.node_count += fresh.all;
  if (alive) walk.shared.nodes[slot] = entry.node;
  if (alive) walk.shared.children[slot] = -1;
  __syncthreads();
  if (alive) {
    entry.parent = -1;
    for (int other = 0; other < walk.used; ++other) {
      if (walk.shared.nodes[other] == entry.parent_node) entry.parent = other;
    }
    walk.next()[slot] = entry;
  }
  walk.half = 1 - walk.half;
}

/// One frame. For whole blocks.
__device__ void advance(BeamWalk& walk, const BeamFrame& frame) {
  BeamCandidates& candidates = walk.shared.candidates;
  const bool alive = thread_id() < walk.used;
  candidates.half = 0;
  if (thread_id() == 0) candidates.count[0] = walk.used;
  __syncthreads();
  double low = -kNever;
  double best = kNever;
  if (alive) {
    low = stay(walk, frame);
    const BeamEntry entry = walk.now()[thread_id()];
    best = entry.total + weigh(walk.stream.args.scoring, entry.gain);
  }
  best = block_max(best);
  low = -block_max(-low);
  // Where the beam is full, what is below the worst that stays cannot get in.
  const double bound = walk.used == walk.stream.args.beam_size ? low : kNever;
  replace(walk, frame, extend_all(walk, frame, best, bound));
}

/// What keeps a chunk from being decoded. For whole warps.
__device__ Status check_chunk(const BeamRow& stream, const BeamStream& state) {
  const BeamArgs& args = stream.args;
  const std::int64_t length = args.scores.lengths[stream.row];
  const Status status = check_frames(stream.infos(), length, args.scores.frames);
  if (status.code != Code::kOk) return status;
  const bool fits = state.nodes + args.beam_size * length <= args.arena && args.beam_size >= 1 &&
                    args.beam_size <= kMaxBeam && block_threads() >= args.beam_size;
  return {fits ? Code::kOk : Code::kCapacity, 0, 0};
}

/// Decode the chunk of a stream. For whole blocks.
__device__ void walk_chunk(const BeamRow& stream, BeamShared& shared) {
  const BeamStream state = stream.state[0];
  BeamWalk walk{stream, shared, state.used, state.nodes, 0};
  const int slot = thread_id();
  if (slot < walk.used) {
    walk.now()[slot] = static_cast<BeamEntry>(stream.entries[slot]);
    shared.children[slot] = -1;
  }
  const std::int64_t length = stream.args.scores.lengths[stream.row];
  for (std::int64_t frame = 0; frame < length; ++frame) {
    advance(walk, BeamFrame(stream, frame));
  }
  __syncthreads();  // every thread has read the state
  if (slot < walk.used) stream.entries[slot] = static_cast<BeamEntry>(walk.now()[slot]);
  if (slot == 0) {
    stream.state[0] = BeamStream{walk.used, walk.node_count, state.frame + length, state.settled};
  }
}

}  // namespace
}  // namespace mms::cuda

/// Start streams: grid (rows), block 32.
extern "C" __global__ void __launch_bounds__(32) mms_beam_begin(mms::cuda::BeamArgs args) {
  using namespace mms::cuda;
  if (thread_id() != 0) return;
  const BeamRow stream(args, blockIdx.x);
  stream.state[0] = BeamStream{1, 1, 0, 0};
  stream.entries[0] = BeamEntry{0.0, kNever, 0.0, first_gain(args.scoring), 0, -1, -1, args.blank};
  stream.nodes[0] = BeamNode{-1, -1, -1};
  stream.heads[0] = -1;
  args.status[stream.row] = {Code::kOk, 0, 0};
}

/// Read a chunk of each stream: grid (rows), block beam_threads.
extern "C" __global__ void __launch_bounds__(128) mms_beam_step(mms::cuda::BeamArgs args) {
  using namespace mms::cuda;
  MMS_SHARED(BeamEntry, entries, 2 * kMaxBeam);
  MMS_SHARED(double, stays, 3 * kMaxBeam);
  MMS_SHARED(int, children, kMaxBeam);
  MMS_SHARED(int, siblings, kMaxBeam);
  MMS_SHARED(int, nodes, kMaxBeam);
  MMS_SHARED(int, count, 1);
  MMS_SHARED(BeamCandidate, candidates, 2 * 3 * kMaxBeam);
  BeamShared shared{entries, stays, children, siblings, nodes, {candidates, count, 3 * kMaxBeam}};
  const BeamRow stream(args, blockIdx.x);
  const Status status = check_chunk(stream, stream.state[0]);
  if (status.code == Code::kOk) walk_chunk(stream, shared);
  if (thread_id() == 0) args.status[stream.row] = status;
}
