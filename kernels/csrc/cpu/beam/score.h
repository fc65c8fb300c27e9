// Scores of prefixes by language model and hotwords.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "mms/beam.h"
#include "tree.h"

namespace mms {

/// Scores of one prefix, and the states of the models after it.
struct PrefixScore {
  LmState lm;
  HotState hot;
  std::int32_t letters;  ///< Tokens since the last separator.
  std::int64_t units;
  double lm_score;  ///< log10.
  double bonus;     ///< Nats.
};

/// Gain of an extension by a token that completes no unit but itself:
/// `base` + (`bonus` + the bonus of the step from `hot`).
struct TokenGains {
  double base;
  double bonus;
  HotBonuses bonuses;
};

/// Checked options and models of a search. Immutable.
class BeamScorer {
 public:
  /// Throws std::invalid_argument for models that do not fit the options.
  BeamScorer(const BeamOptions& options, BeamModels models);

  /// Return a copy with other hotwords; null for none.
  BeamScorer with_hotwords(const Hotwords* hotwords) const;

  const BeamOptions& options() const { return options_; }
  const BeamModels& models() const { return models_; }
  /// True if scores are those of the acoustic model alone.
  bool is_plain() const { return plain_; }
  /// True if all tokens but the separator have equal gains.
  bool is_uniform() const { return uniform_; }
  /// True if `token_gains` are valid for all tokens but the separator of scored words.
  bool adds_bonuses_only() const { return bonuses_only_; }
  bool scores_words() const { return options_.unit == BeamUnit::kWord; }
  bool uses_lm() const { return models_.lm != nullptr; }
  TokenGains token_gains(const PrefixScore& score) const {
    const std::int64_t units = scores_words() ? score.units : score.units + 1;
    const Hotwords* hotwords = models_.hotwords;
    return {known_gain(score.lm_score, units),
            score.bonus,
            hotwords == nullptr ? HotBonuses{} : hotwords->bonuses(score.hot)};
  }
  /// Upper bound of an extension's gain from a hotword state.
  double highest_gain(HotState state) const {
    const Hotwords* hotwords = models_.hotwords;
    return max_unit_ + (hotwords == nullptr ? 0.0 : static_cast<double>(hotwords->highest(state)));
  }
  /// Token that may complete a scored word; -1 for none.
  std::int32_t ends_words() const {
    const bool counts = uses_lm() || options_.word_score != 0.0;
    return scores_words() && counts ? options_.separator : -1;
  }
  LmUnit unit_of(std::int32_t token) const { return units_[static_cast<std::size_t>(token)]; }
  /// Throws std::invalid_argument unless the models match the vocabulary size.
  void check_vocab(std::int64_t vocab) const;

  PrefixScore start() const;
  double gain(const PrefixScore& score) const {
    return known_gain(score.lm_score, score.units) + score.bonus;
  }

 private:
  void find_shape();
  double known_gain(double lm_score, std::int64_t units) const {
    return options_.lm_weight * lm_score + options_.word_score * static_cast<double>(units);
  }

  BeamOptions options_;
  BeamModels models_;
  bool plain_;
  bool uniform_;
  bool bonuses_only_;
  double max_unit_;            ///< Upper bound of the gain of a unit, without hotwords.
  std::vector<LmUnit> units_;  ///< [vocab] if the language model scores tokens.
};

/// Scores of the prefixes of a tree, by node. The language model is queried once per word of a
/// prefix, and rarely more than once per token.
class PrefixScores {
 public:
  void begin(const BeamScorer& scorer, PrefixTree::Id root);

  const PrefixScore& operator[](PrefixTree::Id id) const {
    return entries_[static_cast<std::size_t>(id)].score;
  }

  /// Score a prefix extended by `token`.
  void extend(const BeamScorer& scorer,
              const PrefixTree& tree,
              PrefixTree::Id id,
              std::int32_t token,
              PrefixScore* score);

  /// Storage for the score of a new node, valid until another node is entered.
  PrefixScore* enter(PrefixTree::Id id) {
    const auto place = static_cast<std::size_t>(id);
    if (place >= entries_.size()) entries_.resize(place + 1);
    Entry& entry = entries_[place];
    entry.birth = ++births_;
    entry.has_word = false;
    return &entry.score;
  }

  /// Score of a prefix at the end of the stream.
  PrefixScore finish(const BeamScorer& scorer, const PrefixTree& tree, PrefixTree::Id id) const;

  /// Called before the tree's root advances by `token`.
  void advance_root(const BeamScorer& scorer, std::int32_t token);

 private:
  struct Entry {
    PrefixScore score;
    std::uint64_t birth;  ///< Creation index; invalidates cached answers when a node id is reused.
    LmStep word;          ///< Cached score of the last word, valid if `has_word`.
    bool has_word;
  };
  struct Cached {
    std::uint64_t birth;
    std::int32_t token;
    LmStep step;
  };

  LmStep word_step(const BeamScorer& scorer, const PrefixTree& tree, PrefixTree::Id id) const;
  LmStep token_step(const BeamScorer& scorer, PrefixTree::Id id, std::int32_t token);
  void add_unit(const BeamScorer& scorer,
                const PrefixTree& tree,
                PrefixTree::Id id,
                std::int32_t token,
                PrefixScore* score);

  std::vector<Entry> entries_;
  std::vector<Cached> cache_;  ///< Direct-mapped cache.
  std::uint64_t births_ = 0;
  std::vector<std::int32_t> root_word_;  ///< Tokens of the word open at the root.
};

}  // namespace mms
