#include <nanobind/stl/string.h>
#include <nanobind/stl/vector.h>

#include <mutex>
#include <stdexcept>

#include "convert.h"
#include "mms/lexicon.h"

namespace {

using Hypothesis = nb::typed<nb::tuple, TokenArrays, double, double, double>;
using Hypotheses = nb::typed<nb::list, Hypothesis>;

Hypothesis to_tuple(mms::LexiconHypothesis one) {
  return Hypothesis(
      nb::make_tuple(to_arrays(std::move(one.words)), one.log_prob, one.lm_score, one.score));
}

/// Lexicon of spellings that lie one behind the other.
void make_lexicon(mms::Lexicon* self,
                  Input<std::int32_t, 1> tokens,
                  Input<std::int64_t, 1> lengths,
                  Input<std::int32_t, 1> words) {
  if (lengths.shape(0) != words.shape(0)) {
    throw std::invalid_argument("lengths and words of the spellings differ in number");
  }
  std::vector<mms::Lexicon::Spelling> spellings;
  spellings.reserve(words.shape(0));
  auto left = static_cast<std::int64_t>(tokens.shape(0));
  const std::int32_t* at = tokens.data();
  for (std::size_t i = 0; i < words.shape(0); ++i) {
    const std::int64_t length = lengths.data()[i];
    if (length < 0 || length > left) {
      throw std::invalid_argument("the lengths of the spellings exceed their tokens");
    }
    spellings.push_back({{at, at + length}, words.data()[i]});
    at += length;
    left -= length;
  }
  new (self) mms::Lexicon(std::move(spellings));
}

/// Decoder that keeps its models alive. Class names are unique: nanobind tells types apart by name.
class LexiconSearch {
 public:
  LexiconSearch(const mms::LexiconOptions& options,
                nb::object lexicon,
                nb::object lm,
                const std::vector<std::string>& words)
      : models_{std::move(lexicon), std::move(lm)},
        decoder_(options,
                 nb::cast<const mms::Lexicon*>(models_[0]),
                 nb::cast<const mms::LanguageModel*>(models_[1]),
                 units_of(words)) {}

  const mms::LexiconDecoder& core() const { return decoder_; }

 private:
  std::vector<mms::LmUnit> units_of(const std::vector<std::string>& words) const {
    std::vector<mms::LmUnit> units;
    const auto* lm = nb::cast<const mms::LanguageModel*>(models_[1]);
    if (lm == nullptr) return units;
    units.reserve(words.size());
    for (const std::string& word : words) units.push_back(lm->unit(word));
    return units;
  }

  nb::object models_[2];
  mms::LexiconDecoder decoder_;
};

void make_decoder(LexiconSearch* self,
                  std::int64_t beam_size,
                  std::int32_t blank,
                  std::int32_t separator,
                  double beam_threshold,
                  double lm_weight,
                  double word_score,
                  bool sum_paths,
                  bool open_end,
                  nb::object lexicon,
                  nb::object lm,
                  const std::vector<std::string>& words) {
  const mms::LexiconOptions options{
      beam_size, blank, separator, beam_threshold, lm_weight, word_score, sum_paths, open_end};
  new (self) LexiconSearch(options, std::move(lexicon), std::move(lm), words);
}

/// Stream with a lock, which is never awaited under the GIL.
class LexiconSearchStream {
 public:
  explicit LexiconSearchStream(nb::object decoder)
      : decoder_(std::move(decoder)), stream_(nb::cast<const LexiconSearch&>(decoder_).core()) {}
  LexiconSearchStream(const LexiconSearchStream& other)
      : decoder_(other.decoder_), stream_(other.forked()) {}

  void step(ScoresInput<2> scores, const std::string& kind) {
    const mms::Scores view = view_of(scores, kind_named(kind));
    locked([&](mms::LexiconStream& stream) { stream.step(view); });
  }

  nb::typed<nb::tuple, Hypothesis, std::int64_t> partial() {
    mms::LexiconPartial partial;
    locked([&](mms::LexiconStream& stream) { partial = stream.partial(); });
    return nb::typed<nb::tuple, Hypothesis, std::int64_t>(
        nb::make_tuple(to_tuple(std::move(partial.best)), partial.stable));
  }

  Hypotheses results(std::int64_t nbest) {
    std::vector<mms::LexiconHypothesis> found;
    locked([&](mms::LexiconStream& stream) { found = stream.results(nbest); });
    nb::list list;
    for (auto& one : found) list.append(to_tuple(std::move(one)));
    return Hypotheses(std::move(list));
  }

  void reset() {
    locked([](mms::LexiconStream& stream) { stream.reset(); });
  }

  std::int64_t frames() {
    std::int64_t frames = 0;
    locked([&](mms::LexiconStream& stream) { frames = stream.frames(); });
    return frames;
  }

  std::int64_t live() {
    std::int64_t live = 0;
    locked([&](mms::LexiconStream& stream) { live = stream.live(); });
    return live;
  }

 private:
  template <typename Call>
  void locked(const Call& call) {
    const nb::gil_scoped_release release;
    const std::lock_guard lock(mutex_);
    call(stream_);
  }

  mms::LexiconStream forked() const {
    const nb::gil_scoped_release release;
    const std::lock_guard lock(mutex_);
    return stream_;
  }

  mutable std::mutex mutex_;
  nb::object decoder_;  ///< Keeps the models alive.
  mms::LexiconStream stream_;
};

}  // namespace

void bind_lexicon(nb::module_& m) {
  nb::class_<mms::Lexicon>(m, "Lexicon", "Trie of the spellings of words.")
      .def("__init__",
           &make_lexicon,
           "tokens"_a.noconvert(),
           "lengths"_a.noconvert(),
           "words"_a.noconvert());
  nb::class_<LexiconSearch>(m, "LexiconDecoder", "Options and models of a search over a lexicon.")
      .def("__init__",
           &make_decoder,
           "beam_size"_a,
           "blank"_a,
           "separator"_a,
           "beam_threshold"_a,
           "lm_weight"_a,
           "word_score"_a,
           "sum_paths"_a,
           "open_end"_a,
           "lexicon"_a,
           "lm"_a.none(),
           "words"_a);
  nb::class_<LexiconSearchStream>(
      m, "LexiconStream", "Search over a lexicon for one utterance in chunks.")
      .def(nb::init<nb::object>(), "decoder"_a)
      .def("step", &LexiconSearchStream::step, "scores"_a.noconvert(), "kind"_a, "Read frames.")
      .def("partial",
           &LexiconSearchStream::partial,
           "Return the best hypothesis so far and the number of stable words.")
      .def("results",
           &LexiconSearchStream::results,
           "nbest"_a,
           "Return the best hypotheses at the end.")
      .def("reset", &LexiconSearchStream::reset, "Reset the stream.")
      .def(
          "copy",
          [](const LexiconSearchStream& stream) { return LexiconSearchStream(stream); },
          "Return a copy.")
      .def_prop_ro("frames", &LexiconSearchStream::frames, "Frames read.")
      .def_prop_ro("live", &LexiconSearchStream::live, "Word sequences and times in memory.");
}
