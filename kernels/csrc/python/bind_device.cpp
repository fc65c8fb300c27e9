// Models as flat arrays for copies to a device; mms_kernels.cuda fills in the addresses.
#include <cstring>

#include "convert.h"
#include "mms/hotwords.h"
#include "mms/ngram.h"

namespace {

using Bytes = Vector<std::uint8_t>;
using Arrays = nb::typed<nb::tuple, Bytes, Bytes, Bytes, Bytes>;

template <typename T>
Bytes bytes_of(const T* data, std::uint64_t count) {
  std::vector<std::uint8_t> bytes(count * sizeof(T));
  if (!bytes.empty()) std::memcpy(bytes.data(), data, bytes.size());
  return to_numpy(std::move(bytes));
}

Arrays hotwords_arrays(const mms::Hotwords& hotwords) {
  const mms::HotwordsView& view = hotwords.view();
  const std::uint64_t rows = std::uint64_t{view.row_count} * view.pages_per_row;
  const std::uint64_t pages = std::uint64_t{view.page_count} << view.page_bits;
  return Arrays(nb::make_tuple(bytes_of(&view, 1),
                               bytes_of(view.nodes, view.node_count),
                               bytes_of(view.rows, rows),
                               bytes_of(view.pages, pages)));
}

Arrays lm_arrays(const mms::NgramModel& model) {
  const mms::LmView& view = model.view();
  return Arrays(nb::make_tuple(bytes_of(&view, 1),
                               bytes_of(view.unigrams, view.vocab),
                               bytes_of(view.states, std::uint64_t{view.state_count} + 1),
                               bytes_of(view.arcs, view.arc_count)));
}

Arrays words_arrays(const mms::NgramModel& model) {
  const mms::WordsView& view = model.words();
  const std::uint64_t words = model.view().vocab;
  return Arrays(nb::make_tuple(bytes_of(&view, 1),
                               bytes_of(view.slots, view.slot_count),
                               bytes_of(view.offsets, words + 1),
                               bytes_of(view.text, view.offsets[words])));
}

}  // namespace

void bind_device(nb::module_& m) {
  m.def("hotwords_arrays",
        &hotwords_arrays,
        "hotwords"_a,
        "Return the bytes of HotwordsView and of its nodes, rows and pages.");
  m.def("lm_arrays",
        &lm_arrays,
        "model"_a,
        "Return the bytes of LmView and of its unigrams, states and arcs.");
  m.def("words_arrays",
        &words_arrays,
        "model"_a,
        "Return the bytes of WordsView and of its slots, offsets and text.");
}
