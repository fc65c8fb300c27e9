// Interface of language models: states, units, log10 scores.
//
// A hypothesis h scores ln P_ctc(h) + lm_weight * log10 P_lm(h) + word_score * |h|, as in
// flashlight and the MMS recipe, so that their published weights can be used.
#pragma once

#include <cstdint>
#include <string_view>

namespace mms {

/// State of a model after a history. Equal histories have equal states.
using LmState = std::uint32_t;
/// Unit (word or token) of the model's vocabulary.
using LmUnit = std::uint32_t;

struct LmStep {
  float score;  ///< log10 P(unit | state).
  LmState state;
};

/// Implementations are thread-safe.
class LanguageModel {
 public:
  virtual ~LanguageModel() = default;
  /// State after <s>.
  virtual LmState start() const = 0;
  /// Unit of a text; that of <unk> if unknown.
  virtual LmUnit unit(std::string_view text) const = 0;
  virtual bool knows(std::string_view text) const = 0;
  virtual LmStep score(LmState state, LmUnit unit) const = 0;
  /// log10 P(</s> | state).
  virtual float finish(LmState state) const = 0;
};

}  // namespace mms
