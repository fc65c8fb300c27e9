// One frame of the prefix beam: stay, extend, select.
#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>
#include <utility>

#include "beam_state.h"
#include "isa/kernels.h"

namespace mms {
namespace {

constexpr double kNever = -std::numeric_limits<double>::infinity();

/// Collect what each hypothesis needs of its last label and of its parent.
void gather(BeamState& state, const float* log_probs) {
  const std::size_t used = state.used;
  for (std::size_t slot = 0; slot < used; ++slot) {
    state.last_logp[slot] = static_cast<double>(log_probs[state.last[slot]]);
    state.parent_in[slot] = state.now.sums[state.parent_sum[slot]];
    state.parent_path[slot] = state.now.paths[state.parent_sum[slot]];
  }
  for (std::size_t slot = used; slot % kBeamLanes != 0; ++slot) {
    state.last_logp[slot] = 0.0;
    state.parent_in[slot] = state.parent_path[slot] = kNever;
  }
}

/// Every hypothesis without a new token; returns the range of their scores.
Range stay(BeamState& state, double blank_logp) {
  const BeamFrame& now = state.now;
  BeamFrame& next = state.next;
  const auto count = static_cast<std::int64_t>(state.used);
  const std::int64_t padded = (count + kBeamLanes - 1) / kBeamLanes * kBeamLanes;
  MMS_TABLE(kBeam).paths({now.paths.data() + now.size,
                          now.path_label.data(),
                          state.parent_path.data(),
                          state.last_logp.data(),
                          now.sum.data(),
                          now.peak.data(),
                          now.start.data(),
                          blank_logp,
                          state.frame},
                         {next.paths.data() + next.size,
                          next.path_label.data(),
                          next.paths.data(),
                          next.sum.data(),
                          next.peak.data(),
                          next.start.data(),
                          state.change.data()},
                         padded);
  return MMS_TABLE(kBeam).stay(
      {now.sums.data() + now.size,
       now.label.data(),
       now.sums.data(),
       state.parent_in.data(),
       state.last_logp.data(),
       state.gain.data(),
       blank_logp},
      {next.sums.data() + next.size, next.label.data(), next.sums.data(), state.stay_score.data()},
      padded);
}

/// The span of the last label on the path that ends in it.
SpanTree::Id close_span(BeamState& state, std::size_t slot) {
  const BeamFrame& now = state.now;
  const auto frames = static_cast<double>(state.frame - now.start[slot]);
  return state.spans.add(now.label_spans[slot],
                         now.start[slot],
                         state.frame,
                         static_cast<float>(now.sum[slot] / frames),
                         static_cast<float>(now.peak[slot]));
}

/// Where the best paths of the hypotheses that stay have come from.
void follow_paths(BeamState& state) {
  const BeamFrame& now = state.now;
  BeamFrame& next = state.next;
  std::copy_n(now.blank_spans.begin(), state.used, next.blank_spans.begin());
  std::copy_n(now.label_spans.begin(), state.used, next.label_spans.begin());
  for (std::size_t slot = 0; slot < state.used; ++slot) {
    if ((state.change[slot] & kPathCloses) == 0) continue;
    state.released.push_back(now.blank_spans[slot]);
    next.blank_spans[slot] = close_span(state, slot);
  }
  for (std::size_t slot = 0; slot < state.used; ++slot) {
    if ((state.change[slot] & kPathBegins) == 0) continue;
    const auto parent = static_cast<std::size_t>(state.parent[slot]);
    const BeamFrame& from = state.repeats[slot] != 0 ? now : next;
    const SpanTree::Id spans = from.blank_spans[parent];
    if (spans == now.label_spans[slot]) continue;
    state.spans.acquire(spans);
    state.released.push_back(now.label_spans[slot]);
    next.label_spans[slot] = spans;
  }
}

std::size_t words_of(const BeamState& state) { return (state.choices.size + 63) / 64; }

/// Mark the choices that lead to prefixes of the beam, and those that repeat the last label.
void mark_taken(BeamState& state) {
  const std::size_t words = words_of(state);
  state.taken.assign(state.used * words, 0);
  for (const std::int32_t slot_id : state.order) {
    const auto slot = static_cast<std::size_t>(slot_id);
    if (!state.choices.has(state.last[slot])) continue;
    const std::uint32_t at = state.choices.position[static_cast<std::size_t>(state.last[slot])];
    const std::uint64_t bit = std::uint64_t{1} << (at % 64);
    state.taken[slot * words + at / 64] |= bit;
    if (state.parent[slot] < 0) continue;
    state.taken[static_cast<std::size_t>(state.parent[slot]) * words + at / 64] |= bit;
  }
}

/// How many of the best tokens, times `rows` hypotheses, are enough candidates to fill the beam.
/// A hypothesis' extensions by its last label and by the separator do not count.
class Enough {
 public:
  Enough(std::size_t beam_size, std::size_t spoilt, std::size_t tokens)
      : beam_size_(beam_size), spoilt_(spoilt), tokens_(tokens) {}

  /// One row more; returns the number of tokens, 0 where all are too few.
  std::size_t add_row() {
    ++rows_;
    if (tokens_ <= spoilt_ || rows_ * (tokens_ - spoilt_) < beam_size_) return 0;
    while (tokens_ > spoilt_ + 1 && rows_ * (tokens_ - 1 - spoilt_) >= beam_size_) --tokens_;
    return tokens_;
  }

 private:
  std::size_t beam_size_;
  std::size_t spoilt_;
  std::size_t tokens_;
  std::size_t rows_ = 0;
};

/// Raise the bound by the new prefixes themselves: the first r hypotheses extended by the best
/// tokens. Hypotheses from which an extension takes something back are counted apart.
double raise_bound(const BeamState& state, const BeamScorer& scorer, double bound) {
  const BeamChoices& choices = state.choices;
  const auto beam_size = static_cast<std::size_t>(scorer.options().beam_size);
  if (choices.size * state.order.size() <= beam_size) return bound;  // too few, as in most frames
  const bool separates = !scorer.is_plain() && scorer.options().separator >= 0;
  Enough steady(beam_size, separates ? 2 : 1, choices.size);
  Enough all = steady;
  const double slack = scorer.is_plain() ? 0.0 : 1e-6;
  double least = std::numeric_limits<double>::infinity();
  for (const std::int32_t slot_id : state.order) {
    const auto slot = static_cast<std::size_t>(slot_id);
    const double low = std::min(state.gains[slot].low, 0.0);
    // Candidates add the same three numbers in another order.
    const double score = state.now.sums[slot] + state.gain[slot] + low - slack;
    least = std::min(least, score);
    if (const std::size_t count = all.add_row(); count > 0) {
      bound = std::max(bound, least + choices.log_probs[count - 1]);
    }
    if (low < -1e-5) continue;
    if (const std::size_t count = steady.add_row(); count > 0) {
      bound = std::max(bound, score + choices.log_probs[count - 1]);
    }
  }
  return bound;
}

/// Add the extensions of the hypothesis at `rank` by tokens that need no look at anything else.
void extend_plainly(BeamState& state, std::size_t rank, std::size_t words, double bound) {
  const BeamChoices& choices = state.choices;
  const auto slot = static_cast<std::size_t>(state.order[rank]);
  const double total = state.now.sums[slot];
  for (std::size_t word = 0; word < words; ++word) {
    std::uint64_t taken = state.taken[slot * words + word];
    const std::size_t end = std::min(choices.size, 64 * (word + 1));
    for (std::size_t i = 64 * word; i < end; ++i, taken >>= 1) {
      const double score = total + choices.log_probs[i];
      if (score < bound) return;
      state.selection.add_if((taken & 1) == 0,
                             {score, static_cast<std::int32_t>(rank), choices.tokens[i]});
    }
  }
}

/// The log-probability of the hypothesis' last label said once more, after a blank; -inf where
/// that is no new prefix.
double repeat_logp(const BeamState& state, std::size_t slot) {
  const BeamChoices& choices = state.choices;
  const std::int32_t last = state.last[slot];
  if (state.repeat_taken[slot] != 0 || !choices.has(last)) return kNever;
  const std::size_t at = choices.position[static_cast<std::size_t>(last)];
  return state.now.sums[state.now.size + slot] + choices.log_probs[at];
}

/// New prefixes where nothing but the acoustic model scores them.
void extend_all_plainly(BeamState& state, double bound) {
  const std::size_t words = words_of(state);
  for (std::size_t rank = 0; rank < state.order.size(); ++rank) {
    const auto slot = static_cast<std::size_t>(state.order[rank]);
    const double total = state.now.sums[slot];
    // Hypotheses are in order: where the best token is not enough, it is not for the others.
    if (total == kNever || total + state.choices.log_probs[0] < bound) return;
    extend_plainly(state, rank, words, bound);
    const double repeat = repeat_logp(state, slot);
    const bool wanted = repeat >= bound && repeat != kNever;
    state.selection.add_if(wanted, {repeat, static_cast<std::int32_t>(rank), state.last[slot]});
  }
}

/// New prefixes where language model, hotwords or lexicon have a say in every token.
class ScoredExtension {
 public:
  ScoredExtension(BeamState& state, const BeamScorer& scorer, double bound)
      : state_(state), scorer_(scorer), bound_(bound) {}

  void extend(std::size_t rank) {
    const BeamChoices& choices = state_.choices;
    const std::size_t words = words_of(state_);
    const auto slot = static_cast<std::size_t>(state_.order[rank]);
    const double total = state_.now.sums[slot];
    const double highest = state_.gain[slot] + state_.gains[slot].high;
    if (total == kNever) return;
    for (std::size_t i = 0; i < choices.size; ++i) {
      const double logp = total + choices.log_probs[i];
      if (logp + highest < bound_) break;
      const std::uint64_t taken = state_.taken[slot * words + i / 64] >> (i % 64);
      if ((taken & 1) == 0) add(rank, slot, choices.tokens[i], logp);
    }
    const double repeat = repeat_logp(state_, slot);
    if (repeat != kNever && repeat + highest >= bound_) add(rank, slot, state_.last[slot], repeat);
  }

  /// One candidate, asking everything that scores.
  void add(std::size_t rank, std::size_t slot, std::int32_t token, double logp) {
    PrefixScore said;
    if (!state_.scores.extend(scorer_, state_.tree, state_.node[slot], token, &said)) return;
    const double score = logp + scorer_.gain(said);
    const bool wanted = score >= bound_ && score != kNever;
    state_.selection.add_if(wanted, {score, static_cast<std::int32_t>(rank), token});
  }

 private:
  BeamState& state_;
  const BeamScorer& scorer_;
  double bound_;
};

/// New prefixes where a token adds a bonus of hotwords or nothing, and only the separator may end
/// a word, so that nothing else has to be asked about any other token.
class BonusExtension {
 public:
  BonusExtension(BeamState& state, const BeamScorer& scorer, double bound)
      : state_(state), scorer_(scorer), bound_(bound), asking_(state, scorer, bound) {
    const std::int32_t separator = scorer.options().separator;
    if (scorer.scores_words() && separator >= 0) separator_ = separator;
    if (separator_ < 0 || !state.choices.has(separator_)) return;
    separator_at_ = state.choices.position[static_cast<std::size_t>(separator_)];
    has_separator_ = true;
  }

  void extend(std::size_t rank) {
    const auto slot = static_cast<std::size_t>(state_.order[rank]);
    const double reach = state_.reach[slot];
    if (reach == kNever) return;
    if (reach + state_.choices.log_probs[0] < bound_) return;  // nor can a repeat be more
    const float* bonuses = bonuses_from(slot, reach);
    extend_by_letters(rank, slot, bonuses, reach);
    if (has_separator_) separate(rank, slot, bonuses);
    const double repeat = repeat_logp(state_, slot);
    if (repeat != kNever) add_repeat(rank, slot, repeat, bonuses);
  }

 private:
  /// A row of bonuses by token; at least those of the choices that can reach the bound, of the
  /// separator and of the last token.
  const float* bonuses_from(std::size_t slot, double best) {
    const Hotwords* hotwords = scorer_.models().hotwords;
    if (hotwords == nullptr) return state_.bonuses.data();  // all 0
    const HotState hot = state_.token_gains[slot].hot;
    if (const float* bonuses = scorer_.bonuses(hot)) return bonuses;
    const BeamChoices& choices = state_.choices;
    for (std::size_t i = 0; i < choices.size; ++i) {
      if (i % 64 == 0 && best + choices.log_probs[i] < bound_) break;
      put_bonus(hot, choices.tokens[i]);
    }
    if (has_separator_) put_bonus(hot, separator_);
    put_bonus(hot, state_.last[slot]);
    return state_.bonuses.data();
  }

  void put_bonus(HotState hot, std::int32_t token) {
    const float bonus = scorer_.models().hotwords->step(hot, token).bonus;
    state_.bonuses[static_cast<std::size_t>(token)] = bonus;
  }

  void extend_by_letters(std::size_t rank, std::size_t slot, const float* bonuses, double best) {
    const BeamChoices& choices = state_.choices;
    const TokenGains& gains = state_.token_gains[slot];
    const std::size_t words = words_of(state_);
    for (std::size_t word = 0; word < words; ++word) {
      const std::size_t first = 64 * word;
      if (best + choices.log_probs[first] < bound_) return;
      const std::size_t size = std::min<std::size_t>(choices.size - first, 64);
      std::uint64_t wanted = MMS_TABLE(kBeam).extend({choices.tokens.data() + first,
                                                      choices.log_probs.data() + first,
                                                      bonuses,
                                                      state_.now.sums[slot],
                                                      gains.base,
                                                      gains.bonus,
                                                      bound_},
                                                     static_cast<std::int64_t>(size),
                                                     scores_);
      wanted &= ~state_.taken[slot * words + word];
      if (has_separator_ && separator_at_ / 64 == word) {
        wanted &= ~(std::uint64_t{1} << (separator_at_ % 64));
      }
      for (; wanted != 0; wanted &= wanted - 1) {
        const auto at = static_cast<std::size_t>(std::countr_zero(wanted));
        state_.selection.add(
            {scores_[at], static_cast<std::int32_t>(rank), choices.tokens[first + at]});
      }
    }
  }

  void separate(std::size_t rank, std::size_t slot, const float* bonuses) {
    const std::uint64_t word = state_.taken[slot * words_of(state_) + separator_at_ / 64];
    if (((word >> (separator_at_ % 64)) & 1) != 0) return;
    const double logp = state_.now.sums[slot] + state_.choices.log_probs[separator_at_];
    const double bonus = static_cast<double>(bonuses[separator_]);
    // A little more than can be, lest rounding cut what must not be.
    if (logp + (state_.gain[slot] + scorer_.highest_unit() + bonus) < bound_) return;
    asking_.add(rank, slot, separator_, logp);
  }

  void add_repeat(std::size_t rank, std::size_t slot, double logp, const float* bonuses) {
    const std::int32_t token = state_.last[slot];
    if (token == separator_) return asking_.add(rank, slot, token, logp);
    const TokenGains& gains = state_.token_gains[slot];
    const auto step = static_cast<double>(bonuses[token]);
    const double score = logp + (gains.base + (gains.bonus + step));
    state_.selection.add_if(score >= bound_, {score, static_cast<std::int32_t>(rank), token});
  }

  BeamState& state_;
  const BeamScorer& scorer_;
  double bound_;
  ScoredExtension asking_;
  std::int32_t separator_ = -1;   ///< Where it may end a word.
  std::size_t separator_at_ = 0;  ///< Among the choices.
  bool has_separator_ = false;    ///< It is one of the choices.
  double scores_[64];
};

template <typename Extension>
void extend_all(BeamState& state, const BeamScorer& scorer, double bound) {
  Extension extension(state, scorer, bound);
  for (std::size_t rank = 0; rank < state.order.size(); ++rank) extension.extend(rank);
}

void add_stays(BeamState& state, double bound) {
  for (std::size_t rank = 0; rank < state.order.size(); ++rank) {
    const double score = state.stay_score[static_cast<std::size_t>(state.order[rank])];
    const bool wanted = score >= bound && score != kNever;
    state.selection.add_if(wanted, {score, static_cast<std::int32_t>(rank), -1});
  }
}

/// Drop the least likely choices, as far as the raised bound is out of their reach. A separator
/// may be out of order at the end.
void drop_choices(BeamState& state, const BeamScorer& scorer, double bound) {
  BeamChoices& choices = state.choices;
  if (scorer.is_uniform()) return;
  while (choices.size > 0 && state.best_reach + choices.log_probs[choices.size - 1] < bound) {
    --choices.size;
  }
}

void collect(BeamState& state, const BeamScorer& scorer, double bound) {
  BeamChoices& choices = state.choices;
  state.selection.reset(state.order.size() * (choices.size + 2));
  bound = raise_bound(state, scorer, bound);
  if (!scorer.is_plain()) drop_choices(state, scorer, bound);
  add_stays(state, bound);
  if (choices.size != 0) {
    mark_taken(state);
    if (scorer.is_plain()) {
      extend_all_plainly(state, bound);
    } else if (scorer.adds_bonuses_only()) {
      extend_all<BonusExtension>(state, scorer, bound);
    } else {
      extend_all<ScoredExtension>(state, scorer, bound);
    }
  }
  // Where no hypothesis is possible any more, the best one stays, with probability 0.
  if (state.selection.empty()) state.selection.add({kNever, 0, -1});
}

/// A frame that only separates labels: every path goes on as one that ends in a blank.
void skip(BeamState& state) {
  BeamFrame& now = state.now;
  for (const std::int32_t slot_id : state.order) {
    const auto slot = static_cast<std::size_t>(slot_id);
    if (now.path_label[slot] > now.paths[now.size + slot]) {
      const SpanTree::Id spans = close_span(state, slot);
      state.spans.release(now.blank_spans[slot]);
      now.blank_spans[slot] = spans;
    }
    now.sums[now.size + slot] = now.sums[slot];
    now.label[slot] = kNever;
    now.paths[now.size + slot] = now.paths[slot];
    now.path_label[slot] = kNever;
  }
}

}  // namespace

void beam_advance(BeamState& state, const BeamScorer& scorer, const float* log_probs) {
  const BeamOptions& options = scorer.options();
  const auto blank_logp = static_cast<double>(log_probs[options.blank]);
  if (options.blank_skip < 1.0 && blank_logp > std::log(options.blank_skip)) {
    skip(state);
  } else {
    gather(state, log_probs);
    const Range range = stay(state, blank_logp);
    follow_paths(state);
    // Where the beam is full, what is below the worst that stays cannot get in.
    const bool full = std::ssize(state.order) == options.beam_size;
    const double bound = std::max(full ? range.low : kNever, range.high - options.beam_threshold);
    beam_choose(state, scorer, log_probs, bound);
    collect(state, scorer, bound);
    state.selection.select(static_cast<std::size_t>(options.beam_size));
    beam_replace(state, scorer);
    std::swap(state.now, state.next);
  }
  ++state.frame;
  // At fixed frames, so that the cut into steps does not matter.
  if (options.lookback > 0 && state.frame % 64 == 0) beam_look_back(state, options);
  if (state.frame >= state.next_settle) beam_settle(state, scorer);
}

}  // namespace mms
