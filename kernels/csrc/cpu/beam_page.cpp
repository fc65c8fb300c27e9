// New prefixes where tokens add bonuses of hotwords or nothing, and all tokens fit into one word of
// bits: what a hypothesis' extensions score is compared for all tokens at once, in float32 and a
// little too low, and only what passes is added up in full.
#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>

#include "beam_extend.h"
#include "isa/kernels.h"

namespace mms {
namespace {

/// What is looked at together: then the bound is raised, once, by what was found.
constexpr std::size_t kRanks = 16;
constexpr double kLowest = std::numeric_limits<double>::lowest();
constexpr double kLeast = std::numeric_limits<float>::lowest();

std::uint64_t bit_of(std::int32_t token) { return std::uint64_t{1} << token; }

/// The tokens whose bonus is not where those of the others are. -1 becomes the bit of the blank,
/// which extends nothing.
std::uint64_t bits_apart(const HotSteps& steps, std::int32_t blank) {
  return bit_of(steps.token < 0 ? blank : steps.token) |
         bit_of(steps.silent < 0 ? blank : steps.silent);
}

struct RankRange {
  std::size_t begin;
  std::size_t end;
};

/// The tokens of the frame, and those by which each hypothesis makes a prefix of the beam.
void mark(BeamState& state) {
  BeamPage& page = state.page;
  page.tokens = 0;
  for (std::size_t i = 0; i < state.choices.size; ++i) {
    const std::int32_t token = state.choices.tokens[i];
    page.tokens |= bit_of(token);
    page.log_probs[static_cast<std::size_t>(token)] =
        static_cast<float>(state.choices.log_probs[i]);
  }
  std::fill_n(page.taken.begin(), state.used, 0);
  for (const std::int32_t slot_id : state.order) {
    const auto slot = static_cast<std::size_t>(slot_id);
    page.taken[state.parent_row[slot]] |= bit_of(state.last[slot]);
  }
}

/// Fill `page` with those of the hypotheses that can reach the bound, and with what their tokens
/// must add; returns how many.
std::size_t gather(BeamState& state, const float* arrivals, double bound, RankRange ranks) {
  BeamPage& page = state.page;
  const double best = state.choices.log_probs[0];
  // What float32 may round away: no sum that matters is greater than these together.
  const double slack = 1e-6 * (2048.0 + std::abs(bound - state.best_reach));
  std::size_t count = 0;
  for (std::size_t rank = ranks.begin; rank < ranks.end; ++rank) {
    const auto slot = static_cast<std::size_t>(state.order[rank]);
    page.ranks[count] = static_cast<std::int32_t>(rank);
    count += state.reach[slot] + best >= bound ? 1 : 0;
  }
  for (std::size_t i = 0; i < count; ++i) {
    const auto rank = static_cast<std::size_t>(page.ranks[i]);
    const auto slot = static_cast<std::size_t>(state.order[rank]);
    const TokenGains& gains = state.token_gains[slot];
    page.arrivals[i] = arrivals + gains.steps.row;
    const double least = bound - slack - (state.now.sums[slot] + gains.settled);
    page.least[i] = static_cast<float>(std::max(least, kLeast));
  }
  return count;
}

class PageExtension {
 public:
  PageExtension(BeamState& state, const BeamScorer& scorer, double bound)
      : state_(state),
        scorer_(scorer),
        bound_(std::max(bound, kLowest)),
        arrivals_(scorer.arrivals()),
        separator_(scorer.ends_words()) {
    asks_separator_ = separator_ >= 0 && (state.page.tokens & bit_of(separator_)) != 0;
    if (asks_separator_) state.page.tokens &= ~bit_of(separator_);
  }

  void extend_all() {
    const std::size_t ranks = state_.order.size();
    const auto beam_size = static_cast<std::size_t>(scorer_.options().beam_size);
    const std::size_t enough = beam_size + beam_size / 8;
    bool is_raised = bound_ == kLowest;
    std::size_t end = 0;
    for (std::size_t begin = 0; begin < ranks; begin = end) {
      end = is_raised ? ranks : std::min(begin + kRanks, ranks);
      extend_some({begin, end});
      if (is_raised || state_.selection.size() < enough) continue;
      is_raised = true;
      bound_ = state_.selection.raise(bound_, highest(), beam_size);
    }
  }

 private:
  /// About the highest score of all.
  double highest() const {
    const auto slot = static_cast<std::size_t>(state_.order[0]);
    const double best = state_.now.sums[slot] + state_.gain[slot] + state_.choices.log_probs[0];
    return std::max(best, state_.highest_stay);
  }

  void extend_some(RankRange ranks) {
    BeamPage& page = state_.page;
    const std::size_t count = gather(state_, arrivals_, bound_, ranks);
    MMS_TABLE(kBeam).find_extensions(
        {page.log_probs.data(), page.arrivals.data(), page.least.data(), state_.vocab},
        page.found.data(),
        static_cast<std::int64_t>(count));
    for (std::size_t i = 0; i < count; ++i) {
      extend(static_cast<std::size_t>(page.ranks[i]), page.found[i]);
    }
  }

  void extend(std::size_t rank, std::uint64_t found) {
    const BeamPage& page = state_.page;
    const auto slot = static_cast<std::size_t>(state_.order[rank]);
    const TokenGains& gains = state_.token_gains[slot];
    const double sums[] = {state_.now.sums[slot], state_.now.sums[state_.now.size + slot]};
    const std::int32_t last = state_.last[slot];
    if (asks_separator_ && (page.taken[slot] & bit_of(separator_)) == 0) separate(rank, slot);
    Candidate* out = state_.selection.room();
    std::uint64_t left = found | bits_apart(gains.steps, scorer_.options().blank);
    for (left &= page.tokens & ~page.taken[slot]; left != 0; left &= left - 1) {
      const std::int32_t token = std::countr_zero(left);
      const auto at = static_cast<std::size_t>(token);
      const double logp = sums[token == last ? 1 : 0] + static_cast<double>(page.log_probs[at]);
      const auto step = static_cast<double>(gains.steps.bonus(arrivals_, token));
      const double score = logp + (gains.base + (gains.bonus + step));
      *out = {score, static_cast<std::int32_t>(rank), token};
      out += score >= bound_ ? 1 : 0;
    }
    state_.selection.fill(out);
  }

  void separate(std::size_t rank, std::size_t slot) {
    const bool repeats = state_.last[slot] == separator_;
    const double from = state_.now.sums[repeats ? state_.now.size + slot : slot];
    const double logp =
        from + static_cast<double>(state_.page.log_probs[static_cast<std::size_t>(separator_)]);
    const auto bonus =
        static_cast<double>(state_.token_gains[slot].steps.bonus(arrivals_, separator_));
    // A little more than can be, lest rounding cut what must not be.
    if (logp + state_.gain[slot] + scorer_.highest_unit() + bonus < bound_) return;
    beam_ask(state_, scorer_, bound_, rank, separator_, logp);
  }

  BeamState& state_;
  const BeamScorer& scorer_;
  double bound_;
  const float* arrivals_;
  std::int32_t separator_;       ///< Where it may end a word.
  bool asks_separator_ = false;  ///< It is one of the choices.
};

}  // namespace

void beam_extend_page(BeamState& state, const BeamScorer& scorer, double bound) {
  mark(state);
  PageExtension(state, scorer, bound).extend_all();
}

}  // namespace mms
