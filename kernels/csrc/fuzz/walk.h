// Questions to a model that was accepted: none may lead out of it.
#pragma once

#include <cmath>
#include <cstdint>
#include <cstdlib>
#include <string_view>

#include "mms/ngram.h"

namespace fuzz {

inline void require(bool holds) {
  if (!holds) std::abort();
}

inline void walk(const mms::NgramModel& model, std::string_view text) {
  const mms::LmView& view = model.view();
  mms::LmState state = model.start();
  for (std::size_t at = 0; at < text.size() && at < 512; ++at) {
    const auto byte = static_cast<unsigned char>(text[at]);
    const mms::LmUnit unit =
        at % 2 == 0 ? byte % view.vocab : model.unit(text.substr(at, byte % 8));
    require(unit < view.vocab && model.unit(model.words().word(unit)) < view.vocab);
    const mms::LmStep step = model.score(byte % 7 == 0 ? byte % view.state_count : state, unit);
    require(step.state < view.state_count && std::isfinite(step.score));
    require(std::isfinite(model.finish(step.state)));
    state = step.state;
  }
}

}  // namespace fuzz
