#include <nanobind/stl/string.h>

#include <mutex>
#include <string>

#include "convert.h"
#include "mms/greedy.h"

namespace {

nb::typed<nb::list, TokenArrays> greedy_batch(const ScoresInput<3>& scores,
                                              const Input<std::int64_t, 1>& lengths,
                                              std::int32_t blank,
                                              const std::string& kind,
                                              int threads) {
  const mms::ScoresBatch batch = view_of(scores, lengths, kind_named(kind));
  std::vector<mms::TimedTokens> results;
  {
    nb::gil_scoped_release release;
    results = mms::greedy_batch(batch, blank, threads);
  }
  nb::list rows;
  for (auto& tokens : results) rows.append(to_arrays(std::move(tokens)));
  return nb::typed<nb::list, TokenArrays>(std::move(rows));
}

/// State with its tokens and a lock, since steps release the GIL.
class GreedyStream {
 public:
  GreedyStream(std::int32_t blank, const std::string& kind)
      : kind_(kind_named(kind)), state_(mms::greedy_begin(blank)) {}

  GreedyStream(const GreedyStream& other) : kind_(other.kind_) {
    const std::lock_guard lock(other.mutex_);
    state_ = other.state_;
    tokens_ = other.tokens_;
  }

  void step(const ScoresInput<2>& scores) {
    const mms::Scores view = view_of(scores, kind_);
    nb::gil_scoped_release release;
    const std::lock_guard lock(mutex_);
    mms::greedy_step(state_, view, tokens_);
  }

  mms::TimedTokens tokens() const {
    const std::lock_guard lock(mutex_);
    mms::TimedTokens tokens = tokens_;
    mms::greedy_end(state_, tokens);
    return tokens;
  }

  void reset() {
    const std::lock_guard lock(mutex_);
    state_ = mms::greedy_begin(state_.blank);
    tokens_ = {};
  }

  std::int64_t frames() const {
    const std::lock_guard lock(mutex_);
    return state_.frame;
  }

 private:
  mms::ScoreKind kind_;
  mutable std::mutex mutex_;
  mms::GreedyState state_;
  mms::TimedTokens tokens_;
};

}  // namespace

void bind_greedy(nb::module_& m) {
  m.def("greedy_batch",
        &greedy_batch,
        "scores"_a.noconvert(),
        "lengths"_a.noconvert(),
        "blank"_a,
        "kind"_a,
        "threads"_a,
        "Return ids, starts, ends, scores and peaks of the tokens of each row.");
  nb::class_<GreedyStream>(m, "GreedyStream", "Greedy decoding of one utterance in chunks.")
      .def(nb::init<std::int32_t, const std::string&>(), "blank"_a, "kind"_a)
      .def("step", &GreedyStream::step, "scores"_a.noconvert(), "Read frames.")
      .def(
          "tokens",
          [](const GreedyStream& stream) { return to_arrays(stream.tokens()); },
          "Return all tokens so far, including the open one.")
      .def("reset", &GreedyStream::reset, "Reset the stream.")
      .def(
          "copy", [](const GreedyStream& stream) { return GreedyStream(stream); }, "Return a copy.")
      .def_prop_ro("frames", &GreedyStream::frames, "Frames read.");
}
