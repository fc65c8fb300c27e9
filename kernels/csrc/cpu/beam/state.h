// State of a prefix beam stream.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "../isa/beam_kernels.h"
#include "mms/beam.h"
#include "score.h"
#include "select.h"
#include "spans.h"
#include "tree.h"

namespace mms {

/// Probabilities of the hypotheses after a frame. A hypothesis keeps its slot while it is in the
/// beam; empty slots hold -inf. `sums` and `paths` are [size] for both endings, [size] for the
/// blank ending and one -inf, so that a parent's contribution is one look-up.
struct BeamFrame {
  explicit BeamFrame(std::size_t slots);
  void clear(std::size_t slot);

  std::size_t size;
  std::vector<double> sums;               ///< log p: total, blank, -inf.
  std::vector<double> label;              ///< [size] log p_label.
  std::vector<double> paths;              ///< log p of the best path: any ending, blank, -inf.
  std::vector<double> path_label;         ///< [size]
  std::vector<double> peak;               ///< [size] peak of the last label on its path.
  std::vector<double> sum;                ///< [size] sum of its log-probabilities.
  std::vector<std::int64_t> start;        ///< [size] its first frame.
  std::vector<SpanTree::Id> blank_spans;  ///< [size] all tokens of the path ending in a blank.
  std::vector<SpanTree::Id> label_spans;  ///< [size] all but the last, ending in the label.
};

/// Tokens that may extend a hypothesis in a frame, most likely first.
struct BeamChoices {
  std::size_t size = 0;
  std::vector<std::uint64_t> keys;
  std::vector<std::int32_t> tokens;
  std::vector<double> log_probs;
  std::vector<std::uint32_t> position;  ///< [vocab] position in `tokens`; arbitrary if absent.

  void resize(std::size_t vocab);
  bool has(std::int32_t token) const {
    const std::size_t at = position[static_cast<std::size_t>(token)];
    return at < size && tokens[at] == token;
  }
};

/// Hypothesis that enters the beam.
struct BeamEntry {
  PrefixTree::Id node;
  PrefixTree::Id parent_node;
  SpanTree::Id spans;  ///< Spans of all tokens but the last.
  std::int32_t token;
  bool repeats;
  double logp;  ///< Log-probability of the token in this frame.
  double sum;   ///< log p of all paths.
  double path;  ///< log p of the best path.
};

struct BeamState {
  explicit BeamState(const BeamDecoder& decoder);

  std::int64_t vocab = 0;  ///< 0 before the first step.
  std::int64_t frame = 0;  ///< Frames read.

  BeamFrame now;
  BeamFrame next;

  // By slot.
  std::vector<PrefixTree::Id> node;
  std::vector<PrefixTree::Id> parent_node;
  std::vector<std::int32_t> parent;       ///< Slot of the parent in the beam; -1 for none.
  std::vector<std::uint32_t> parent_sum;  ///< Index of the parent's part in `sums` and `paths`.
  std::vector<std::uint8_t> repeats;      ///< 1 if the last two tokens are equal.
  std::vector<std::int32_t> last;         ///< Last token; the blank for the empty prefix.
  std::vector<TokenGains> token_gains;
  std::vector<double> gain;          ///< NaN for empty slots, which loses every comparison.
  std::vector<double> highest_gain;  ///< Upper bound of the gains of extensions.

  std::vector<std::int32_t> order;  ///< [beam] slots, best first.
  std::vector<std::int32_t> next_order;
  std::vector<std::int32_t> entering;  ///< Positions of new hypotheses in `next_order`.
  std::vector<std::int32_t> leaving;   ///< Slots of dropped hypotheses; scratch.
  std::vector<std::int32_t> empty;     ///< Free slots.
  std::size_t used = 0;                ///< Slots used so far.

  PrefixTree tree;
  SpanTree spans;
  PrefixScores scores;

  // Tokens whose identity and frames are final, removed from the trees.
  TimedTokens settled;
  std::int64_t next_settle = 0;  ///< Frame of the next settling.

  // Scratch of one frame.
  std::vector<float> log_probs;
  std::vector<double> last_logp;
  std::vector<double> parent_in;
  std::vector<double> parent_path;
  std::vector<double> stay_score;
  std::vector<double> reach;  ///< Bound of an extension by a token of probability 1.
  double highest_stay = 0.0;
  std::vector<std::int64_t> change;
  std::vector<std::uint32_t> changed;
  BeamChoices choices;
  /// [beam + 1] Tokens per hypothesis, for n hypotheses, that fill the beam; 0 for n = 0.
  std::vector<std::uint32_t> enough;
  std::vector<std::uint64_t> taken;  ///< By slot, bits of `choices` that make no new prefix.
  Selection selection;
  std::vector<BeamEntry> entries;
  std::vector<std::uint8_t> stays;
  std::vector<SpanTree::Id> released;
};

/// Store the gains of a new prefix and the bounds of its extensions.
void beam_set_gains(BeamState& state,
                    const BeamScorer& scorer,
                    std::size_t slot,
                    const PrefixScore& score);

/// Read one frame of log-probabilities, [vocab].
void beam_advance(BeamState& state, const BeamScorer& scorer, const float* log_probs);

/// Fill `choices` with the tokens whose extensions can reach `bound`.
void beam_choose(BeamState& state, const BeamScorer& scorer, const float* log_probs, double bound);

/// Fill `selection` with kept and new hypotheses that reach `bound`.
void beam_collect(BeamState& state, const BeamScorer& scorer, double bound);

/// Make the selected candidates the beam.
void beam_replace(BeamState& state, const BeamScorer& scorer);

/// Remove a hypothesis from the beam and free its slot in `frame`.
void beam_drop(BeamState& state, BeamFrame& frame, std::size_t slot, std::int32_t blank);

/// Drop hypotheses that differ from the best in tokens older than `lookback` frames.
void beam_look_back(BeamState& state, const BeamOptions& options);

/// Update the parents of all hypotheses after a change of the beam.
void beam_link(BeamState& state);

/// Move the tokens that can no longer change from the trees to `settled`.
void beam_settle(BeamState& state, const BeamScorer& scorer);

/// Append the tokens of a hypothesis that are not settled.
void beam_append_tokens(const BeamState& state, std::size_t slot, TimedTokens& tokens);

/// Number of leading tokens shared by all hypotheses, settled ones included.
std::int64_t beam_stable(const BeamState& state);

}  // namespace mms
