// How new prefixes are found: what the ways of doing it share.
#pragma once

#include <cstddef>
#include <cstdint>
#include <limits>

#include "beam_state.h"

namespace mms {

/// What rounding may add to a sum of a few scores.
constexpr double kSlack = 1e-6;
constexpr double kNever = -std::numeric_limits<double>::infinity();

/// Bits for all choices, 64 a word.
inline std::size_t words_of(const BeamState& state) { return (state.choices.size + 63) / 64; }

/// One candidate, asking everything that scores. `logp` is that of the labelling.
void beam_ask(BeamState& state,
              const BeamScorer& scorer,
              double bound,
              std::size_t rank,
              std::int32_t token,
              double logp);

/// New prefixes where a token adds a bonus of hotwords or nothing, and only the separator may end
/// a word, for a vocabulary of at most `kPage` tokens.
void beam_extend_page(BeamState& state, const BeamScorer& scorer, double bound);

}  // namespace mms
