// One frame of the search over a lexicon.
#include <algorithm>
#include <cmath>
#include <limits>

#include "state.h"

namespace mms {
namespace {

double log_add(double a, double b) {
  const double high = std::max(a, b);
  if (std::isinf(high)) return high;
  return high + std::log1p(std::exp(std::min(a, b) - high));
}

std::uint64_t hash_of(const LexiconCandidate& one) {
  std::uint64_t mixed = static_cast<std::uint32_t>(one.history);
  mixed = (mixed << 32U | static_cast<std::uint32_t>(one.node)) * 0x9E3779B97F4A7C15U;
  mixed ^= mixed >> 29U;
  mixed = (mixed + static_cast<std::uint32_t>(one.token)) * 0xD1B54A32D192ED03U;
  return mixed ^ mixed >> 32U;
}

bool same(const LexiconCandidate& a, const LexiconCandidate& b) {
  return a.history == b.history && a.node == b.node && a.token == b.token;
}

/// Continuations of all hypotheses by one frame.
class Expansion {
 public:
  Expansion(LexiconState& state, const LexiconDecoder& decoder, const float* log_probs)
      : state_(state), decoder_(decoder), options_(decoder.options()), log_probs_(log_probs) {
    state_.candidates.clear();
  }

  void expand(std::size_t rank) {
    const LexiconHyp& hyp = state_.beam[rank];
    from_ = static_cast<std::int32_t>(rank);
    extend(hyp);
    // The separator may be repeated between words. Other tokens go on until a blank.
    const bool is_root = hyp.node == Lexicon::root();
    if (is_root && options_.separator >= 0) add(hyp, hyp.history, hyp.node, options_.separator);
    const bool is_held = hyp.token != options_.blank;
    if (is_held && !(is_root && hyp.token == options_.separator)) {
      add(hyp, hyp.history, hyp.node, hyp.token);
    }
    add(hyp, hyp.history, hyp.node, options_.blank);
  }

  /// Candidates within the threshold of the best, equal hypotheses joined.
  void join() {
    std::vector<LexiconCandidate>& all = state_.candidates;
    const double least = best_ - options_.beam_threshold;
    std::size_t size = 64;
    while (size < 2 * all.size()) size *= 2;
    state_.table.assign(size, 0);
    std::size_t count = 0;
    for (std::size_t i = 0; i < all.size(); ++i) {
      const LexiconCandidate one = all[i];
      if (!(one.score >= least) || std::isinf(one.score)) continue;
      std::size_t at = hash_of(one) & (size - 1);
      while (state_.table[at] != 0 && !same(all[state_.table[at] - 1], one)) {
        at = (at + 1) & (size - 1);
      }
      if (state_.table[at] == 0) {
        all[count++] = one;
        state_.table[at] = static_cast<std::uint32_t>(count);
      } else {
        merge(all[state_.table[at] - 1], one);
      }
    }
    all.resize(count);
  }

 private:
  void extend(const LexiconHyp& hyp) {
    const Lexicon& lexicon = decoder_.lexicon();
    const Lexicon::Node last = lexicon.last_child(hyp.node);
    for (Lexicon::Node child = lexicon.first_child(hyp.node); child < last; ++child) {
      const std::int32_t token = lexicon.token(child);
      // A repeated token needs a blank in between.
      if (token == hyp.token || token == options_.blank) continue;
      if (lexicon.first_child(child) < lexicon.last_child(child)) {
        add(hyp, hyp.history, child, token);
      }
      const std::int32_t* end = lexicon.words_at(child + 1);
      for (const std::int32_t* word = lexicon.words_at(child); word != end; ++word) {
        const Histories::Id history = state_.histories.extend(decoder_, hyp.history, *word);
        add(hyp, history, Lexicon::root(), token, true);
      }
    }
  }

  void add(const LexiconHyp& hyp,
           Histories::Id history,
           Lexicon::Node node,
           std::int32_t token,
           bool ends_word = false) {
    const double log_prob = hyp.log_prob + static_cast<double>(log_probs_[token]);
    const double score = log_prob + state_.histories[history].gain;
    best_ = std::max(best_, score);
    if (!(score >= best_ - options_.beam_threshold)) return;
    state_.candidates.push_back(
        {score, log_prob, log_prob, history, node, token, from_, ends_word});
  }

  /// Join another way to a hypothesis; of equal paths the first one counts.
  void merge(LexiconCandidate& into, const LexiconCandidate& other) const {
    const double log_prob = options_.sum_paths ? log_add(into.log_prob, other.log_prob)
                                               : std::max(into.log_prob, other.log_prob);
    if (other.path > into.path) into = other;
    into.log_prob = log_prob;
    into.score = log_prob + state_.histories[into.history].gain;
  }

  LexiconState& state_;
  const LexiconDecoder& decoder_;
  const LexiconOptions& options_;
  const float* log_probs_;
  std::int32_t from_ = 0;
  double best_ = -std::numeric_limits<double>::infinity();
};

/// Total order: score, then the continued hypothesis, then the order of its continuations.
bool better(const LexiconCandidate& a, const LexiconCandidate& b) {
  if (a.score != b.score) return a.score > b.score;
  if (a.from != b.from) return a.from < b.from;
  if (a.node != b.node) return a.node < b.node;
  if (a.token != b.token) return a.token < b.token;
  return a.history < b.history;
}

/// Add a frame of a letter to the open word.
void read_letter(WordSpan& span, std::int64_t frame, double log_prob) {
  if (span.frames == 0) {
    span.start = frame;
    span.peak = log_prob;
  }
  span.end = frame + 1;
  span.sum += log_prob;
  span.peak = std::max(span.peak, log_prob);
  ++span.frames;
}

LexiconHyp continued(LexiconState& state,
                     const LexiconOptions& options,
                     const LexiconCandidate& candidate,
                     const float* log_probs) {
  const LexiconHyp& from = state.beam[static_cast<std::size_t>(candidate.from)];
  LexiconHyp hyp{candidate.score,
                 candidate.log_prob,
                 candidate.history,
                 candidate.node,
                 candidate.token,
                 from.times,
                 from.open};
  const bool is_letter = candidate.token != options.blank && candidate.token != options.separator;
  const bool is_between = from.node == Lexicon::root() && candidate.node == Lexicon::root();
  if (is_letter && (candidate.ends_word || !is_between)) {
    read_letter(hyp.open, state.frame, static_cast<double>(log_probs[candidate.token]));
  }
  if (candidate.ends_word) {
    state.times.push_back({from.times, hyp.open});
    hyp.times = static_cast<std::int32_t>(state.times.size() - 1);
    hyp.open = {};
  }
  return hyp;
}

}  // namespace

void lexicon_advance(LexiconState& state, const LexiconDecoder& decoder, const float* log_probs) {
  const LexiconOptions& options = decoder.options();
  Expansion expansion(state, decoder, log_probs);
  for (std::size_t rank = 0; rank < state.beam.size(); ++rank) expansion.expand(rank);
  expansion.join();
  std::vector<LexiconCandidate>& found = state.candidates;
  const std::size_t kept = std::min(found.size(), static_cast<std::size_t>(options.beam_size));
  const auto end = found.begin() + static_cast<std::ptrdiff_t>(kept);
  if (kept < found.size()) std::nth_element(found.begin(), end, found.end(), better);
  std::sort(found.begin(), end, better);
  state.next.clear();
  for (auto one = found.begin(); one != end; ++one) {
    state.next.push_back(continued(state, options, *one, log_probs));
  }
  // Where no hypothesis is possible any more, the best one stays, with probability 0.
  if (state.next.empty()) {
    state.next.push_back(state.beam.front());
    state.next.front().score = state.next.front().log_prob =
        -std::numeric_limits<double>::infinity();
  }
  state.beam.swap(state.next);
  ++state.frame;
  lexicon_compact(state);
}

}  // namespace mms
