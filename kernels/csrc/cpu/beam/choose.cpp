// Which tokens can extend a hypothesis at all.
//
// Where every extension adds the same to a score, the 2 * beam + 2 most likely tokens are enough:
// an extension by any other is behind those of the same prefix by all of these, of which at most
// one repeats the last label and at most `beam` are prefixes of the beam already.
#include <algorithm>
#include <cmath>
#include <limits>

#include "../isa/kernels.h"
#include "state.h"

namespace mms {
namespace {

/// The greatest float that is not above `value`, and a little less.
float just_below(double value) {
  const double slack = 1e-6 + 1e-12 * std::abs(value);
  return std::nextafter(static_cast<float>(value - slack), -std::numeric_limits<float>::infinity());
}

void append(BeamChoices& choices, std::int32_t token, const float* log_probs) {
  const auto id = static_cast<std::size_t>(token);
  choices.tokens[choices.size] = token;
  choices.log_probs[choices.size] = static_cast<double>(log_probs[id]);
  choices.position[id] = static_cast<std::uint32_t>(choices.size);
  ++choices.size;
}

/// The score from which the best extension of any hypothesis starts.
double reach(BeamState& state, const BeamScorer& scorer) {
  double best = -std::numeric_limits<double>::infinity();
  if (scorer.is_plain()) return state.now.sums[static_cast<std::size_t>(state.order[0])];
  for (const std::int32_t slot_id : state.order) {
    const auto slot = static_cast<std::size_t>(slot_id);
    state.reach[slot] = state.now.sums[slot] + state.highest_gain[slot];
    best = std::max(best, state.reach[slot]);
  }
  return best;
}

/// How many of `count` keys have to be looked at: the least ones, in order.
std::size_t sort_least(std::vector<std::uint64_t>& keys, std::size_t count, std::size_t wanted) {
  if (count <= static_cast<std::size_t>(kMaxSortedKeys)) {
    MMS_TABLE(kBeam).sort_keys(keys.data(), static_cast<std::int64_t>(count));
    return std::min(count, wanted);
  }
  const auto begin = keys.begin();
  const auto end = begin + static_cast<std::ptrdiff_t>(count);
  const auto last = begin + static_cast<std::ptrdiff_t>(std::min(count, wanted));
  if (last < end) std::nth_element(begin, last, end);
  std::sort(begin, last);
  return static_cast<std::size_t>(last - begin);
}

}  // namespace

void beam_choose(BeamState& state, const BeamScorer& scorer, const float* log_probs, double bound) {
  const BeamOptions& options = scorer.options();
  BeamChoices& choices = state.choices;
  state.best_reach = reach(state, scorer);
  const double least = std::max(options.token_min_logp, bound - state.best_reach);
  const auto found = static_cast<std::size_t>(
      MMS_TABLE(kBeam).find_tokens(log_probs, state.vocab, just_below(least), choices.keys.data()));
  // One more for the blank, which is thrown out only now.
  const auto enough = static_cast<std::size_t>(2 * options.beam_size + 3);
  const std::size_t count = sort_least(choices.keys, found, scorer.is_uniform() ? enough : found);
  choices.size = 0;
  for (std::size_t i = 0; i < count; ++i) {
    const auto token = static_cast<std::int32_t>(choices.keys[i] & 0xFFFFFFFFU);
    if (token == options.blank) continue;
    // The threshold above was a little too low, lest rounding cut what must not be.
    if (static_cast<double>(log_probs[token]) < options.token_min_logp) break;
    append(choices, token, log_probs);
  }
  // The separator alone may add to a score, so that it may be wanted beyond the others.
  if (count == found || scorer.is_plain() || options.separator < 0) return;
  const auto separator = static_cast<double>(log_probs[options.separator]);
  const bool possible = separator >= options.token_min_logp && std::isfinite(separator);
  if (possible && !choices.has(options.separator)) append(choices, options.separator, log_probs);
}

}  // namespace mms
