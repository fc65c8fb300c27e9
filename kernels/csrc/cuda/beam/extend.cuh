// Extension of the hypotheses by the chosen tokens of a frame.
#pragma once

#include "state.cuh"

namespace mms::cuda {

/// Log-probabilities of one frame.
struct BeamFrame {
  const ScoresBatch& scores;
  std::int64_t begin;
  float offset;
  const BeamChoice* choices;
  std::int32_t choice_count;
  double cut;  ///< Minimum log-probability of a token that extends a hypothesis.

  __device__ BeamFrame(const BeamRow& stream, std::int64_t frame)
      : scores(stream.args.scores),
        begin(frame_begin(scores, stream.row, frame)),
        offset(stream.infos()[frame].offset),
        choices(stream.args.choices +
                (stream.row * scores.frames + frame) * stream.args.choice_count),
        choice_count(choices_used(stream.args)),
        cut(stream.args.token_min_logp) {
    if (choice_count == 0) return;
    // The most likely token of a frame is never cut.
    const float blank = log_prob(stream.args.blank);
    const float token = choices[0].log_prob;
    const auto best = static_cast<double>(blank > token ? blank : token);
    if (best < cut) cut = best;
  }

  __device__ float log_prob(std::int32_t token) const {
    return score_at(scores, begin + token) - offset;
  }
};

/// Log-probability that an extension starts from: a repeated token needs a blank between.
__device__ inline double before_token(const BeamEntry& entry, std::int32_t token) {
  return token == entry.last ? entry.blank : entry.total;
}

/// The same for the best path.
__device__ inline BeamPathStart path_before(const BeamWalk& walk,
                                            int rank,
                                            const BeamEntry& entry,
                                            std::int32_t token) {
  if (token == entry.last) return {entry.path.blank, entry.path.blank_spans};
  return {best_of(entry.path), walk.shared.closed[rank]};
}

/// True if the hypothesis extended by `token` is in the beam.
__device__ inline bool is_taken(const BeamWalk& walk, int rank, std::int32_t token) {
  const BeamShared& shared = walk.shared;
  for (int child = shared.children[rank]; child >= 0; child = shared.siblings[child]) {
    if (walk.entry(child).last == token) return true;
  }
  return false;
}

/// Add the hypothesis `rank` extended by a choice if it reaches the bound.
__device__ inline void try_choice(const BeamWalk& walk,
                                  int rank,
                                  const BeamChoice& choice,
                                  double bound) {
  const BeamScoring& scoring = walk.stream.scoring;
  const BeamEntry entry = walk.entry(rank);
  const double logp = before_token(entry, choice.token) + static_cast<double>(choice.log_prob);
  if (logp == kNever || logp + weigh(scoring, entry.gain) + scoring.max_gain < bound) return;
  if (is_taken(walk, rank, choice.token)) return;
  const BeamGain gain = extend(scoring, walk.stream.nodes, entry.node, entry.gain, choice.token);
  const double score = logp + weigh(scoring, gain);
  if (score >= bound && score != kNever) {
    walk.shared.candidates.add(candidate(score, rank, choice.token));
  }
}

/// Keep the first choices of a frame at hand. For whole blocks; a barrier must follow.
__device__ inline void stage_choices(const BeamWalk& walk, const BeamFrame& frame) {
  const int staged = beam_staged_choices(walk.stream.args.beam_size);
  const int count = frame.choice_count < staged ? frame.choice_count : staged;
  for (int i = thread_id(); i < count; i += block_threads()) {
    walk.shared.choices[i] = frame.choices[i];
  }
}

/// Choice of a frame whose first choices are staged.
__device__ inline BeamChoice choice_at(const BeamWalk& walk,
                                       const BeamFrame& frame,
                                       std::uint32_t index) {
  const auto staged = static_cast<std::uint32_t>(beam_staged_choices(walk.stream.args.beam_size));
  if (index < staged) return walk.shared.choices[index];
  return frame.choices[index];
}

/// Make room for a candidate of each thread if they may lack it: select the best, which raises the
/// bound. `most` is at least the number of candidates. For whole blocks.
__device__ inline void make_room(const BeamWalk& walk, int& most, double& bound) {
  BeamCandidates& candidates = walk.shared.candidates;
  if (most + block_threads() <= candidates.room) return;
  __syncthreads();
  most = candidates.count[0];
  __syncthreads();
  if (most + block_threads() <= candidates.room) return;
  most = candidates.select(walk.stream.args.beam_size);
  if (most < walk.stream.args.beam_size) return;
  const double worst = static_cast<BeamCandidate>(candidates.current()[most - 1]).score();
  bound = worst > bound ? worst : bound;
}

/// Add all extensions and select the best candidates; returns their number. `best` is the greatest
/// score of a hypothesis. For whole blocks.
__device__ inline int extend_all(const BeamWalk& walk,
                                 const BeamFrame& frame,
                                 double best,
                                 double bound) {
  const auto used = static_cast<std::uint32_t>(walk.state.used);
  const auto threads = static_cast<std::uint32_t>(block_threads());
  const std::uint32_t pairs = used * static_cast<std::uint32_t>(frame.choice_count);
  int most = walk.state.used;
  for (std::uint32_t base = 0; base < pairs; base += threads) {
    const double likely = choice_at(walk, frame, base / used).log_prob;
    if (best + likely + walk.stream.scoring.max_gain < bound || likely < frame.cut) break;
    make_room(walk, most, bound);
    const std::uint32_t pair = base + static_cast<std::uint32_t>(thread_id());
    if (pair < pairs) {
      const std::uint32_t index = pair / used;
      const BeamChoice choice = choice_at(walk, frame, index);
      const bool wanted = choice.log_prob >= frame.cut;
      if (wanted) try_choice(walk, static_cast<int>(pair - index * used), choice, bound);
    }
    most += block_threads();
  }
  __syncthreads();
  return walk.shared.candidates.select(walk.stream.args.beam_size);
}

}  // namespace mms::cuda
