#include "score.h"

#include <algorithm>
#include <stdexcept>
#include <utility>

namespace mms {
namespace {

constexpr std::size_t kCacheBits = 13;

void check_models(const BeamOptions& options, const BeamModels& models) {
  const bool word_lm = models.lm != nullptr && options.unit == BeamUnit::kWord;
  if (word_lm && options.separator < 0) {
    throw std::invalid_argument(
        "a language model of words needs the separator: give its token, or score tokens");
  }
  if (models.lm != nullptr && models.tokens.empty()) {
    throw std::invalid_argument("a language model needs the tokens as they are written");
  }
}

void check_size(const char* what, std::int64_t size, std::int64_t vocab) {
  if (size == vocab) return;
  throw std::invalid_argument(std::string(what) + std::to_string(size) +
                              " tokens, the logits have " + std::to_string(vocab));
}

}  // namespace

BeamScorer::BeamScorer(const BeamOptions& options, BeamModels models)
    : options_(options), models_(std::move(models)) {
  check_models(options_, models_);
  // A model of weight 0 is not queried: 0 times its -inf would be NaN.
  if (options_.lm_weight == 0.0) models_.lm = nullptr;
  find_shape();
  if (!uses_lm() || scores_words()) return;
  units_.reserve(models_.tokens.size());
  for (const std::string& token : models_.tokens) units_.push_back(models_.lm->unit(token));
}

BeamScorer BeamScorer::with_hotwords(const Hotwords* hotwords) const {
  BeamScorer other = *this;
  other.models_.hotwords = hotwords;
  other.find_shape();
  return other;
}

/// Derive the shortcuts that the search may take with these models.
void BeamScorer::find_shape() {
  const bool token_lm = uses_lm() && !scores_words();
  plain_ = !uses_lm() && models_.hotwords == nullptr && options_.word_score == 0.0;
  uniform_ = !token_lm && models_.hotwords == nullptr;
  bonuses_only_ = !token_lm;
  // The language model adds log10 P <= 0.
  constexpr double kRounding = 1e-6;
  max_unit_ =
      (scores_words() ? std::max(options_.word_score, 0.0) : options_.word_score) + kRounding;
}

void BeamScorer::check_vocab(std::int64_t vocab) const {
  if (!models_.tokens.empty()) {
    check_size("there are names for ", static_cast<std::int64_t>(models_.tokens.size()), vocab);
  }
  if (models_.hotwords != nullptr) {
    check_size("the hotwords were made for ", models_.hotwords->vocab(), vocab);
  }
  if (options_.separator >= vocab) {
    throw std::invalid_argument("separator is " + std::to_string(options_.separator) +
                                ", the logits have only " + std::to_string(vocab) + " tokens");
  }
}

PrefixScore BeamScorer::start() const {
  PrefixScore score{};
  if (uses_lm()) score.lm = models_.lm->start();
  if (models_.hotwords != nullptr) score.hot = models_.hotwords->start();
  return score;
}

void PrefixScores::begin(const BeamScorer& scorer, PrefixTree::Id root) {
  if (scorer.uses_lm() && !scorer.scores_words()) {
    cache_.assign(std::size_t{1} << kCacheBits, {});
  }
  *enter(root) = scorer.start();
}

LmStep PrefixScores::word_step(const BeamScorer& scorer,
                               const PrefixTree& tree,
                               PrefixTree::Id id) const {
  const std::int32_t letters = (*this)[id].letters;
  std::vector<std::int32_t> word;
  for (PrefixTree::Id at = id; at != tree.root(); at = tree[at].parent) {
    if (std::ssize(word) == letters) break;
    word.push_back(tree[at].token);
  }
  const auto rest = static_cast<std::size_t>(letters) - word.size();
  std::string text;
  for (std::size_t i = 0; i < rest; ++i) {
    text += scorer.models().tokens[static_cast<std::size_t>(root_word_[i])];
  }
  for (std::size_t i = word.size(); i > 0; --i) {
    text += scorer.models().tokens[static_cast<std::size_t>(word[i - 1])];
  }
  const LanguageModel& lm = *scorer.models().lm;
  return lm.score((*this)[id].lm, lm.unit(text));
}

LmStep PrefixScores::token_step(const BeamScorer& scorer, PrefixTree::Id id, std::int32_t token) {
  const Entry& entry = entries_[static_cast<std::size_t>(id)];
  const std::uint64_t mixed =
      (entry.birth * 0x9E3779B97F4A7C15U + static_cast<std::uint64_t>(token)) * 0xD1B54A32D192ED03U;
  Cached& cached = cache_[mixed >> (64 - kCacheBits)];
  if (cached.birth != entry.birth || cached.token != token) {
    cached = {entry.birth, token, scorer.models().lm->score(entry.score.lm, scorer.unit_of(token))};
  }
  return cached.step;
}

void PrefixScores::add_unit(const BeamScorer& scorer,
                            const PrefixTree& tree,
                            PrefixTree::Id id,
                            std::int32_t token,
                            PrefixScore* score) {
  if (scorer.scores_words()) {
    if (token != scorer.options().separator) {
      ++score->letters;
      return;
    }
    if (score->letters == 0) return;  // two separators in a row make no empty word
    score->letters = 0;
  }
  ++score->units;
  if (!scorer.uses_lm()) return;
  LmStep step;
  if (scorer.scores_words()) {
    Entry& entry = entries_[static_cast<std::size_t>(id)];
    if (!entry.has_word) entry.word = word_step(scorer, tree, id);
    entry.has_word = true;
    step = entry.word;
  } else {
    step = token_step(scorer, id, token);
  }
  score->lm = step.state;
  score->lm_score += static_cast<double>(step.score);
}

void PrefixScores::extend(const BeamScorer& scorer,
                          const PrefixTree& tree,
                          PrefixTree::Id id,
                          std::int32_t token,
                          PrefixScore* score) {
  *score = (*this)[id];
  const BeamModels& models = scorer.models();
  if (models.hotwords != nullptr) {
    const HotStep step = models.hotwords->step(score->hot, token);
    score->hot = step.state;
    score->bonus += static_cast<double>(step.bonus);
  }
  add_unit(scorer, tree, id, token, score);
}

PrefixScore PrefixScores::finish(const BeamScorer& scorer,
                                 const PrefixTree& tree,
                                 PrefixTree::Id id) const {
  PrefixScore score = (*this)[id];
  const BeamModels& models = scorer.models();
  if (models.hotwords != nullptr) {
    score.bonus += static_cast<double>(models.hotwords->finish(score.hot));
  }
  const bool open_word = scorer.scores_words() && score.letters > 0;
  if (open_word) ++score.units;
  if (!scorer.uses_lm()) return score;
  if (open_word) {
    const Entry& entry = entries_[static_cast<std::size_t>(id)];
    const LmStep step = entry.has_word ? entry.word : word_step(scorer, tree, id);
    score.lm = step.state;
    score.lm_score += static_cast<double>(step.score);
  }
  score.lm_score += static_cast<double>(models.lm->finish(score.lm));
  return score;
}

void PrefixScores::advance_root(const BeamScorer& scorer, std::int32_t token) {
  if (!scorer.scores_words() || !scorer.uses_lm()) return;
  if (token == scorer.options().separator) {
    root_word_.clear();
  } else {
    root_word_.push_back(token);
  }
}

}  // namespace mms
