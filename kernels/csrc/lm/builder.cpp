#include "builder.h"

#include <algorithm>
#include <array>
#include <stdexcept>

#include "format.h"

namespace mms::lm {
namespace {

constexpr std::string_view kUnknown = "<unk>";
constexpr float kUnknownScore = -100.0F;
constexpr std::uint32_t kMissing = 0xffffffff;

template <typename Item>
std::span<const std::byte> bytes_of(const std::vector<Item>& items) {
  return std::as_bytes(std::span<const Item>(items));
}

}  // namespace

/// Sections of the compact file under construction.
class Builder::Image final : public NgramImage {
 public:
  std::uint64_t dropped() const override { return dropped_entries; }

  std::vector<std::span<const std::byte>> pieces() const override {
    static constexpr std::array<std::byte, kAlignment> kZeros{};
    std::vector<std::span<const std::byte>> result{std::as_bytes(std::span(&header, 1))};
    for (const auto section : sections()) {
      result.push_back(section);
      const std::size_t rest = section.size() % kAlignment;
      if (rest != 0) result.emplace_back(kZeros.data(), kAlignment - rest);
    }
    return result;
  }

  /// Fill the header once the sections are complete.
  void seal(LmUnit unknown, LmUnit begin, LmUnit end) {
    header.vocab = static_cast<std::uint32_t>(unigrams.size());
    header.states = static_cast<std::uint32_t>(states.size() - 1);
    header.arcs = static_cast<std::uint32_t>(arcs.size());
    header.slots = words.slots.size();
    header.text = words.text.size();
    header.start = unigrams[begin].next;
    header.unknown = unknown;
    header.end = end;
    header.file_size = Layout(header).end;
    Checksum checksum;
    for (const auto piece : sections_with_header()) checksum.add(piece);
    header.checksum = checksum.value();
  }

  /// Next state by a word from the longest proper suffix of `state`, which is not 0; shorter states
  /// must be complete.
  LmState after_suffix(LmState state, LmUnit word) const {
    LmView view{};
    view.unigrams = unigrams.data();
    view.states = states.data();
    view.arcs = arcs.data();
    return view.score(states[state].backoff_state, word).state;
  }

  void add_state(const Gram& gram, LmState backoff_state) {
    if (states.size() >= kMissing) throw std::invalid_argument("there are more than 2^32 states");
    states.push_back({0, gram.backoff, backoff_state});
  }

  std::uint64_t dropped_entries = 0;
  Header header;
  std::vector<NgramUnigram> unigrams;
  std::vector<NgramState> states;
  std::vector<NgramArc> arcs;
  Words words;

 private:
  std::vector<std::span<const std::byte>> sections() const {
    return {bytes_of(unigrams),
            bytes_of(states),
            bytes_of(arcs),
            bytes_of(words.slots),
            bytes_of(words.offsets),
            bytes_of(words.text)};
  }

  std::vector<std::span<const std::byte>> sections_with_header() const {
    auto all = sections();
    all.insert(all.begin(), std::as_bytes(std::span(&header, 1)));
    return all;
  }
};

void Builder::add_unigram(std::string_view word, float score, float backoff) {
  const bool is_unknown = word == "<UNK>" || word == kUnknown;
  const auto [unit, is_new] = words_.add(is_unknown ? kUnknown : word);
  if (is_unknown) unknown_ = unit;
  const Gram gram{0, unit, score, backoff};
  if (is_new) {
    orders_[0].push_back(gram);
    return;
  }
  ++dropped_;
  Gram& kept = orders_[0][unit];
  if (repeated_ == Repeated::kBest ? score > kept.score : is_unknown) kept = gram;
}

LmUnit Builder::unit_of(std::string_view word) const {
  const LmUnit unit = words_.find(word == "<UNK>" ? kUnknown : word);
  if (unit == Words::kMissing) {
    throw std::invalid_argument("the word " + std::string(word) + " is not among the 1-grams");
  }
  return unit;
}

/// N-gram of `order` that adds `word` to n-gram `parent` of the order below, or kMissing.
std::uint32_t Builder::child(std::size_t order, std::uint32_t parent, LmUnit word) const {
  const auto& grams = orders_[order - 1];
  const auto& first = first_[order - 2];
  const auto begin = grams.begin() + first[parent];
  const auto end = grams.begin() + first[parent + 1];
  const auto found = std::lower_bound(
      begin, end, word, [](const Gram& gram, LmUnit wanted) { return gram.word < wanted; });
  if (found == end || found->word != word) return kMissing;
  return static_cast<std::uint32_t>(found - grams.begin());
}

/// Index of the context. Neighbouring n-grams often share it, so the shared part is cached.
std::uint32_t Builder::context_of(std::span<const std::string_view> words) {
  const std::size_t length = words.size() - 1;
  std::size_t shared = 0;
  for (std::size_t i = 0; i < length; ++i) {
    const LmUnit unit = unit_of(words[i]);
    if (shared == i && i < path_.size() && path_units_[i] == unit) {
      ++shared;
      continue;
    }
    path_.resize(i);
    path_units_.resize(i);
    const std::uint32_t gram = i == 0 ? unit : child(i + 1, path_[i - 1], unit);
    if (gram == kMissing) {
      throw std::invalid_argument("the first " + std::to_string(i + 1) + " words of this " +
                                  std::to_string(words.size()) + "-gram are not among the " +
                                  std::to_string(i + 1) + "-grams");
    }
    path_.push_back(gram);
    path_units_.push_back(unit);
  }
  return path_[length - 1];
}

void Builder::add(std::span<const std::string_view> words, float score, float backoff) {
  const std::uint32_t parent = context_of(words);
  orders_.back().push_back({parent, unit_of(words.back()), score, backoff});
}

void Builder::end_order() {
  auto& grams = orders_.back();
  path_.clear();
  path_units_.clear();
  if (orders_.size() == 1) {
    if (unknown_ == Words::kMissing) add_unigram(kUnknown, kUnknownScore, 0.0F);
    return;
  }
  const auto before = [](const Gram& a, const Gram& b) {
    return a.parent != b.parent ? a.parent < b.parent : a.word < b.word;
  };
  if (!std::is_sorted(grams.begin(), grams.end(), before)) {
    std::stable_sort(grams.begin(), grams.end(), before);
  }
  std::size_t kept = 0;
  for (const Gram& gram : grams) {
    if (kept == 0 || before(grams[kept - 1], gram)) {
      grams[kept++] = gram;
      continue;
    }
    ++dropped_;
    Gram& other = grams[kept - 1];
    if (repeated_ == Repeated::kBest && gram.score > other.score) other = gram;
  }
  grams.resize(kept);
  auto& first = first_.emplace_back(orders_[orders_.size() - 2].size() + 1);
  for (const Gram& gram : grams) ++first[gram.parent + 1];
  for (std::size_t i = 1; i < first.size(); ++i) first[i] += first[i - 1];
}

/// True if the n-gram is a state: it has extensions or a back-off weight.
bool Builder::is_state(std::size_t order, std::size_t gram) const {
  if (order == orders_.size()) return false;
  const auto& first = first_[order - 1];
  return first[gram + 1] != first[gram] || orders_[order - 1][gram].backoff != 0.0F;
}

void Builder::write_unigrams(Image& image) const {
  image.states.push_back({0, 0.0F, 0});
  for (std::size_t i = 0; i < orders_[0].size(); ++i) {
    const Gram& gram = orders_[0][i];
    LmState next = 0;
    if (is_state(1, i)) {
      next = static_cast<LmState>(image.states.size());
      image.add_state(gram, 0);
    }
    image.unigrams.push_back({gram.score, next});
  }
}

/// Write the n-grams of an order as arcs of their contexts, whose states begin at `parents`.
void Builder::write_order(Image& image, std::size_t order, LmState parents) const {
  const auto& grams = orders_[order - 1];
  const auto& first = first_[order - 2];
  LmState parent = parents;
  for (std::size_t context = 0; context + 1 < first.size(); ++context) {
    if (!is_state(order - 1, context)) continue;
    image.states[parent].first_arc = static_cast<std::uint32_t>(image.arcs.size());
    for (std::size_t i = first[context]; i < first[context + 1]; ++i) {
      const Gram& gram = grams[i];
      LmState next = image.after_suffix(parent, gram.word);
      if (is_state(order, i)) {
        image.add_state(gram, next);
        next = static_cast<LmState>(image.states.size() - 1);
      }
      image.arcs.push_back({gram.word, gram.score, next});
    }
    ++parent;
  }
}

std::unique_ptr<NgramImage> Builder::finish() {
  const LmUnit begin = words_.find("<s>");
  const LmUnit end = words_.find("</s>");
  if (begin == Words::kMissing) throw std::invalid_argument("there is no 1-gram <s>");
  if (end == Words::kMissing) throw std::invalid_argument("there is no 1-gram </s>");
  std::size_t total = 0;
  for (const auto& grams : orders_) total += grams.size();
  if (total >= kMissing) throw std::invalid_argument("there are more than 2^32 n-grams");
  auto image = std::make_unique<Image>();
  image->unigrams.reserve(orders_[0].size());
  image->arcs.reserve(total - orders_[0].size());
  write_unigrams(*image);
  LmState parents = 1;
  for (std::size_t order = 2; order <= orders_.size(); ++order) {
    const auto next = static_cast<LmState>(image->states.size());
    write_order(*image, order, parents);
    parents = next;
    orders_[order - 2] = {};
  }
  image->states.push_back({static_cast<std::uint32_t>(image->arcs.size()), 0.0F, 0});
  image->header.order = static_cast<std::uint32_t>(orders_.size());
  image->words = std::move(words_);
  image->dropped_entries = dropped_;
  image->seal(unknown_, begin, end);
  return image;
}

}  // namespace mms::lm
