// CTC prefix beam search: the most likely labellings, not the most likely paths.
//
// A labelling's probability is the sum over all paths that collapse to it. A hypothesis is one
// prefix l with last label e, kept with log p_blank(l) and log p_label(l) of the paths that end in
// a blank and in e. With the probabilities P of a frame (Graves; Hannun et al. 2014):
//   p_blank'(l)   = P(blank) * (p_blank(l) + p_label(l))
//   p_label'(l)   = P(e) * (p_label(l) + [what its parent l minus e brings in])
//   p_label'(l c) = P(c) * (p_blank(l) + p_label(l))   for c != e
//   p_label'(l e) = P(e) * p_blank(l)
// Sums are exact, in double. A hypothesis' score is
//   ln P(l) + lm_weight * log10 P_lm(l) + word_score * (units of l) + sum of hotword bonuses,
// and the `beam_size` best are kept in each frame, in the order of score, then of the rank of the
// prefix that was extended (its own rank where none was), then of the token (a prefix that stays
// before any that is extended).
//
// The best single path of each hypothesis goes along, for the times of its tokens.
#pragma once

#include <cstdint>
#include <limits>
#include <memory>
#include <string>
#include <vector>

#include "mms/hotwords.h"
#include "mms/lexicon.h"
#include "mms/lm.h"
#include "mms/scores.h"
#include "mms/tokens.h"

namespace mms {

/// What the language model scores and `word_score` counts.
enum class BeamUnit : std::uint8_t {
  kWord,   ///< The text between separators; applied when the separator, or the end, comes.
  kToken,  ///< Each token.
};

struct BeamOptions {
  std::int64_t beam_size = 50;
  std::int32_t blank = 0;
  /// Minimum log-probability of a token that extends a hypothesis. Exact at -inf. Blanks, repeated
  /// labels and the most likely token of a frame are never cut.
  double token_min_logp = -std::numeric_limits<double>::infinity();
  /// Hypotheses more than so many nats below the best are dropped. Exact at +inf.
  double beam_threshold = std::numeric_limits<double>::infinity();
  /// Frames whose blank is more likely than this probability only separate labels. Exact at 1.
  double blank_skip = 1.0;
  /// Hypotheses that differ from the best in what it said more than so many frames ago are
  /// dropped (looked at each 64 frames): what bounds memory, and the age of what is not stable.
  /// Exact at 0, which drops none, and for utterances that are no longer.
  std::int64_t lookback = 1000;
  double lm_weight = 0.0;
  double word_score = 0.0;
  BeamUnit unit = BeamUnit::kWord;
  std::int32_t separator = -1;  ///< The token between words; -1 for none.
};

/// What else scores a hypothesis. Not owned: they outlive every stream. Null for none.
struct BeamModels {
  const LanguageModel* lm = nullptr;
  const Hotwords* hotwords = nullptr;
  const Lexicon* lexicon = nullptr;
  std::vector<std::string> tokens;  ///< How each token is written; needed with a language model.
};

struct BeamHypothesis {
  TimedTokens tokens;
  double log_prob;  ///< Of the labelling alone.
  double lm_score;  ///< log10 P_lm.
  double bonus;     ///< Of the hotwords, in nats.
  double score;     ///< What hypotheses are ranked by.
};

struct BeamPartial {
  std::vector<BeamHypothesis> hypotheses;
  std::int64_t stable;  ///< Leading tokens that all hypotheses share: they can no longer change.
};

class BeamScorer;
struct BeamState;

/// Options and models, checked. Shared by any number of streams and threads.
class BeamDecoder {
 public:
  /// Throws std::invalid_argument for an option out of range or a model that cannot be used so.
  BeamDecoder(const BeamOptions& options, BeamModels models);

  /// Decode every row of a batch: at most `nbest` hypotheses each, the best first. The result does
  /// not depend on `threads`.
  ///
  /// Throws std::invalid_argument for the lowest row that cannot be decoded.
  std::vector<std::vector<BeamHypothesis>> decode(const ScoresBatch& batch,
                                                  std::int64_t nbest,
                                                  std::int64_t threads) const;

  /// The same with other hotwords, which outlive every stream of it; null for none. What is large
  /// is shared, so that each stream may have its own.
  BeamDecoder with_hotwords(const Hotwords* hotwords) const;

  const BeamOptions& options() const { return options_; }
  const BeamScorer& scorer() const { return *scorer_; }

 private:
  BeamOptions options_;
  std::shared_ptr<const BeamScorer> scorer_;
};

/// One utterance that arrives in pieces; any cut gives the same bits. Copies go on independently.
class BeamStream {
 public:
  explicit BeamStream(BeamDecoder decoder);
  BeamStream(const BeamStream& other);
  BeamStream& operator=(const BeamStream& other);
  BeamStream(BeamStream&&) noexcept;
  BeamStream& operator=(BeamStream&&) noexcept;
  ~BeamStream();

  /// Read frames.
  ///
  /// Throws std::invalid_argument, with the stream as it was, where a frame holds NaN or +inf or
  /// nothing but -inf, the vocabulary does not fit, or it has changed.
  void step(const Scores& scores);

  /// The best hypotheses so far, at most `nbest`, without what the end would add.
  BeamPartial partial(std::int64_t nbest) const;

  /// The best whole hypotheses, at most `nbest`; none where the lexicon allows none. The stream is
  /// as it was.
  std::vector<BeamHypothesis> results(std::int64_t nbest) const;

  /// Hand over, and forget, the leading tokens whose identity and times can no longer change.
  /// Later results go on after them.
  TimedTokens take_stable();

  /// Start over.
  void reset();

  std::int64_t frames() const;
  /// Live prefixes and spans: what memory depends on beside the tokens not yet taken.
  std::int64_t live() const;

 private:
  BeamDecoder decoder_;
  std::unique_ptr<BeamState> state_;
};

}  // namespace mms
