#include <nanobind/stl/pair.h>
#include <nanobind/stl/shared_ptr.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/string_view.h>
#include <nanobind/stl/unique_ptr.h>
#include <nanobind/stl/vector.h>

#include <stdexcept>
#include <string>

#include "convert.h"
#include "kenlm_model.h"
#include "mms/arpa.h"
#include "mms/lm.h"
#include "mms/ngram.h"

namespace {

using Piece = nb::ndarray<nb::numpy, const std::uint8_t, nb::ndim<1>>;

/// log10 P of a sentence, without the GIL.
double total(const mms::LanguageModel& model,
             const std::vector<std::string>& words,
             bool bos,
             bool eos) {
  const nb::gil_scoped_release release;
  mms::LmState state = bos ? model.start() : 0;
  double sum = 0.0;
  for (const std::string& word : words) {
    const mms::LmStep step = model.score(state, model.unit(word));
    sum += static_cast<double>(step.score);
    state = step.state;
  }
  return eos ? sum + static_cast<double>(model.finish(state)) : sum;
}

std::pair<float, mms::LmState> score(const mms::LanguageModel& model,
                                     mms::LmState state,
                                     mms::LmUnit unit) {
  const mms::LmStep step = model.score(state, unit);
  return {step.score, step.state};
}

void check(const mms::NgramModel& model, mms::LmState state, mms::LmUnit unit) {
  if (state >= model.view().state_count) throw std::invalid_argument("state is not of this model");
  if (unit >= model.view().vocab) throw std::invalid_argument("unit is not of this model");
}

nb::typed<nb::list, Piece> pieces(nb::handle self) {
  nb::list list;
  for (const auto piece : nb::cast<const mms::NgramImage&>(self).pieces()) {
    list.append(Piece(piece.data(), {piece.size()}, self));
  }
  return nb::typed<nb::list, Piece>(std::move(list));
}

/// The words, each followed by LF.
nb::bytes words_of(const mms::NgramModel& model) {
  std::string text;
  {
    const nb::gil_scoped_release release;
    for (mms::LmUnit unit = 0; unit < model.view().vocab; ++unit) {
      text.append(model.words().word(unit)).push_back('\n');
    }
  }
  return nb::bytes(text.data(), text.size());
}

void bind_models(nb::module_& m) {
  nb::class_<mms::LanguageModel>(m, "LanguageModel", "Language model.")
      .def_prop_ro("start", &mms::LanguageModel::start, "State after <s>; 0 is the empty context.")
      .def("unit",
           &mms::LanguageModel::unit,
           "text"_a,
           "Return the unit of a text, that of <unk> if unknown.")
      .def("knows", &mms::LanguageModel::knows, "text"_a, "Return whether a text is a known unit.")
      .def("score", &score, "state"_a, "unit"_a, "Return log10 P and the next state.")
      .def("finish", &mms::LanguageModel::finish, "state"_a, "Return log10 P(</s>).")
      .def("total", &total, "words"_a, "bos"_a, "eos"_a, "Return log10 P of a sentence.");
  nb::class_<mms::NgramModel, mms::LanguageModel>(
      m, "NgramModel", "N-gram model in the compact format.")
      .def(nb::init<int>(), "file"_a, nb::call_guard<nb::gil_scoped_release>())
      .def(
          "score",
          [](const mms::NgramModel& model, mms::LmState state, mms::LmUnit unit) {
            check(model, state, unit);
            return score(model, state, unit);
          },
          "state"_a,
          "unit"_a,
          "Return log10 P and the next state.")
      .def(
          "finish",
          [](const mms::NgramModel& model, mms::LmState state) {
            check(model, state, 0);
            return model.finish(state);
          },
          "state"_a,
          "Return log10 P(</s>).")
      .def("words", &words_of, "Return the words by unit, each followed by LF.")
      .def(
          "renamed",
          [](const mms::NgramModel& model, const nb::bytes& words) {
            const nb::gil_scoped_release release;
            return mms::renamed(model, {words.c_str(), words.size()});
          },
          "words"_a,
          "Return the model with other words, each followed by LF; equal n-grams are merged.")
      .def_prop_ro("order", &mms::NgramModel::order, "Length of the longest n-gram.")
      .def_prop_ro(
          "vocab",
          [](const mms::NgramModel& model) { return model.view().vocab; },
          "Vocabulary size.")
      .def_prop_ro(
          "states",
          [](const mms::NgramModel& model) { return model.view().state_count; },
          "Number of states.")
      .def_prop_ro(
          "ngrams",
          [](const mms::NgramModel& model) {
            return std::uint64_t{model.view().vocab} + model.view().arc_count;
          },
          "Number of n-grams of all orders.")
      .def_prop_ro("nbytes", &mms::NgramModel::bytes, "File size in bytes.");
}

void bind_kenlm(nb::module_& m) {
  nb::class_<KenlmModel, mms::LanguageModel>(m, "KenlmModel", "Model of the package kenlm.")
      .def(nb::init<nb::object, nb::object>(), "model"_a, "state_class"_a)
      .def("alias",
           &KenlmModel::alias,
           "text"_a,
           "word"_a,
           "Let a text stand for a word of the model.");
}

}  // namespace

void bind_lm(nb::module_& m) {
  bind_models(m);
  bind_kenlm(m);
  nb::class_<mms::NgramImage>(m, "NgramImage", "Content of a compact file.")
      .def("pieces", &pieces, "Return the content in pieces.")
      .def_prop_ro("dropped",
                   &mms::NgramImage::dropped,
                   "Entries of n-grams given several times that do not count.");
  nb::class_<mms::ArpaReader>(m, "ArpaReader", "Conversion of ARPA text to the compact format.")
      .def(nb::init<>())
      .def(
          "read",
          [](mms::ArpaReader& reader, const nb::bytes& text) {
            const nb::gil_scoped_release release;
            reader.read({text.c_str(), text.size()});
          },
          "text"_a,
          "Read the next piece of text.")
      .def("finish",
           &mms::ArpaReader::finish,
           nb::call_guard<nb::gil_scoped_release>(),
           "Return the model and reset the reader.");
}
