// Choice of the tokens that may extend a hypothesis.
//
// If all tokens have equal gains, the 2 * beam + 2 most likely ones suffice: for any prefix, at
// most one of them repeats its last label and at most `beam` lead to prefixes already in the beam.
#include <algorithm>
#include <cmath>
#include <limits>

#include "../frame.h"
#include "../isa/kernels.h"
#include "state.h"

namespace mms {
namespace {

/// A float slightly below `value`.
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

/// Upper bound of the score of any extension by a token of probability 1.
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

/// Sort the `wanted` least of `count` keys to the front; returns their number.
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
  double cut = options.token_min_logp;
  if (static_cast<double>(log_probs[options.blank]) < cut) {
    // The most likely token of a frame is never cut.
    cut = std::min(cut, static_cast<double>(find_peak(log_probs, state.vocab).value));
  }
  const double least = std::max(cut, bound - reach(state, scorer));
  const auto found = static_cast<std::size_t>(
      MMS_TABLE(kBeam).find_tokens(log_probs, state.vocab, just_below(least), choices.keys.data()));
  // One more for the blank, which is removed below.
  const auto enough = static_cast<std::size_t>(2 * options.beam_size + 3);
  const std::size_t count = sort_least(choices.keys, found, scorer.is_uniform() ? enough : found);
  choices.size = 0;
  for (std::size_t i = 0; i < count; ++i) {
    const auto token = static_cast<std::int32_t>(choices.keys[i] & 0xFFFFFFFFU);
    if (token == options.blank) continue;
    if (static_cast<double>(log_probs[token]) < cut) break;  // within the slack of just_below
    append(choices, token, log_probs);
  }
  // Only the separator adds to a score, so it may win although less likely.
  if (count == found || scorer.is_plain() || options.separator < 0) return;
  const auto separator = static_cast<double>(log_probs[options.separator]);
  const bool possible = separator >= cut && std::isfinite(separator);
  if (possible && !choices.has(options.separator)) append(choices, options.separator, log_probs);
}

}  // namespace mms
