// One frame of the CTC prefix beam search (mms/beam.h).
//
// One block per stream, one thread per hypothesis. First every hypothesis is advanced without a new
// token, which gives a bound if the beam is full; then the chosen tokens extend the hypotheses, and
// the best candidates that reach the bound are selected.
#pragma once

#include "extend.cuh"
#include "tidy.cuh"

namespace mms::cuda {

/// log(e^a + e^b), -inf if both are. The correction to the greater of the two is at most ln 2, for
/// which float32 suffices.
__device__ inline double log_add(double a, double b) {
  const double high = a > b ? a : b;
  if (high == kNever) return kNever;
  const double low = a > b ? b : a;
  return high + static_cast<double>(log1pf(expf(static_cast<float>(low - high))));
}

/// Close the last span of this thread's better path if that ends in a label; returns its spans. For
/// whole blocks.
__device__ inline std::int32_t close_span(BeamWalk& walk, const BeamPath& path, bool alive) {
  const bool closes = alive && !ends_in_blank(path);
  const Count count = count_threads(closes);
  const std::int32_t span = walk.state.spans + count.before;
  walk.state.spans += count.all;
  if (!closes) return path.blank_spans;
  walk.stream.spans[span] = last_span(path, walk.state.frame);
  return span;
}

/// Advance the hypotheses without a new token; returns the score of this thread's. For whole
/// blocks; a barrier must follow.
__device__ inline double stay(BeamWalk& walk, const BeamFrame& frame) {
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
  shared.candidates.current()[slot] = candidate(score, slot, kNoToken);
  return score;
}

/// Existing node of a prefix that enters the beam; -1 for none.
__device__ inline std::int32_t find_child(const BeamRow& stream,
                                          std::int32_t node,
                                          std::int32_t token) {
  std::int32_t child = stream.heads[node];
  while (child >= 0) {
    const BeamNode found = stream.nodes[child];
    if (found.token == token) break;
    child = found.sibling;
  }
  return child;
}

/// Hypothesis of the next frame for a candidate; `node` is -1 if a new node is needed.
__device__ inline BeamEntry enter(const BeamWalk& walk,
                                  const BeamCandidate& mine,
                                  const BeamFrame& frame) {
  const int rank = mine.rank();
  const std::int32_t token = mine.token();
  BeamEntry entry = walk.entry(rank);
  if (token == kNoToken) {
    const BeamStay stay = walk.shared.stays[rank];
    entry.blank = stay.blank;
    entry.label = stay.label;
    entry.total = stay.total;
    entry.path = stay.path;
    return entry;
  }
  const BeamRow& stream = walk.stream;
  const float logp = frame.log_prob(token);
  entry.path = begin_path(path_before(walk, rank, entry, token), logp, walk.state.frame);
  entry.label = before_token(entry, token) + logp;
  entry.total = entry.label;
  entry.blank = kNever;
  entry.gain = extend(stream.scoring, stream.nodes, entry.node, entry.gain, token);
  entry.last = token;
  entry.parent_node = entry.node;
  entry.node = find_child(stream, entry.node, token);
  return entry;
}

/// Make the selected candidates the beam. For whole blocks; a barrier must follow.
__device__ inline void replace(BeamWalk& walk, const BeamFrame& frame, int kept) {
  const BeamRow& stream = walk.stream;
  const int slot = thread_id();
  BeamEntry entry{};
  bool alive = slot < kept;
  if (alive) {
    const BeamCandidate mine = walk.shared.candidates.current()[slot];
    // If no hypothesis is possible any more, the best one stays with probability 0.
    alive = mine.score() != kNever || slot == 0;
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

/// Decode one frame. For whole blocks.
__device__ inline void advance(BeamWalk& walk, const BeamFrame& frame) {
  BeamCandidates& candidates = walk.shared.candidates;
  const bool alive = thread_id() < walk.state.used;
  candidates.half = 0;
  if (thread_id() == 0) candidates.count[0] = walk.state.used;
  stage_choices(walk, frame);
  __syncthreads();
  const double score = stay(walk, frame);
  double best = kNever;
  if (alive) {
    const BeamEntry entry = walk.entry(thread_id());
    best = entry.total + weigh(walk.stream.scoring, entry.gain);
  }
  best = block_max(best);
  const double low = -block_max(alive ? -score : kNever);
  // In a full beam, scores below the worst kept hypothesis cannot enter.
  const double bound = walk.state.used == walk.stream.args.beam_size ? low : kNever;
  replace(walk, frame, extend_all(walk, frame, best, bound));
  ++walk.state.frame;
  if (walk.state.frame % kBeamTidyFrames != 0) return;
  __syncthreads();
  tidy(walk);
}

}  // namespace mms::cuda
