// CTC beam search over a closed vocabulary: words, each with one or several spellings in tokens.
//
// A hypothesis is a sequence of words, the place in the spelling of the next one, the last token,
// and whether the last frame is blank. Its score is
//   ln P + lm_weight * log10 P_lm(words) + word_score * words,
// where P is the best path, or the sum of the paths, that lead to it. Separators between words and
// before the first one may be repeated: such paths are of the same hypothesis. This is the search
// of flashlight's LexiconDecoder, with which the MMS zero-shot recipe was tuned, so that its
// published weights can be used.
#pragma once

#include <cstdint>
#include <limits>
#include <memory>
#include <vector>

#include "mms/lm.h"
#include "mms/scores.h"
#include "mms/tokens.h"

namespace mms {

/// Trie of spellings; the children of a node are adjacent and sorted by token. Immutable.
class Lexicon {
 public:
  using Node = std::int32_t;
  static constexpr Node kNone = -1;

  /// A word in tokens. Words may have equal spellings, and several spellings.
  struct Spelling {
    std::vector<std::int32_t> tokens;
    std::int32_t word;
  };

  /// Throws std::invalid_argument for no spellings, one without tokens, or a negative number.
  explicit Lexicon(std::vector<Spelling> spellings);

  static constexpr Node root() { return 0; }
  /// Child by `token`, or kNone. O(log children).
  Node next(Node node, std::int32_t token) const;
  /// Range of the children of a node.
  Node first_child(Node node) const { return first_child_[index(node)]; }
  Node last_child(Node node) const { return first_child_[index(node) + 1]; }
  std::int32_t token(Node node) const { return tokens_[index(node)]; }
  /// Words that end at a node, in ascending order: `words_at(n)` to `words_at(n + 1)`.
  const std::int32_t* words_at(Node node) const { return words_.data() + first_word_[index(node)]; }

  std::int32_t max_token() const { return max_token_; }
  std::int32_t max_word() const { return max_word_; }

 private:
  static std::size_t index(Node node) { return static_cast<std::size_t>(node); }

  std::vector<std::int32_t> tokens_;      ///< [nodes] last token of each node.
  std::vector<Node> first_child_;         ///< [nodes + 1]
  std::vector<std::int32_t> first_word_;  ///< [nodes + 1]
  std::vector<std::int32_t> words_;
  std::int32_t max_token_ = 0;
  std::int32_t max_word_ = 0;
};

struct LexiconOptions {
  std::int64_t beam_size = 500;
  std::int32_t blank = 0;
  std::int32_t separator = -1;  ///< Token between words, the last of each spelling; -1 for none.
  /// Maximum distance (nats) of a hypothesis from the best.
  double beam_threshold = std::numeric_limits<double>::infinity();
  double lm_weight = 0.0;
  double word_score = 0.0;
  bool sum_paths = false;  ///< Sum of the paths of a hypothesis, rather than the best.
  bool open_end = true;    ///< Whether the last word may lack its separator.
};

struct LexiconHypothesis {
  TimedTokens words;  ///< Words by number, with their letters' frames.
  double log_prob;    ///< ln P.
  double lm_score;    ///< log10 P_lm.
  double score;       ///< Ranking score.
};

struct LexiconPartial {
  LexiconHypothesis best;
  std::int64_t stable;  ///< Leading words shared by all hypotheses, which can no longer change.
};

/// Checked options and models, shared by any number of streams and threads. Not copied: the lexicon
/// and the language model must outlive it.
class LexiconDecoder {
 public:
  /// Throws std::invalid_argument for an option out of range, or units that are not those of the
  /// lexicon's words.
  LexiconDecoder(const LexiconOptions& options,
                 const Lexicon* lexicon,
                 const LanguageModel* lm,
                 std::vector<LmUnit> units);

  const LexiconOptions& options() const { return options_; }
  const Lexicon& lexicon() const { return *lexicon_; }
  /// Null without one, or with a weight of 0.
  const LanguageModel* lm() const { return lm_; }
  LmUnit unit_of(std::int32_t word) const { return units_[static_cast<std::size_t>(word)]; }

 private:
  LexiconOptions options_;
  const Lexicon* lexicon_;
  const LanguageModel* lm_;
  std::vector<LmUnit> units_;
};

struct LexiconState;

/// One utterance that arrives in chunks; any chunking gives the same bits. Copies are independent.
class LexiconStream {
 public:
  explicit LexiconStream(const LexiconDecoder& decoder);
  LexiconStream(const LexiconStream& other);
  LexiconStream(LexiconStream&&) noexcept;
  ~LexiconStream();

  /// Read frames.
  ///
  /// Throws std::invalid_argument, with the stream unchanged, for a frame with NaN or +inf or with
  /// nothing but -inf, or a vocabulary that is too small or differs from earlier steps.
  void step(const Scores& scores);

  /// Best hypothesis so far, without the scores of the end and the word that is not complete.
  LexiconPartial partial() const;

  /// Best hypotheses at the end, with different words, at most `nbest`. Those whose last word is
  /// complete, or all without their last word if there is none.
  std::vector<LexiconHypothesis> results(std::int64_t nbest) const;

  void reset();

  std::int64_t frames() const;
  /// Word sequences and times in memory.
  std::int64_t live() const;

 private:
  const LexiconDecoder* decoder_;
  std::unique_ptr<LexiconState> state_;
};

}  // namespace mms
