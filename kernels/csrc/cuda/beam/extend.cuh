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
    walk.shared.candidates.add({score, rank, choice.token});
  }
}

/// Add all extensions and select the best candidates; returns their number. `best` is the greatest
/// score of a hypothesis. For whole blocks.
__device__ inline int extend_all(const BeamWalk& walk,
                                 const BeamFrame& frame,
                                 double best,
                                 double bound) {
  BeamCandidates& candidates = walk.shared.candidates;
  const BeamArgs& args = walk.stream.args;
  const int used = walk.state.used;
  const std::int64_t pairs = static_cast<std::int64_t>(used) * frame.choice_count;
  for (std::int64_t base = 0; base < pairs; base += block_threads()) {
    const double most = frame.choices[base / used].log_prob;
    if (best + most + walk.stream.scoring.max_gain < bound || most < frame.cut) break;
    const std::int64_t pair = base + thread_id();
    if (pair < pairs) {
      const BeamChoice choice = frame.choices[pair / used];
      const bool wanted = choice.log_prob >= frame.cut;
      if (wanted) try_choice(walk, static_cast<int>(pair % used), choice, bound);
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

}  // namespace mms::cuda
