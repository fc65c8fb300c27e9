// CTC prefix beam search: the most likely labellings, not the most likely paths.
//
// A labelling's probability is the sum over all paths that collapse to it. A hypothesis is one
// prefix l with last label e, kept with log p_blank(l) and log p_label(l) of the paths that end in
// a blank and in e. With the probabilities P of a frame (Graves; Hannun et al. 2014):
//   p_blank'(l)   = P(blank) * (p_blank(l) + p_label(l))
//   p_label'(l)   = P(e) * (p_label(l) + [the parent's extension by e])
//   p_label'(l c) = P(c) * (p_blank(l) + p_label(l))   for c != e
//   p_label'(l e) = P(e) * p_blank(l)
// Sums are exact, in double. A hypothesis' score is
//   ln P(l) + lm_weight * log10 P_lm(l) + word_score * (units of l) + sum of hotword bonuses,
// and the `beam_size` best are kept in each frame, ordered by score, then by the rank of the kept
// or extended prefix, then by token (a kept prefix before its extensions).
//
// The best single path of each hypothesis is tracked for the frames of its tokens.
#pragma once

#include <cstdint>
#include <limits>
#include <memory>
#include <string>
#include <vector>

#include "mms/hotwords.h"
#include "mms/lm.h"
#include "mms/scores.h"
#include "mms/tokens.h"

namespace mms {

/// Unit of the language model and of `word_score`.
enum class BeamUnit : std::uint8_t {
  kWord,   ///< Text between separators, scored when the separator or the end comes.
  kToken,  ///< Each token.
};

struct BeamOptions {
  std::int64_t beam_size = 50;
  std::int32_t blank = 0;
  /// Minimum log-probability of a token that extends a hypothesis. Exact at -inf. Blanks, repeated
  /// labels and the most likely token of a frame are never cut.
  double token_min_logp = -std::numeric_limits<double>::infinity();
  /// Maximum distance (nats) of a hypothesis from the best. Exact at +inf.
  double beam_threshold = std::numeric_limits<double>::infinity();
  /// Probability of the blank above which a frame only separates labels. Exact at 1.
  double blank_skip = 1.0;
  /// Frames after which a difference from the best hypothesis drops a hypothesis, checked every 64
  /// frames. Bounds memory and the age of unstable tokens. Exact at 0, which drops none, and for
  /// utterances that are not longer.
  std::int64_t lookback = 1000;
  double lm_weight = 0.0;
  double word_score = 0.0;
  BeamUnit unit = BeamUnit::kWord;
  std::int32_t separator = -1;  ///< Token between words; -1 for none.
};

/// Further models. Not owned, they must outlive every stream. Null for none.
struct BeamModels {
  const LanguageModel* lm = nullptr;
  const Hotwords* hotwords = nullptr;
  std::vector<std::string> tokens;  ///< Text of each token; required with a language model.
};

struct BeamHypothesis {
  TimedTokens tokens;
  double log_prob;  ///< ln P of the labelling.
  double lm_score;  ///< log10 P_lm.
  double bonus;     ///< Hotword bonus in nats.
  double score;     ///< Ranking score.
};

struct BeamPartial {
  std::vector<BeamHypothesis> hypotheses;
  std::int64_t stable;  ///< Leading tokens shared by all hypotheses, which can no longer change.
};

class BeamScorer;
struct BeamState;

/// Checked options and models, shared by any number of streams and threads.
class BeamDecoder {
 public:
  /// Throws std::invalid_argument for an option out of range or a model that does not fit.
  BeamDecoder(const BeamOptions& options, BeamModels models);

  /// Decode every row of a batch: at most `nbest` hypotheses each, best first. The result does not
  /// depend on `threads`.
  ///
  /// Throws std::invalid_argument for the lowest row that cannot be decoded.
  std::vector<std::vector<BeamHypothesis>> decode(const ScoresBatch& batch,
                                                  std::int64_t nbest,
                                                  std::int64_t threads) const;

  /// Return a decoder with other hotwords, which must outlive its streams; null for none.
  /// Everything large is shared, so this is cheap enough for each stream.
  BeamDecoder with_hotwords(const Hotwords* hotwords) const;

  const BeamOptions& options() const { return options_; }
  const BeamScorer& scorer() const { return *scorer_; }

 private:
  BeamOptions options_;
  std::shared_ptr<const BeamScorer> scorer_;
};

/// One utterance that arrives in chunks; any chunking gives the same bits. Copies are independent.
class BeamStream {
 public:
  explicit BeamStream(BeamDecoder decoder);
  BeamStream(const BeamStream& other);
  BeamStream(BeamStream&&) noexcept;
  BeamStream& operator=(BeamStream&&) noexcept;
  ~BeamStream();

  /// Read frames.
  ///
  /// Throws std::invalid_argument, with the stream unchanged, for a frame with NaN or +inf or with
  /// nothing but -inf, or a vocabulary that does not match the models or earlier steps.
  void step(const Scores& scores);

  /// Best hypotheses so far, at most `nbest`, without the scores of the end.
  BeamPartial partial(std::int64_t nbest) const;

  /// Best complete hypotheses, at most `nbest`. The stream is unchanged.
  std::vector<BeamHypothesis> results(std::int64_t nbest) const;

  /// Remove and return the leading tokens whose identity and frames are final. Later results begin
  /// after them.
  TimedTokens take_stable();

  /// Return to the start of an utterance.
  void reset();

  std::int64_t frames() const;
  /// Prefixes and spans in memory, without tokens not yet taken.
  std::int64_t live() const;

 private:
  BeamDecoder decoder_;
  std::unique_ptr<BeamState> state_;
};

}  // namespace mms
