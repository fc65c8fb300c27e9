#include <mutex>
#include <stdexcept>

#include "convert.h"
#include "mms/greedy.h"

namespace {

using Arrays = nb::typed<nb::tuple,
                         Vector<std::int32_t>,
                         Vector<std::int64_t>,
                         Vector<std::int64_t>,
                         Vector<float>,
                         Vector<float>>;

Arrays to_arrays(mms::GreedyTokens tokens) {
  return Arrays(nb::make_tuple(to_numpy(std::move(tokens.ids)),
                               to_numpy(std::move(tokens.starts)),
                               to_numpy(std::move(tokens.ends)),
                               to_numpy(std::move(tokens.scores)),
                               to_numpy(std::move(tokens.peaks))));
}

nb::typed<nb::list, Arrays> greedy_batch(Input<float, 3> logits,
                                         Input<std::int64_t, 1> lengths,
                                         std::int32_t blank,
                                         int threads) {
  if (lengths.shape(0) != logits.shape(0)) {
    throw std::invalid_argument("logits and lengths have different numbers of rows");
  }
  const mms::LogitsBatch batch{logits.data(),
                               static_cast<std::int64_t>(logits.shape(0)),
                               static_cast<std::int64_t>(logits.shape(1)),
                               static_cast<std::int64_t>(logits.shape(2)),
                               lengths.data()};
  std::vector<mms::GreedyTokens> results;
  {
    nb::gil_scoped_release release;
    results = mms::greedy_batch(batch, blank, threads);
  }
  nb::list rows;
  for (auto& tokens : results) rows.append(to_arrays(std::move(tokens)));
  return nb::typed<nb::list, Arrays>(std::move(rows));
}

/// A state with its tokens. The lock keeps two threads apart while the GIL is released.
class GreedyStream {
 public:
  explicit GreedyStream(std::int32_t blank) : state_(mms::greedy_begin(blank)) {}

  GreedyStream(const GreedyStream& other) {
    const std::lock_guard lock(other.mutex_);
    state_ = other.state_;
    tokens_ = other.tokens_;
  }

  void step(Input<float, 2> logits) {
    const mms::Logits view{logits.data(),
                           static_cast<std::int64_t>(logits.shape(0)),
                           static_cast<std::int64_t>(logits.shape(1))};
    nb::gil_scoped_release release;
    const std::lock_guard lock(mutex_);
    mms::greedy_step(state_, view, tokens_);
  }

  mms::GreedyTokens tokens() const {
    const std::lock_guard lock(mutex_);
    mms::GreedyTokens tokens = tokens_;
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
  mutable std::mutex mutex_;
  mms::GreedyState state_;
  mms::GreedyTokens tokens_;
};

}  // namespace

void bind_greedy(nb::module_& m) {
  m.def("greedy_batch",
        &greedy_batch,
        "logits"_a.noconvert(),
        "lengths"_a.noconvert(),
        "blank"_a,
        "threads"_a,
        "Decode each row: ids, starts, ends, scores and peaks of its tokens.");
  nb::class_<GreedyStream>(m, "GreedyStream", "Greedy decoding of frames that arrive in pieces.")
      .def(nb::init<std::int32_t>(), "blank"_a)
      .def("step", &GreedyStream::step, "logits"_a.noconvert(), "Read frames.")
      .def(
          "tokens",
          [](const GreedyStream& stream) { return to_arrays(stream.tokens()); },
          "Return all tokens so far, the open one among them.")
      .def("reset", &GreedyStream::reset, "Start over.")
      .def(
          "copy", [](const GreedyStream& stream) { return GreedyStream(stream); }, "Fork.")
      .def_prop_ro("frames", &GreedyStream::frames, "Frames read.");
}
