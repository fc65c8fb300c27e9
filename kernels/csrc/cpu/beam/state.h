// What a stream of the prefix beam keeps between two frames.
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

/// The numbers of the hypotheses after one frame. A hypothesis keeps its slot as long as it is in
/// the beam; empty slots hold -inf. Sums and paths are three arrays one after another, so that
/// what a parent brings in is one look-up: [size] of both endings, [size] of the blank ending, and
/// one -inf.
struct BeamFrame {
  explicit BeamFrame(std::size_t slots);
  void clear(std::size_t slot);

  std::size_t size;
  std::vector<double> sums;               ///< log p: total, blank, -inf.
  std::vector<double> label;              ///< [size] log p_label.
  std::vector<double> paths;              ///< Of the best path: either ending, blank, -inf.
  std::vector<double> path_label;         ///< [size]
  std::vector<double> peak;               ///< [size] of the last label on the path that ends in it,
  std::vector<double> sum;                ///< [size] so that its score is sum / frames,
  std::vector<std::int64_t> start;        ///< [size] and it begins here.
  std::vector<SpanTree::Id> blank_spans;  ///< [size] all tokens of the path that ends in a blank,
  std::vector<SpanTree::Id> label_spans;  ///< [size] all but the last of the other.
};

/// The tokens that may extend a hypothesis in one frame, the most likely first.
struct BeamChoices {
  std::size_t size = 0;
  std::vector<std::uint64_t> keys;
  std::vector<std::int32_t> tokens;
  std::vector<double> log_probs;
  std::vector<std::uint32_t> position;  ///< [vocab] of a token in `tokens`; anything if not there.

  void resize(std::size_t vocab);
  bool has(std::int32_t token) const {
    const std::size_t at = position[static_cast<std::size_t>(token)];
    return at < size && tokens[at] == token;
  }
};

/// A hypothesis that enters the beam.
struct BeamEntry {
  PrefixTree::Id node;
  PrefixTree::Id parent_node;
  SpanTree::Id spans;  ///< All tokens but the last.
  std::int32_t token;
  bool repeats;
  double logp;  ///< Of the token in this frame.
  double sum;   ///< Of all paths.
  double path;  ///< Of the best.
};

struct BeamState {
  explicit BeamState(const BeamDecoder& decoder);

  std::int64_t vocab = 0;  ///< 0 before the first step.
  std::int64_t frame = 0;  ///< Frames seen.

  BeamFrame now;
  BeamFrame next;

  // By slot.
  std::vector<PrefixTree::Id> node;
  std::vector<PrefixTree::Id> parent_node;
  std::vector<std::int32_t> parent;       ///< Slot of the parent in the beam; -1 for none.
  std::vector<std::uint32_t> parent_sum;  ///< Where in `sums` and `paths` the parent's part is.
  std::vector<std::uint8_t> repeats;      ///< Whether the last two tokens are the same.
  std::vector<std::int32_t> last;         ///< Last token; the blank for the empty prefix.
  std::vector<TokenGains> token_gains;
  std::vector<double> gain;          ///< NaN for empty slots: no comparison picks it.
  std::vector<double> highest_gain;  ///< Upper bound of the gains of extensions.

  std::vector<std::int32_t> order;  ///< [beam] slots, the best first.
  std::vector<std::int32_t> next_order;
  std::vector<std::int32_t> entering;  ///< Places of the new in `next_order`.
  std::vector<std::int32_t> leaving;   ///< Slots; those of one frame, and room for all.
  std::vector<std::int32_t> empty;     ///< Slots to be used again.
  std::size_t used = 0;                ///< Slots that have ever been used.

  PrefixTree tree;
  SpanTree spans;
  PrefixScores scores;

  // Tokens whose identity and times are settled, not in the trees any more.
  BeamTokens settled;
  std::int64_t next_settle = 0;  ///< Frame.

  // Within one frame.
  std::vector<float> log_probs;
  std::vector<double> last_logp;
  std::vector<double> parent_in;
  std::vector<double> parent_path;
  std::vector<double> stay_score;
  std::vector<double> reach;  ///< A little above the best extension by a token of probability 1.
  double best_reach = 0.0;
  double highest_stay = 0.0;
  std::vector<std::int64_t> change;
  std::vector<std::uint32_t> changed;
  BeamChoices choices;
  /// [beam + 1] For n hypotheses so many tokens, or the other way round, are enough to fill the
  /// beam; nothing for n = 0.
  std::vector<std::uint32_t> enough;
  std::vector<std::uint64_t> taken;  ///< Bits of `choices` that make no new prefix, by slot.
  Selection selection;
  std::vector<BeamEntry> entries;
  std::vector<std::uint8_t> stays;
  std::vector<SpanTree::Id> released;
  std::vector<SpanTree::Id> chain;
  std::vector<PrefixTree::Id> path;
};

/// Keep what a new prefix adds to the scores of its extensions.
void beam_set_gains(BeamState& state,
                    const BeamScorer& scorer,
                    std::size_t slot,
                    const PrefixScore& score);

/// Read one frame of log-probabilities, [vocab].
void beam_advance(BeamState& state, const BeamScorer& scorer, const float* log_probs);

/// Fill `choices` with the tokens that may extend a hypothesis. `bound` is a score that any new
/// hypothesis must reach.
void beam_choose(BeamState& state, const BeamScorer& scorer, const float* log_probs, double bound);

/// Fill `selection` with what stays and what is new and reaches `bound`.
void beam_collect(BeamState& state, const BeamScorer& scorer, double bound);

/// Put the hypotheses that `selection` holds into the beam.
void beam_replace(BeamState& state, const BeamScorer& scorer);

/// Take a hypothesis out of the beam; its slot counts for nothing until it is used again. `frame`
/// are its numbers.
void beam_drop(BeamState& state, BeamFrame& frame, std::size_t slot, std::int32_t blank);

/// Drop the hypotheses that differ from the best in what it said more than `lookback` frames ago.
void beam_look_back(BeamState& state, const BeamOptions& options);

/// Find the parents of the hypotheses again, after the beam has changed.
void beam_link(BeamState& state);

/// Move the tokens that can no longer change from the trees to `settled`.
void beam_settle(BeamState& state, const BeamScorer& scorer);

/// The tokens of a hypothesis that are not in `settled` yet, with their times.
void beam_append_tokens(const BeamState& state, std::size_t slot, BeamTokens& tokens);

/// How many leading tokens all hypotheses share, those in `settled` among them.
std::int64_t beam_stable(const BeamState& state);

}  // namespace mms
