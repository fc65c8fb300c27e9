// New prefixes: each hypothesis by each token that can still reach the beam.
#include "beam_extend.h"

#include <algorithm>
#include <limits>

namespace mms {
namespace {

/// Mark the choices that lead to prefixes of the beam, and those that repeat the last label.
void mark_taken(BeamState& state) {
  const std::size_t words = words_of(state);
  // One row more, for those whose parent is not in the beam: so there is no branch.
  state.taken.assign((state.used + 1) * words, 0);
  for (const std::int32_t slot_id : state.order) {
    const auto slot = static_cast<std::size_t>(slot_id);
    if (!state.choices.has(state.last[slot])) continue;
    const std::uint32_t at = state.choices.position[static_cast<std::size_t>(state.last[slot])];
    const std::uint64_t bit = std::uint64_t{1} << (at % 64);
    state.taken[slot * words + at / 64] |= bit;
    const std::int32_t parent = state.parent[slot];
    const std::size_t row = parent < 0 ? state.used : static_cast<std::size_t>(parent);
    state.taken[row * words + at / 64] |= bit;
  }
}

/// The bound as far as r hypotheses by the k best tokens raise it: where these are enough to fill
/// the beam, no score below theirs is needed. `floor` of a rank is what that hypothesis and those
/// before it score at least with a token of probability 1. A hypothesis' extensions by its last
/// label and by the separator do not count: `spoilt` tokens.
template <typename Floor>
double raised(double bound,
              std::size_t spoilt,
              const BeamState& state,
              std::size_t ranks,
              const Floor& floor) {
  if (state.choices.size <= spoilt || ranks == 0) return bound;
  const std::size_t counts = std::min(state.choices.size - spoilt, state.enough.size() - 1);
  // So many tokens for all hypotheses, then ever more tokens for ever fewer of them.
  for (std::size_t count = state.enough[ranks]; count <= counts; ++count) {
    const double log_prob = state.choices.log_probs[count + spoilt - 1];
    if (floor(0) + log_prob <= bound) break;  // no other is more
    bound = std::max(bound, floor(state.enough[count] - 1) + log_prob);
  }
  return bound;
}

/// Raise the bound by the new prefixes themselves. Hypotheses from which an extension takes
/// something back are counted apart.
double raise_bound(BeamState& state, const BeamScorer& scorer, double bound) {
  const BeamChoices& choices = state.choices;
  const std::size_t ranks = state.order.size();
  const auto beam_size = static_cast<std::size_t>(scorer.options().beam_size);
  if (choices.size * ranks <= beam_size) return bound;  // too few, as in most frames
  if (scorer.is_plain()) {
    return raised(bound, 1, state, ranks, [&](std::size_t rank) {
      return state.now.sums[static_cast<std::size_t>(state.order[rank])];
    });
  }
  const std::size_t spoilt = scorer.ends_words() >= 0 ? 2 : 1;
  double least = std::numeric_limits<double>::infinity();
  std::size_t steady = 0;
  for (std::size_t rank = 0; rank < ranks; ++rank) {
    const auto slot = static_cast<std::size_t>(state.order[rank]);
    // Candidates add the same numbers in another order.
    const double score = state.now.sums[slot] + state.gains[slot].low - kSlack;
    least = std::min(least, score);
    state.floors[rank] = least;
    state.steady_floors[steady] = score;
    steady += state.gains[slot].is_steady ? 1 : 0;
  }
  const auto of = [](const std::vector<double>& floors) {
    return [&floors](std::size_t rank) { return floors[rank]; };
  };
  bound = raised(bound, spoilt, state, ranks, of(state.floors));
  return raised(bound, spoilt, state, steady, of(state.steady_floors));
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
    const double highest = state_.gains[slot].high;
    if (total == kNever) return;
    for (std::size_t i = 0; i < choices.size; ++i) {
      const double logp = total + choices.log_probs[i];
      if (logp + highest < bound_) break;
      const std::uint64_t taken = state_.taken[slot * words + i / 64] >> (i % 64);
      if ((taken & 1) == 0) add(rank, choices.tokens[i], logp);
    }
    const double repeat = repeat_logp(state_, slot);
    if (repeat != kNever && repeat + highest >= bound_) add(rank, state_.last[slot], repeat);
  }

 private:
  void add(std::size_t rank, std::int32_t token, double logp) {
    beam_ask(state_, scorer_, bound_, rank, token, logp);
  }

  BeamState& state_;
  const BeamScorer& scorer_;
  double bound_;
};

/// New prefixes where a token adds a bonus of hotwords or nothing, and only the separator may end
/// a word, so that nothing else has to be asked about any other token. The few tokens with the
/// greatest bonuses come first; without them the reach of a hypothesis is so much less that few
/// others have to be looked at.
class BonusExtension {
 public:
  BonusExtension(BeamState& state, const BeamScorer& scorer, double bound)
      : state_(state), scorer_(scorer), bound_(bound), words_(words_of(state)) {
    separator_ = scorer.ends_words();
    has_separator_ = separator_ >= 0 && state.choices.has(separator_);
  }

  void extend(std::size_t rank) {
    const auto slot = static_cast<std::size_t>(state_.order[rank]);
    const double reach = state_.reach[slot];
    if (reach == kNever) return;
    if (reach + state_.choices.log_probs[0] < bound_) return;  // nor can a repeat be more
    const Hotwords* hotwords = scorer_.models().hotwords;
    if (hotwords == nullptr) {
      extend_by(rank, slot, {}, [](std::int32_t) { return 0.0F; });
    } else {
      const HotState hot = state_.token_gains[slot].hot;
      extend_by(rank, slot, hotwords->reach(hot), hotwords->bonuses(hot));
    }
  }

 private:
  /// Whether a token is a choice that makes a new prefix; it is so once. Without branches: there is
  /// no telling beforehand.
  bool claim(std::size_t slot, std::int32_t token) {
    const BeamChoices& choices = state_.choices;
    const std::size_t place = choices.position[static_cast<std::size_t>(token)];
    const bool is_choice = (place < choices.size) & (choices.tokens[place] == token);
    const std::size_t at = is_choice ? place : 0;
    std::uint64_t& taken = state_.taken[slot * words_ + at / 64];
    const std::uint64_t before = taken;
    taken |= std::uint64_t{is_choice} << (at % 64);
    return taken != before;
  }

  template <typename Bonuses>
  void extend_by(std::size_t rank,
                 std::size_t slot,
                 const HotReach& reach,
                 const Bonuses& bonuses) {
    if (has_separator_) separate(rank, slot, bonuses(separator_));
    for (int i = 0; i < HotReach::kTokens && reach.tokens[i] >= 0; ++i) {
      const std::int32_t token = reach.tokens[i];
      const bool is_free = claim(slot, token);
      add(is_free, rank, slot, token, logp_of(slot, token), reach.bonuses[i]);
    }
    add_rest(rank, slot, reach.rest, bonuses);
    const double repeat = repeat_logp(state_, slot);
    if (repeat == kNever) return;
    const std::int32_t last = state_.last[slot];
    if (last == separator_) return beam_ask(state_, scorer_, bound_, rank, last, repeat);
    add(true, rank, slot, last, repeat, bonuses(last));
  }

  double logp_of(std::size_t slot, std::int32_t token) const {
    const std::uint32_t at = state_.choices.position[static_cast<std::size_t>(token)];
    return state_.now.sums[slot] + state_.choices.log_probs[at];
  }

  void add(bool is_free,
           std::size_t rank,
           std::size_t slot,
           std::int32_t token,
           double logp,
           float step) {
    const TokenGains& gains = state_.token_gains[slot];
    const double score = logp + (gains.base + (gains.bonus + static_cast<double>(step)));
    const bool wanted = is_free & (score >= bound_);
    state_.selection.add_if(wanted, {score, static_cast<std::int32_t>(rank), token});
  }

  /// All tokens that are not claimed, none of which has a bonus above `most`.
  template <typename Bonuses>
  void add_rest(std::size_t rank, std::size_t slot, float most, const Bonuses& bonuses) {
    const BeamChoices& choices = state_.choices;
    const TokenGains gains = state_.token_gains[slot];
    const double total = state_.now.sums[slot];
    const double highest = gains.base + (gains.bonus + static_cast<double>(most));
    const double least = bound_ - (total + highest) - kSlack;
    const double* log_probs = choices.log_probs.data();
    const std::int32_t* tokens = choices.tokens.data();
    Candidate* out = state_.selection.room();
    for (std::size_t word = 0; word < words_ && log_probs[64 * word] >= least; ++word) {
      std::uint64_t taken = state_.taken[slot * words_ + word];
      const std::size_t end = std::min(choices.size, 64 * (word + 1));
      for (std::size_t i = 64 * word; i < end && log_probs[i] >= least; ++i, taken >>= 1) {
        const auto step = static_cast<double>(bonuses(tokens[i]));
        const double score = total + log_probs[i] + (gains.base + (gains.bonus + step));
        *out = {score, static_cast<std::int32_t>(rank), tokens[i]};
        out += static_cast<std::ptrdiff_t>(((taken & 1) == 0) & (score >= bound_));
      }
    }
    state_.selection.fill(out);
  }

  void separate(std::size_t rank, std::size_t slot, float bonus) {
    if (!claim(slot, separator_)) return;
    const double logp = logp_of(slot, separator_);
    const double highest = state_.gain[slot] + scorer_.highest_unit() + static_cast<double>(bonus);
    // A little more than can be, lest rounding cut what must not be.
    if (logp + highest < bound_) return;
    beam_ask(state_, scorer_, bound_, rank, separator_, logp);
  }

  BeamState& state_;
  const BeamScorer& scorer_;
  double bound_;
  std::size_t words_;
  std::int32_t separator_ = -1;  ///< Where it may end a word.
  bool has_separator_ = false;   ///< It is one of the choices.
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

}  // namespace

void beam_ask(BeamState& state,
              const BeamScorer& scorer,
              double bound,
              std::size_t rank,
              std::int32_t token,
              double logp) {
  const auto slot = static_cast<std::size_t>(state.order[rank]);
  PrefixScore said;
  if (!state.scores.extend(scorer, state.tree, state.node[slot], token, &said)) return;
  const double score = logp + scorer.gain(said);
  const bool wanted = score >= bound && score != kNever;
  state.selection.add_if(wanted, {score, static_cast<std::int32_t>(rank), token});
}

void beam_collect(BeamState& state, const BeamScorer& scorer, double bound) {
  BeamChoices& choices = state.choices;
  state.selection.reset(state.order.size() * (choices.size + 2));
  bound = raise_bound(state, scorer, bound);
  if (!scorer.is_plain()) drop_choices(state, scorer, bound);
  add_stays(state, bound);
  if (choices.size != 0 && !scorer.is_plain() && scorer.adds_bonuses_only() &&
      state.vocab <= kPage) {
    beam_extend_page(state, scorer, bound);
  } else if (choices.size != 0) {
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

}  // namespace mms
