// New prefixes: each hypothesis extended by each token that can still reach the beam.
#include <algorithm>
#include <cstddef>
#include <limits>

#include "state.h"

namespace mms {
namespace {

constexpr double kNever = -std::numeric_limits<double>::infinity();

/// Words of 64 bits that hold one bit per choice.
std::size_t words_of(const BeamState& state) { return (state.choices.size + 63) / 64; }

/// Mark, for each hypothesis, the choices that extend it to a prefix of the beam.
void mark_taken(BeamState& state) {
  const std::size_t words = words_of(state);
  // The additional row receives the marks of absent parents, which saves a branch.
  state.taken.assign((state.used + 1) * words, 0);
  for (const std::int32_t slot_id : state.order) {
    const auto slot = static_cast<std::size_t>(slot_id);
    if (!state.choices.has(state.last[slot])) continue;
    const std::uint32_t at = state.choices.position[static_cast<std::size_t>(state.last[slot])];
    const std::int32_t parent = state.parent[slot];
    const std::size_t row = parent < 0 ? state.used : static_cast<std::size_t>(parent);
    state.taken[row * words + at / 64] |= std::uint64_t{1} << (at % 64);
  }
}

/// The extensions of one hypothesis by the choices.
struct Extensions {
  Extensions(BeamState& state, std::size_t rank_of)
      : rank(static_cast<std::int32_t>(rank_of)),
        slot(static_cast<std::size_t>(state.order[rank_of])),
        count(state.choices.size),
        log_probs(state.choices.log_probs.data()),
        tokens(state.choices.tokens.data()),
        taken(state.taken.data() + slot * words_of(state)),
        sums{state.now.sums[slot], state.now.sums[state.now.size + slot]},
        last(state.last[slot]) {}

  /// Whether the extended prefix is not in the beam.
  bool is_new(std::size_t choice) const { return (taken[choice / 64] >> (choice % 64) & 1) == 0; }
  /// Acoustic log-probability. A repeated label extends only the paths that end in a blank.
  double log_prob(std::size_t choice) const {
    return sums[tokens[choice] == last ? 1 : 0] + log_probs[choice];
  }

  std::int32_t rank;
  std::size_t slot;
  std::size_t count;
  const double* log_probs;
  const std::int32_t* tokens;
  std::uint64_t* taken;
  double sums[2];  ///< Of all paths, and of those that end in a blank.
  std::int32_t last;
};

/// The bound raised by the new prefixes themselves: r hypotheses times the k best tokens, where
/// r * k fill the beam, reach at least the score of the last of them. A repeated label reaches
/// less, which one token more makes up for.
double raise_bound(const BeamState& state, double bound) {
  const std::vector<double>& log_probs = state.choices.log_probs;
  const std::size_t ranks = state.order.size();
  const std::size_t beam_size = state.enough.size() - 1;
  if (state.choices.size * ranks <= beam_size) return bound;  // as in most frames
  const auto total = [&](std::size_t rank) {
    return state.now.sums[static_cast<std::size_t>(state.order[rank])];
  };
  const std::size_t most = std::min(state.choices.size - 1, beam_size);
  for (std::size_t count = state.enough[ranks]; count <= most; ++count) {
    if (total(0) + log_probs[count] <= bound) break;
    bound = std::max(bound, total(state.enough[count] - 1) + log_probs[count]);
  }
  return bound;
}

/// Extensions scored by the acoustic model alone.
void extend_plainly(BeamState& state, double bound) {
  for (std::size_t rank = 0; rank < state.order.size(); ++rank) {
    const Extensions extensions(state, rank);
    // Hypotheses are in order: where the best token is not enough, later ones fail too.
    if (extensions.sums[0] + extensions.log_probs[0] < bound) return;
    for (std::size_t i = 0; i < extensions.count; ++i) {
      if (extensions.sums[0] + extensions.log_probs[i] < bound) break;
      const double score = extensions.log_prob(i);
      const bool wanted = extensions.is_new(i) & (score >= bound);
      state.selection.add_if(wanted, {score, extensions.rank, extensions.tokens[i]});
    }
  }
}

/// Extensions scored by a language model or hotwords as well.
class ScoredExtension {
 public:
  ScoredExtension(BeamState& state, const BeamScorer& scorer, double bound)
      : state_(state), scorer_(scorer), bound_(bound), separator_(scorer.ends_words()) {}

  /// Once enough candidates are known, they raise the bound for the hypotheses that follow.
  void extend_all(bool is_full) {
    const auto beam_size = static_cast<std::size_t>(scorer_.options().beam_size);
    bool is_raised = !is_full;
    for (std::size_t rank = 0; rank < state_.order.size(); ++rank) {
      extend(rank);
      if (is_raised || rank % kRanks != kRanks - 1 || state_.selection.size() < beam_size) continue;
      bound_ = state_.selection.raise(bound_, highest(), beam_size);
      is_raised = true;
    }
  }

 private:
  /// Hypotheses between two attempts to raise the bound.
  static constexpr std::size_t kRanks = 5;

  /// Estimate of the best score of the next beam.
  double highest() const {
    const auto slot = static_cast<std::size_t>(state_.order[0]);
    const double best = state_.now.sums[slot] + state_.gain[slot] + state_.choices.log_probs[0];
    return std::max(best, state_.highest_stay);
  }

  void extend(std::size_t rank) {
    const double reach = state_.reach[static_cast<std::size_t>(state_.order[rank])];
    if (reach + state_.choices.log_probs[0] < bound_) return;
    const Extensions extensions(state_, rank);
    if (scorer_.adds_bonuses_only()) return extend_by_bonuses(extensions, reach);
    for (std::size_t i = 0; i < extensions.count; ++i) {
      if (reach + extensions.log_probs[i] < bound_) break;
      if (extensions.is_new(i)) score(extensions, i);
    }
  }

  /// The same where a token other than the separator adds a hotword bonus at most.
  void extend_by_bonuses(const Extensions& extensions, double reach) {
    if (separator_ >= 0) {
      const std::size_t at = claim(extensions, separator_);
      const bool is_new = at < extensions.count;
      if (is_new && reach + extensions.log_probs[at] >= bound_) score(extensions, at);
    }
    const double least = bound_ - reach;
    const Hotwords* hotwords = scorer_.models().hotwords;
    if (hotwords == nullptr) {
      return add_rest(extensions, least, 0.0F, [](std::int32_t) { return 0.0F; });
    }
    const HotBonuses& bonuses = state_.token_gains[extensions.slot].bonuses;
    add(extensions, bonuses.silent, 0.0F);
    add(extensions, bonuses.token, bonuses.next);
    if (hotwords->has_one_page()) {
      const float* page = bonuses.page(0);
      add_rest(extensions, least, bonuses.potential, [page](std::int32_t id) { return page[id]; });
    } else {
      add_rest(extensions, least, bonuses.potential, [&bonuses](std::int32_t id) {
        return bonuses.arrival(id);
      });
    }
  }

  /// The position of `token` among the choices where it makes a new prefix, else their number; a
  /// token is claimed once.
  std::size_t claim(const Extensions& extensions, std::int32_t token) {
    if (token < 0 || !state_.choices.has(token)) return extensions.count;
    const std::size_t at = state_.choices.position[static_cast<std::size_t>(token)];
    const bool is_new = extensions.is_new(at);
    extensions.taken[at / 64] |= std::uint64_t{1} << (at % 64);
    return is_new ? at : extensions.count;
  }

  void add(const Extensions& extensions, std::int32_t token, float bonus) {
    const std::size_t at = claim(extensions, token);
    if (at == extensions.count) return;
    const TokenGains& gains = state_.token_gains[extensions.slot];
    const double gain = gains.base + (gains.bonus + static_cast<double>(bonus));
    const double score = extensions.log_prob(at) + gain;
    state_.selection.add_if(score >= bound_, {score, extensions.rank, token});
  }

  /// Tokens that are not claimed; their bonus is an arrival less the state's potential.
  template <typename Arrivals>
  void add_rest(const Extensions& all, double least, float potential, const Arrivals& arrival_of) {
    const Extensions extensions = all;
    const TokenGains& gains = state_.token_gains[extensions.slot];
    const double base = gains.base;
    const double settled = gains.bonus - static_cast<double>(potential);
    const double bound = bound_;
    Candidate* out = state_.selection.room();
    for (std::size_t i = 0; i < extensions.count && extensions.log_probs[i] >= least; ++i) {
      const std::int32_t token = extensions.tokens[i];
      const auto arrival = static_cast<double>(arrival_of(token));
      const double score = extensions.log_prob(i) + (base + (settled + arrival));
      *out = {score, extensions.rank, token};
      out += static_cast<std::ptrdiff_t>(extensions.is_new(i) & (score >= bound));
    }
    state_.selection.fill(out);
  }

  /// Add one extension, scored by all models.
  void score(const Extensions& extensions, std::size_t choice) {
    PrefixScore extended;
    const PrefixTree::Id node = state_.node[extensions.slot];
    const std::int32_t token = extensions.tokens[choice];
    state_.scores.extend(scorer_, state_.tree, node, token, &extended);
    const double score = extensions.log_prob(choice) + scorer_.gain(extended);
    state_.selection.add_if(score >= bound_, {score, extensions.rank, token});
  }

  BeamState& state_;
  const BeamScorer& scorer_;
  double bound_;
  std::int32_t separator_;  ///< -1 where it ends no scored word.
};

void add_stays(BeamState& state, double bound) {
  for (std::size_t rank = 0; rank < state.order.size(); ++rank) {
    const double score = state.stay_score[static_cast<std::size_t>(state.order[rank])];
    state.selection.add_if(score >= bound, {score, static_cast<std::int32_t>(rank), -1});
  }
}

}  // namespace

void beam_collect(BeamState& state, const BeamScorer& scorer, double bound) {
  const bool is_full = bound != kNever;
  bound = std::max(bound, std::numeric_limits<double>::lowest());  // -inf is never wanted
  state.selection.reset(state.order.size() * (state.choices.size + 2));
  if (scorer.is_plain()) bound = raise_bound(state, bound);
  add_stays(state, bound);
  if (state.choices.size != 0) {
    mark_taken(state);
    if (scorer.is_plain()) {
      extend_plainly(state, bound);
    } else {
      ScoredExtension(state, scorer, bound).extend_all(is_full);
    }
  }
  // Where no hypothesis is possible any more, the best one stays, with probability 0.
  if (state.selection.empty()) state.selection.add({kNever, 0, -1});
}

}  // namespace mms
