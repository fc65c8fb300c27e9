#include <sys/mman.h>
#include <sys/stat.h>

#include <bit>
#include <cerrno>
#include <cmath>
#include <cstring>
#include <stdexcept>
#include <string>
#include <system_error>
#include <vector>

#include "format.h"
#include "mms/arpa.h"
#include "mms/ngram.h"

namespace mms {
namespace {

using lm::Header;
using lm::Layout;

/// Throw unless an invariant of the file holds.
void require(bool holds, const char* what) {
  if (!holds) throw std::invalid_argument(std::string("the language model is damaged: ") + what);
}

// False for NaN.
bool is_score(float score) { return score >= -kMaxLog10 && score <= 0.0F; }
bool is_weight(float weight) { return std::abs(weight) <= kMaxLog10; }

Header header_of(std::span<const std::byte> content) {
  Header header;
  if (content.size() >= sizeof(Header)) std::memcpy(&header, content.data(), sizeof(Header));
  if (content.size() < sizeof(Header) || header.magic != lm::kMagic) {
    throw std::invalid_argument("this is not a language model in the compact format");
  }
  if (header.byte_order != lm::kByteOrder) {
    throw std::invalid_argument(
        "the language model was written on a machine of the other byte order: convert it here");
  }
  if (header.version != lm::kVersion) {
    throw std::invalid_argument("the language model has format version " +
                                std::to_string(header.version) + ", this program reads " +
                                std::to_string(lm::kVersion) + ": convert it again");
  }
  if (header.file_size != content.size()) {
    throw std::invalid_argument("the language model has " + std::to_string(content.size()) +
                                " bytes, it should have " + std::to_string(header.file_size));
  }
  return header;
}

void check_header(const Header& header) {
  require(header.order >= 1 && header.order <= kMaxOrder, "its order is out of range");
  require(header.states >= 1 && header.start < header.states, "its start is no state");
  require(header.states < 0xffffffff, "it has too many states");
  require(header.unknown < header.vocab && header.end < header.vocab, "<unk> or </s> is no word");
  require(std::has_single_bit(header.slots) && header.slots > header.vocab &&
              header.slots <= header.file_size && header.text <= header.file_size,
          "the size of its word table is out of range");
  require(Layout(header).end == header.file_size, "its sections do not fill it");
}

void check_checksum(std::span<const std::byte> content, Header header) {
  const std::uint64_t wanted = header.checksum;
  header.checksum = 0;
  lm::Checksum checksum;
  checksum.add(std::as_bytes(std::span(&header, 1)));
  checksum.add(content.subspan(sizeof(Header)));
  require(checksum.value() == wanted, "its checksum does not match");
}

void check_arcs(const LmView& view, LmState state) {
  const std::uint32_t begin = view.states[state].first_arc;
  const std::uint32_t end = view.states[state + 1].first_arc;
  for (std::uint32_t i = begin; i < end; ++i) {
    const NgramArc& arc = view.arcs[i];
    require(arc.word < view.vocab && arc.next < view.state_count, "an arc leads out of it");
    require(i == begin || view.arcs[i - 1].word < arc.word, "arcs are not in order");
    require(is_score(arc.score), "a probability is out of range");
  }
}

/// Each state backs off to a shorter one and none is longer than the order allows, which bounds
/// every query.
void check_states(const LmView& view, std::uint32_t order) {
  std::vector<std::uint8_t> lengths(view.state_count);
  for (LmState i = 0; i < view.state_count; ++i) {
    const NgramState& state = view.states[i];
    require(state.first_arc <= view.states[i + 1].first_arc, "arcs are not in order");
    require(is_weight(state.backoff), "a back-off weight is out of range");
    if (i == 0) continue;
    require(state.backoff_state < i, "a state backs off to no shorter one");
    lengths[i] = static_cast<std::uint8_t>(lengths[state.backoff_state] + 1);
    require(lengths[i] < order, "a state is longer than its order allows");
  }
}

void check_automaton(const LmView& view, std::uint32_t order) {
  for (std::uint32_t i = 0; i < view.vocab; ++i) {
    require(view.unigrams[i].next < view.state_count, "a word leads out of it");
    require(is_score(view.unigrams[i].score), "a probability is out of range");
  }
  require(
      view.states[0].first_arc == 0 && view.states[view.state_count].first_arc == view.arc_count,
      "its states do not share all arcs");
  check_states(view, order);
  // Requires that the arc ranges of all states are valid.
  for (LmState i = 0; i < view.state_count; ++i) check_arcs(view, i);
}

/// Fewer words than slots, so that every search ends.
void check_words(const WordsView& words, std::uint32_t vocab, std::uint64_t text) {
  std::uint64_t used = 0;
  for (std::uint64_t i = 0; i < words.slot_count; ++i) {
    require(words.slots[i] <= vocab, "a slot of its word table holds no word");
    used += words.slots[i] != 0 ? 1 : 0;
  }
  require(used == vocab, "its word table holds another number of words");
  require(words.offsets[0] == 0 && words.offsets[vocab] == text, "its words do not fill its text");
  for (std::uint32_t i = 0; i < vocab; ++i) {
    require(words.offsets[i] <= words.offsets[i + 1], "its words are not in order");
  }
}

template <typename Item>
const Item* section(std::span<const std::byte> content, std::uint64_t offset) {
  return reinterpret_cast<const Item*>(content.data() + offset);
}

[[noreturn]] void fail(const char* what) {
  throw std::system_error(errno, std::generic_category(), what);
}

}  // namespace

NgramModel::NgramModel(int file) {
  struct stat status{};
  if (fstat(file, &status) != 0) fail("cannot stat the language model");
  const auto size = static_cast<std::size_t>(status.st_size);
  if (size == 0) throw std::invalid_argument("the language model is empty");
  void* mapped = mmap(nullptr, size, PROT_READ, MAP_SHARED, file, 0);
  if (mapped == MAP_FAILED) fail("cannot map the language model");
  content_ = {static_cast<const std::byte*>(mapped), size};
  is_mapped_ = true;
  try {
    read();
  } catch (...) {
    munmap(mapped, size);
    throw;
  }
}

NgramModel::NgramModel(std::span<const std::byte> content) : owned_(content.size() / 8 + 1) {
  if (!content.empty()) std::memcpy(owned_.data(), content.data(), content.size());
  content_ = std::as_bytes(std::span(owned_)).first(content.size());
  read();
}

NgramModel::~NgramModel() {
  if (is_mapped_) munmap(const_cast<std::byte*>(content_.data()), content_.size());
}

void NgramModel::read() {
  const Header header = header_of(content_);
  check_header(header);
  check_checksum(content_, header);
  const Layout at(header);
  view_.unigrams = section<NgramUnigram>(content_, at.unigrams);
  view_.states = section<NgramState>(content_, at.states);
  view_.arcs = section<NgramArc>(content_, at.arcs);
  view_.vocab = header.vocab;
  view_.state_count = header.states;
  view_.arc_count = header.arcs;
  view_.start = header.start;
  view_.unknown = header.unknown;
  view_.end = header.end;
  words_ = {section<std::uint32_t>(content_, at.slots),
            section<std::uint64_t>(content_, at.offsets),
            section<char>(content_, at.text),
            header.slots};
  order_ = header.order;
  check_automaton(view_, order_);
  check_words(words_, header.vocab, header.text);
}

}  // namespace mms
