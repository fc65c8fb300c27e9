#include <nanobind/stl/string.h>
#include <nanobind/stl/vector.h>

#include <mutex>
#include <stdexcept>

#include "convert.h"
#include "mms/beam.h"

namespace {

using Hypothesis = nb::typed<nb::tuple, TokenArrays, double, double, double, double>;
using Hypotheses = nb::typed<nb::list, Hypothesis>;

Hypotheses to_list(std::vector<mms::BeamHypothesis> hypotheses) {
  nb::list list;
  for (auto& one : hypotheses) {
    list.append(nb::make_tuple(
        to_arrays(std::move(one.tokens)), one.log_prob, one.lm_score, one.bonus, one.score));
  }
  return Hypotheses(std::move(list));
}

mms::BeamUnit unit_named(const std::string& name) {
  if (name == "word") return mms::BeamUnit::kWord;
  if (name == "token") return mms::BeamUnit::kToken;
  throw std::invalid_argument("unit is '" + name + "', it must be 'word' or 'token'");
}

/// Decoder that keeps its models alive.
class Decoder {
 public:
  Decoder(const mms::BeamOptions& options,
          std::vector<std::string> tokens,
          nb::object lm,
          nb::object hotwords)
      : models_{std::move(lm), std::move(hotwords)},
        decoder_(options,
                 {nb::cast<const mms::LanguageModel*>(models_[0]),
                  nb::cast<const mms::Hotwords*>(models_[1]),
                  std::move(tokens)}) {}

  const mms::BeamDecoder& core() const { return decoder_; }

  nb::typed<nb::list, Hypotheses> decode(ScoresInput<3> scores,
                                         Input<std::int64_t, 1> lengths,
                                         const std::string& kind,
                                         std::int64_t nbest,
                                         std::int64_t threads) const {
    const mms::ScoresBatch batch = view_of(scores, lengths, kind_named(kind));
    std::vector<std::vector<mms::BeamHypothesis>> results;
    {
      nb::gil_scoped_release release;
      results = decoder_.decode(batch, nbest, threads);
    }
    nb::list rows;
    for (auto& row : results) rows.append(to_list(std::move(row)));
    return nb::typed<nb::list, Hypotheses>(std::move(rows));
  }

 private:
  nb::object models_[2];
  mms::BeamDecoder decoder_;
};

void make_decoder(Decoder* self,
                  std::int64_t beam_size,
                  std::int32_t blank,
                  double token_min_logp,
                  double beam_threshold,
                  double blank_skip,
                  std::int64_t lookback,
                  double lm_weight,
                  double word_score,
                  const std::string& unit,
                  std::int32_t separator,
                  std::vector<std::string> tokens,
                  nb::object lm,
                  nb::object hotwords) {
  const mms::BeamOptions options{beam_size,
                                 blank,
                                 token_min_logp,
                                 beam_threshold,
                                 blank_skip,
                                 lookback,
                                 lm_weight,
                                 word_score,
                                 unit_named(unit),
                                 separator};
  new (self) Decoder(options, std::move(tokens), std::move(lm), std::move(hotwords));
}

/// Stream with a lock. The lock is never awaited under the GIL, which a language model in Python
/// may need during a step.
class Stream {
 public:
  Stream(nb::object decoder, nb::object hotwords)
      : decoder_(std::move(decoder)),
        hotwords_(std::move(hotwords)),
        stream_(core_of(decoder_, hotwords_)) {}
  Stream(const Stream& other)
      : decoder_(other.decoder_), hotwords_(other.hotwords_), stream_(other.forked()) {}

  void step(ScoresInput<2> scores, const std::string& kind) {
    const mms::Scores view = view_of(scores, kind_named(kind));
    locked([&](mms::BeamStream& stream) { stream.step(view); });
  }

  nb::typed<nb::tuple, Hypotheses, std::int64_t> partial(std::int64_t nbest) {
    mms::BeamPartial partial;
    locked([&](mms::BeamStream& stream) { partial = stream.partial(nbest); });
    return nb::typed<nb::tuple, Hypotheses, std::int64_t>(
        nb::make_tuple(to_list(std::move(partial.hypotheses)), partial.stable));
  }

  Hypotheses results(std::int64_t nbest) {
    std::vector<mms::BeamHypothesis> hypotheses;
    locked([&](mms::BeamStream& stream) { hypotheses = stream.results(nbest); });
    return to_list(std::move(hypotheses));
  }

  TokenArrays take_stable() {
    mms::TimedTokens tokens;
    locked([&](mms::BeamStream& stream) { tokens = stream.take_stable(); });
    return to_arrays(std::move(tokens));
  }

  void reset() {
    locked([](mms::BeamStream& stream) { stream.reset(); });
  }

  std::int64_t frames() {
    std::int64_t frames = 0;
    locked([&](mms::BeamStream& stream) { frames = stream.frames(); });
    return frames;
  }

  std::int64_t live() {
    std::int64_t live = 0;
    locked([&](mms::BeamStream& stream) { live = stream.live(); });
    return live;
  }

 private:
  /// The decoder, with the stream's own hotwords if any.
  static mms::BeamDecoder core_of(const nb::object& decoder, const nb::object& hotwords) {
    const mms::BeamDecoder& core = nb::cast<const Decoder&>(decoder).core();
    if (hotwords.is_none()) return core;
    return core.with_hotwords(nb::cast<const mms::Hotwords*>(hotwords));
  }

  template <typename Call>
  void locked(const Call& call) {
    const nb::gil_scoped_release release;
    const std::lock_guard lock(mutex_);
    call(stream_);
  }

  mms::BeamStream forked() const {
    const nb::gil_scoped_release release;
    const std::lock_guard lock(mutex_);
    return stream_;
  }

  mutable std::mutex mutex_;
  nb::object decoder_;   ///< Keeps the models alive.
  nb::object hotwords_;  ///< Keeps the stream's own hotwords alive.
  mms::BeamStream stream_;
};

}  // namespace

void bind_beam(nb::module_& m) {
  nb::class_<Decoder>(m, "BeamDecoder", "Options and models of a prefix beam search.")
      .def("__init__",
           &make_decoder,
           "beam_size"_a,
           "blank"_a,
           "token_min_logp"_a,
           "beam_threshold"_a,
           "blank_skip"_a,
           "lookback"_a,
           "lm_weight"_a,
           "word_score"_a,
           "unit"_a,
           "separator"_a,
           "tokens"_a,
           "lm"_a.none(),
           "hotwords"_a.none())
      .def("decode",
           &Decoder::decode,
           "scores"_a.noconvert(),
           "lengths"_a.noconvert(),
           "kind"_a,
           "nbest"_a,
           "threads"_a,
           "Return the best hypotheses of each row.");
  nb::class_<Stream>(m, "BeamStream", "Prefix beam search over one utterance in chunks.")
      .def(nb::init<nb::object, nb::object>(), "decoder"_a, "hotwords"_a.none())
      .def("step", &Stream::step, "scores"_a.noconvert(), "kind"_a, "Read frames.")
      .def("partial",
           &Stream::partial,
           "nbest"_a,
           "Return the best hypotheses so far and the number of stable tokens.")
      .def("results", &Stream::results, "nbest"_a, "Return the best hypotheses at the end.")
      .def("take_stable", &Stream::take_stable, "Remove and return the stable tokens.")
      .def("reset", &Stream::reset, "Reset the stream.")
      .def(
          "copy", [](const Stream& stream) { return Stream(stream); }, "Return a copy.")
      .def_prop_ro("frames", &Stream::frames, "Frames read.")
      .def_prop_ro("live", &Stream::live, "Prefixes and spans in memory.");
}
