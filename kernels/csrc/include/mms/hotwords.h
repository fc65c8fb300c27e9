// Phrases to listen for, as one Aho-Corasick automaton over tokens.
//
// Each occurrence of a phrase adds its weight (nats) to a hypothesis, once, overlapping and nested
// ones too. While a phrase is being said, a share of its weight is lent; it is taken back where
// the phrase is not completed, so that the sum of all bonuses of a finished hypothesis is
//   sum over phrases p of weight(p) * occurrences of p.
#pragma once

#include <cstdint>
#include <vector>

namespace mms {

using HotState = std::uint32_t;

struct HotStep {
  HotState state;
  float bonus;  ///< What the hypothesis' score changes by, in nats.
};

struct Phrase {
  std::vector<std::int32_t> tokens;
  float weight;
};

}  // namespace mms
