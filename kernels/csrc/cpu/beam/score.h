// What language model, hotwords and lexicon say about prefixes.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "mms/beam.h"
#include "tree.h"

namespace mms {

/// What they have said about one prefix, and where they stand after it.
struct PrefixScore {
  LmState lm;
  HotState hot;
  Lexicon::Node entry;   ///< Of the lexicon.
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

/// Options and models as the search needs them. Nothing changes after construction.
class BeamScorer {
 public:
  /// Throws std::invalid_argument for models that do not fit the options.
  BeamScorer(const BeamOptions& options, BeamModels models);

  /// The same with other hotwords; null for none.
  BeamScorer with_hotwords(const Hotwords* hotwords) const;

  const BeamOptions& options() const { return options_; }
  const BeamModels& models() const { return models_; }
  /// Whether nothing is ever added to a score or ruled out.
  bool is_plain() const { return plain_; }
  /// Whether every extension adds the same, but for one by the separator.
  bool is_uniform() const { return uniform_; }
  /// Whether `token_gains` hold, but for the separator where words are scored.
  bool adds_bonuses_only() const { return bonuses_only_; }
  bool scores_words() const { return options_.unit == BeamUnit::kWord; }
  bool asks_lm() const { return models_.lm != nullptr; }
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
  /// The token that may complete a scored word; -1 for none.
  std::int32_t ends_words() const {
    const bool counts = asks_lm() || options_.word_score != 0.0;
    return scores_words() && counts ? options_.separator : -1;
  }
  LmUnit unit_of(std::int32_t token) const { return units_[static_cast<std::size_t>(token)]; }
  /// Throws std::invalid_argument unless the models were made for so many tokens.
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
  std::vector<LmUnit> units_;  ///< Of each token, where the language model scores tokens.
};

/// The scores of the prefixes in a tree, by node. The language model is asked once for each word
/// of a prefix, and seldom more than once for each token of it.
class PrefixScores {
 public:
  void begin(const BeamScorer& scorer, PrefixTree::Id root);

  const PrefixScore& operator[](PrefixTree::Id id) const {
    return entries_[static_cast<std::size_t>(id)].score;
  }

  /// The score of a prefix extended by `token`; false where the lexicon has no such word.
  bool extend(const BeamScorer& scorer,
              const PrefixTree& tree,
              PrefixTree::Id id,
              std::int32_t token,
              PrefixScore* score);

  /// Where the score of a new node is to be written, before any other node is entered.
  PrefixScore* enter(PrefixTree::Id id) {
    const auto place = static_cast<std::size_t>(id);
    if (place >= entries_.size()) entries_.resize(place + 1);
    Entry& entry = entries_[place];
    entry.birth = ++births_;
    entry.asked = false;
    return &entry.score;
  }

  /// The score of a prefix at the end; false where it ends within a word of the lexicon.
  bool finish(const BeamScorer& scorer,
              const PrefixTree& tree,
              PrefixTree::Id id,
              PrefixScore* score) const;

  /// To be called before the tree's root moves on to `child`.
  void advance_root(const BeamScorer& scorer, std::int32_t token);

 private:
  struct Entry {
    PrefixScore score;
    std::uint64_t birth;  ///< The how manyth node it is.
    LmStep word;          ///< Of the word at the end, once asked.
    bool asked;
  };
  struct Answer {
    std::uint64_t birth;
    std::int32_t token;
    LmStep step;
  };

  LmStep ask_word(const BeamScorer& scorer, const PrefixTree& tree, PrefixTree::Id id) const;
  LmStep ask_token(const BeamScorer& scorer, PrefixTree::Id id, std::int32_t token);
  void add_unit(const BeamScorer& scorer,
                const PrefixTree& tree,
                PrefixTree::Id id,
                std::int32_t token,
                PrefixScore* score);

  std::vector<Entry> entries_;
  std::vector<Answer> answers_;  ///< A cache: each place holds the last answer that fell there.
  std::uint64_t births_ = 0;
  std::vector<std::int32_t> root_word_;  ///< Tokens of the word that the root is in.
};

}  // namespace mms
