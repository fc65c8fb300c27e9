#include <algorithm>
#include <cmath>
#include <limits>
#include <stdexcept>
#include <string>
#include <unordered_map>
#include <unordered_set>
#include <utility>

#include "../frame.h"
#include "state.h"

namespace mms {
namespace {

void require(bool holds, const char* what) {
  if (!holds) throw std::invalid_argument(what);
}

void check_options(const LexiconOptions& options) {
  require(options.beam_size >= 1 && options.beam_size <= 65536,
          "beam_size must be at least 1 and at most 65536");
  require(options.blank >= 0, "blank must not be negative");
  require(options.separator >= -1, "separator must be a token, or -1 for none");
  require(options.separator != options.blank, "the separator must not be the blank");
  require(options.beam_threshold >= 0, "beam_threshold must not be negative");
  require(std::isfinite(options.lm_weight) && options.lm_weight >= 0,
          "lm_weight must be a number, not negative");
  require(std::isfinite(options.word_score), "word_score must be a number");
}

/// Words of a hypothesis, and of `last` behind them where it is a word.
TimedTokens words_of(const LexiconState& state, const LexiconHyp& hyp, std::int32_t last) {
  TimedTokens words;
  const auto depth = static_cast<std::size_t>(state.histories[hyp.history].depth);
  words.resize(depth + (last < 0 ? 0 : 1));
  const auto write = [&words](std::size_t at, std::int32_t word, const WordSpan& span) {
    words.ids[at] = word;
    words.starts[at] = span.start;
    words.ends[at] = span.end;
    const auto frames = static_cast<double>(std::max<std::int64_t>(span.frames, 1));
    words.scores[at] = static_cast<float>(span.sum / frames);
    words.peaks[at] = static_cast<float>(span.peak);
  };
  if (last >= 0) write(depth, last, hyp.open);
  std::int32_t time = hyp.times;
  Histories::Id history = hyp.history;
  for (std::size_t at = depth; at-- > 0; history = state.histories[history].parent) {
    const LexiconState::Time& one = state.times[static_cast<std::size_t>(time)];
    write(at, state.histories[history].word, one.span);
    time = one.previous;
  }
  return words;
}

/// A hypothesis at the end, with a last word that lacks its separator or without one (-1).
struct Finished {
  const LexiconHyp* hyp;
  std::int32_t last;
  double log_prob;
  double lm_score;
  double score;
};

/// Ends of all hypotheses, equal words joined, best first.
class Ends {
 public:
  Ends(const LexiconState& state, const LexiconDecoder& decoder)
      : state_(state), decoder_(decoder), options_(decoder.options()) {}

  std::vector<Finished> find() {
    for (const LexiconHyp& hyp : state_.beam) {
      if (hyp.node == Lexicon::root()) {
        add(hyp, -1);
      } else if (options_.open_end && options_.separator >= 0) {
        add_open(hyp);
      }
    }
    const bool is_complete = !found_.empty();
    if (!is_complete) {
      for (const LexiconHyp& hyp : state_.beam) add(hyp, -1);
    }
    std::stable_sort(found_.begin(), found_.end(), [](const Finished& a, const Finished& b) {
      return a.score > b.score;
    });
    if (!is_complete) keep_best_of_words();
    return std::move(found_);
  }

 private:
  void add_open(const LexiconHyp& hyp) {
    const Lexicon& lexicon = decoder_.lexicon();
    const Lexicon::Node node = lexicon.next(hyp.node, options_.separator);
    if (node == Lexicon::kNone) return;
    const std::int32_t* end = lexicon.words_at(node + 1);
    for (const std::int32_t* word = lexicon.words_at(node); word != end; ++word) add(hyp, *word);
  }

  void add(const LexiconHyp& hyp, std::int32_t last) {
    if (std::isinf(hyp.log_prob)) return;
    const Histories::Node& history = state_.histories[hyp.history];
    Finished one{&hyp, last, hyp.log_prob, history.lm_score, 0.0};
    LmState state = history.lm;
    const LanguageModel* lm = decoder_.lm();
    if (lm != nullptr) {
      if (last >= 0) {
        const LmStep step = lm->score(state, decoder_.unit_of(last));
        state = step.state;
        one.lm_score += static_cast<double>(step.score);
      }
      one.lm_score += static_cast<double>(lm->finish(state));
    }
    const double words = static_cast<double>(history.depth + (last < 0 ? 0 : 1));
    gain_ = options_.lm_weight * one.lm_score + options_.word_score * words;
    one.score = one.log_prob + gain_;
    join(one);
  }

  void join(const Finished& one) {
    const auto [place, is_new] = places_.try_emplace(key_of(one), found_.size());
    if (is_new) {
      found_.push_back(one);
      return;
    }
    // Hypotheses are in order: the path of the first one is kept.
    Finished& into = found_[place->second];
    into.log_prob = options_.sum_paths ? joined(into.log_prob, one.log_prob)
                                       : std::max(into.log_prob, one.log_prob);
    into.score = into.log_prob + gain_;
  }

  /// Keep the best of the hypotheses that differ only in their incomplete word.
  void keep_best_of_words() {
    std::unordered_set<Histories::Id> seen;
    std::erase_if(found_,
                  [&seen](const Finished& one) { return !seen.insert(one.hyp->history).second; });
  }

  static double joined(double a, double b) {
    return std::max(a, b) + std::log1p(std::exp(-std::abs(a - b)));
  }

  /// Equal for equal words; if no word is complete, for an equal place in its spelling too.
  std::uint64_t key_of(const Finished& one) const {
    Histories::Id history = one.hyp->history;
    std::int32_t rest = one.last;
    if (one.last < 0 && one.hyp->node != Lexicon::root()) {
      rest = one.hyp->node;
    } else if (one.last < 0) {
      rest = state_.histories[history].word;
      history = state_.histories[history].parent;
    }
    return static_cast<std::uint64_t>(history) << 32U | static_cast<std::uint32_t>(rest);
  }

  const LexiconState& state_;
  const LexiconDecoder& decoder_;
  const LexiconOptions& options_;
  double gain_ = 0.0;
  std::vector<Finished> found_;
  std::unordered_map<std::uint64_t, std::size_t> places_;
};

}  // namespace

LexiconDecoder::LexiconDecoder(const LexiconOptions& options,
                               const Lexicon* lexicon,
                               const LanguageModel* lm,
                               std::vector<LmUnit> units)
    : options_(options), lexicon_(lexicon), lm_(lm), units_(std::move(units)) {
  check_options(options_);
  // A model of weight 0 is not queried: 0 times its -inf would be NaN.
  if (options_.lm_weight == 0.0) lm_ = nullptr;
  if (lm_ != nullptr && std::ssize(units_) <= lexicon_->max_word()) {
    throw std::invalid_argument("there are units for " + std::to_string(units_.size()) +
                                " words, the lexicon has the word " +
                                std::to_string(lexicon_->max_word()));
  }
}

LexiconStream::LexiconStream(const LexiconDecoder& decoder)
    : decoder_(&decoder), state_(std::make_unique<LexiconState>(decoder)) {}
LexiconStream::LexiconStream(const LexiconStream& other)
    : decoder_(other.decoder_), state_(std::make_unique<LexiconState>(*other.state_)) {}
LexiconStream::LexiconStream(LexiconStream&&) noexcept = default;
LexiconStream::~LexiconStream() = default;

void LexiconStream::step(const Scores& scores) {
  LexiconState& state = *state_;
  const LexiconOptions& options = decoder_->options();
  check_vocab(scores.vocab, state.vocab, options.blank);
  const std::int64_t greatest = std::max(decoder_->lexicon().max_token(), options.separator);
  if (greatest >= scores.vocab) {
    throw std::invalid_argument("the lexicon has the token " + std::to_string(greatest) +
                                ", the logits have only " + std::to_string(scores.vocab) +
                                " tokens");
  }
  state.log_probs.resize(static_cast<std::size_t>(scores.vocab));
  Scores raw = scores;
  raw.kind = ScoreKind::kLogProbs;  // the check needs no normalisation
  for (std::int64_t frame = 0; frame < scores.frames; ++frame) {
    log_probs_of(raw, frame, state.frame, state.log_probs.data());
  }
  state.vocab = scores.vocab;
  for (std::int64_t frame = 0; frame < scores.frames; ++frame) {
    lexicon_advance(state, *decoder_, log_probs_of(scores, frame, 0, state.log_probs.data()));
  }
}

LexiconPartial LexiconStream::partial() const {
  const LexiconState& state = *state_;
  const LexiconHyp& best = state.beam.front();
  // The nearest common ancestor of all sequences.
  Histories::Id shared = best.history;
  for (const LexiconHyp& hyp : state.beam) {
    Histories::Id other = hyp.history;
    while (other != shared) {
      const bool is_deeper = state.histories[other].depth > state.histories[shared].depth;
      Histories::Id& deeper = is_deeper ? other : shared;
      deeper = state.histories[deeper].parent;
    }
  }
  const double lm_score = state.histories[best.history].lm_score;
  return {{words_of(state, best, -1), best.log_prob, lm_score, best.score},
          state.histories[shared].depth};
}

std::vector<LexiconHypothesis> LexiconStream::results(std::int64_t nbest) const {
  require(nbest >= 1, "nbest must be at least 1");
  std::vector<LexiconHypothesis> results;
  for (const Finished& one : Ends(*state_, *decoder_).find()) {
    if (std::ssize(results) == nbest) break;
    results.push_back(
        {words_of(*state_, *one.hyp, one.last), one.log_prob, one.lm_score, one.score});
  }
  return results;
}

void LexiconStream::reset() { state_ = std::make_unique<LexiconState>(*decoder_); }

std::int64_t LexiconStream::frames() const { return state_->frame; }

std::int64_t LexiconStream::live() const {
  return static_cast<std::int64_t>(state_->histories.size() + state_->times.size());
}

}  // namespace mms
