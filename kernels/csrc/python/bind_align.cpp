#include <nanobind/stl/optional.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/vector.h>

#include <optional>
#include <stdexcept>

#include "convert.h"
#include "mms/align.h"

namespace {

using Arrays =
    nb::typed<nb::tuple, Vector<std::int64_t>, Vector<std::int64_t>, Vector<float>, double>;

nb::typed<nb::list, Arrays> align_batch(ScoresInput<3> logits,
                                        Input<std::int64_t, 1> lengths,
                                        Input<std::int64_t, 2> targets,
                                        Input<std::int64_t, 1> target_lengths,
                                        const std::string& kind,
                                        std::int32_t blank,
                                        std::optional<std::int64_t> star,
                                        float star_score,
                                        std::int64_t max_bytes,
                                        std::int64_t band,
                                        int threads) {
  const std::size_t rows = logits.shape(0);
  if (targets.shape(0) != rows || target_lengths.shape(0) != rows) {
    throw std::invalid_argument("logits and targets have different numbers of rows");
  }
  const mms::ScoresBatch batch = view_of(logits, lengths, kind_named(kind));
  const mms::AlignTargets views{
      targets.data(), static_cast<std::int64_t>(targets.shape(1)), target_lengths.data()};
  const mms::AlignOptions options{
      blank, star.has_value(), star.value_or(-1), star_score, max_bytes, band};
  std::vector<mms::Alignment> results;
  {
    nb::gil_scoped_release release;
    results = mms::forced_align_batch(batch, views, options, threads);
  }
  nb::list list;
  for (auto& row : results) {
    list.append(nb::make_tuple(to_numpy(std::move(row.starts)),
                               to_numpy(std::move(row.ends)),
                               to_numpy(std::move(row.scores)),
                               row.score));
  }
  return nb::typed<nb::list, Arrays>(std::move(list));
}

}  // namespace

void bind_align(nb::module_& m) {
  m.def("align_batch",
        &align_batch,
        "logits"_a.noconvert(),
        "lengths"_a.noconvert(),
        "targets"_a.noconvert(),
        "target_lengths"_a.noconvert(),
        nb::kw_only(),
        "kind"_a,
        "blank"_a,
        "star"_a.none(),
        "star_score"_a,
        "max_bytes"_a,
        "band"_a,
        "threads"_a,
        "Return starts, ends and scores of tokens, and the path score, for each row.");
}
