// Language models as the decoders see them: states, units, log10 scores.
//
// A hypothesis h costs  ln P_ctc(h) + lm_weight * log10 P_lm(h) + word_score * |h|, as in
// flashlight and the recipe of MMS, so that the weights published with its models can be used.
#pragma once

#include <cstdint>
#include <string_view>

namespace mms {

/// Where a model stands in its history. Equal histories have equal states.
using LmState = std::uint32_t;
/// A unit (word or token) of the model's vocabulary.
using LmUnit = std::uint32_t;

struct LmStep {
  float score;  ///< log10 P(unit | state).
  LmState state;
};

/// May be asked from several threads at once.
class LanguageModel {
 public:
  virtual ~LanguageModel() = default;
  /// The state after <s>.
  virtual LmState start() const = 0;
  /// The unit written so; <unk>'s where there is none.
  virtual LmUnit unit(std::string_view text) const = 0;
  virtual bool knows(std::string_view text) const = 0;
  virtual LmStep score(LmState state, LmUnit unit) const = 0;
  /// log10 P(</s> | state).
  virtual float finish(LmState state) const = 0;
};

}  // namespace mms
