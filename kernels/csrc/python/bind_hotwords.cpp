#include <nanobind/stl/pair.h>
#include <nanobind/stl/vector.h>

#include <stdexcept>
#include <string>

#include "convert.h"
#include "mms/hotwords.h"

namespace {

void make(mms::Hotwords* self,
          const std::vector<std::vector<std::int32_t>>& phrases,
          const std::vector<double>& weights,
          std::int32_t vocab,
          std::int32_t boundary) {
  if (phrases.size() != weights.size()) {
    throw std::invalid_argument("there are " + std::to_string(phrases.size()) + " phrases and " +
                                std::to_string(weights.size()) + " weights");
  }
  std::vector<mms::Phrase> all;
  all.reserve(phrases.size());
  for (std::size_t i = 0; i < phrases.size(); ++i) {
    all.push_back({phrases[i], static_cast<float>(weights[i])});
  }
  nb::gil_scoped_release release;
  new (self) mms::Hotwords(all, vocab, boundary);
}

void check_state(const mms::Hotwords& hotwords, mms::HotState state) {
  if (state >= hotwords.view().node_count) {
    throw std::invalid_argument("state is " + std::to_string(state) + ", there are " +
                                std::to_string(hotwords.view().node_count));
  }
}

void check_token(const mms::Hotwords& hotwords, std::int32_t token) {
  if (token < 0 || token >= hotwords.vocab()) {
    throw std::invalid_argument("token is " + std::to_string(token) + ", the vocabulary has " +
                                std::to_string(hotwords.vocab()));
  }
}

std::pair<mms::HotState, float> step(const mms::Hotwords& hotwords,
                                     mms::HotState state,
                                     std::int32_t token) {
  check_state(hotwords, state);
  check_token(hotwords, token);
  const mms::HotStep result = hotwords.step(state, token);
  return {result.state, result.bonus};
}

double score(const mms::Hotwords& hotwords, Input<std::int32_t, 1> tokens) {
  const std::int32_t* begin = tokens.data();
  const std::int32_t* end = begin + tokens.shape(0);
  nb::gil_scoped_release release;
  mms::HotState state = hotwords.start();
  double total = 0.0;
  for (const std::int32_t* token = begin; token != end; ++token) {
    check_token(hotwords, *token);
    const mms::HotStep result = hotwords.step(state, *token);
    state = result.state;
    total += static_cast<double>(result.bonus);
  }
  return total + static_cast<double>(hotwords.finish(state));
}

}  // namespace

void bind_hotwords(nb::module_& m) {
  nb::class_<mms::Hotwords>(m, "Hotwords", "Hotword automaton over tokens.")
      .def("__init__", &make, "phrases"_a, "weights"_a, "vocab"_a, "boundary"_a)
      .def_prop_ro("start", &mms::Hotwords::start, "State before the first token.")
      .def("step", &step, "state"_a, "token"_a, "Return the next state and the bonus.")
      .def(
          "finish",
          [](const mms::Hotwords& hotwords, mms::HotState state) {
            check_state(hotwords, state);
            return hotwords.finish(state);
          },
          "state"_a,
          "Return the bonus of the end of the stream.")
      .def("score", &score, "tokens"_a.noconvert(), "Return the sum of all bonuses.")
      .def_prop_ro("max_bonus", &mms::Hotwords::max_bonus, "Greatest bonus of a step.")
      .def_prop_ro("vocab", &mms::Hotwords::vocab, "Vocabulary size.")
      .def_prop_ro("nbytes", &mms::Hotwords::bytes, "Size in memory in bytes.");
}
